# bash completion for nfarena
_nfarena() {
  local current previous command subcommand word
  current=${COMP_WORDS[COMP_CWORD]}
  previous=${COMP_WORDS[COMP_CWORD - 1]}
  command=
  subcommand=
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $command/$word in
      /engines | /check | /classify | /restore | /save | /diff | /bench | /report | /upstream | /corpus)
        command=$word
        ;;
      corpus/list | corpus/show | corpus/generate)
        subcommand=$word
        break
        ;;
    esac
  done
  case $previous in
    --engine | --base)
      mapfile -t COMPREPLY < <(compgen -W "$(nfarena engines 2>/dev/null | cut -d' ' -f1)" -- "$current")
      return
      ;;
    --engines)
      local prefix=
      [[ $current == *,* ]] && prefix=${current%,*},
      mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "$(nfarena engines 2>/dev/null | cut -d' ' -f1)" -- "${current##*,}")
      return
      ;;
    --profile)
      mapfile -t COMPREPLY < <(compgen -W "acl fw ipc" -- "$current")
      return
      ;;
    --section)
      mapfile -t COMPREPLY < <(compgen -W "ruleset packets ipset" -- "$current")
      return
      ;;
    --what)
      mapfile -t COMPREPLY < <(compgen -W "correctness update classify" -- "$current")
      return
      ;;
  esac
  if [[ -z $command ]]; then
    mapfile -t COMPREPLY < <(compgen -W "engines check classify restore save diff bench report upstream corpus --help --version" -- "$current")
  elif [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(nfarena "$command" $subcommand --help 2>/dev/null | grep -oE -- '(^| |,)-{1,2}[a-z0-9-]+' | tr -d ' ,')" -- "$current")
  elif [[ $command == corpus && -z $subcommand ]]; then
    mapfile -t COMPREPLY < <(compgen -W "list show generate" -- "$current")
  elif [[ $subcommand == show ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(nfarena corpus list 2>/dev/null | cut -d' ' -f1)" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -F _nfarena nfarena
