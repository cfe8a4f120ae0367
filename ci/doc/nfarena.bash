# bash completion for nfarena
_nfarena() {
  local current previous command word
  current=${COMP_WORDS[COMP_CWORD]}
  previous=${COMP_WORDS[COMP_CWORD - 1]}
  command=
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
      engines | check | classify | restore | save | diff | bench | report | corpus)
        command=$word
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
    --what)
      mapfile -t COMPREPLY < <(compgen -W "correctness update classify" -- "$current")
      return
      ;;
  esac
  if [[ -z $command ]]; then
    mapfile -t COMPREPLY < <(compgen -W "engines check classify restore save diff bench report corpus --help --version" -- "$current")
  elif [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(nfarena "$command" --help 2>/dev/null | grep -oE -- '(^| |,)-{1,2}[a-z0-9-]+' | tr -d ' ,')" -- "$current")
  elif [[ $command == corpus ]]; then
    mapfile -t COMPREPLY < <(compgen -W "list show" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -F _nfarena nfarena
