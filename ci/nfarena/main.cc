// nfarena: the command.  Each subcommand is in a file of its own.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <iostream>
#include <new>
#include <sstream>
#include <string_view>

#include "ci/nfarena/cli.h"
#include "ci/nfarena/iptables_names.h"
#include "engines/kernel/rights.h"

namespace {

/// A descriptor that the caller closed must not be given to a socket or file
/// of ours, into which output would then go.  Writing to one opened here is
/// refused with EBADF, as to a closed one.
void ReserveStandardDescriptors() {
  for (int fd = 0; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
      (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace nfarena;
  ReserveStandardDescriptors();
  // A closed pipe is an error of the write, told like any other.
  std::signal(SIGPIPE, SIG_IGN);
  // Linked under the name of a program of iptables it is that program; and
  // "nfarena iptables ..." is the same without a link.
  for (int named_by = 0; named_by < std::min(argc, 2); ++named_by) {
    const std::string_view path = argv[named_by];
    const auto status = cli::RunByName(path.substr(path.rfind('/') + 1),
                                       argc - named_by, argv + named_by);
    if (status) return *status;
  }

  // Before any thread: an ordinary user gets a user namespace to own the
  // network namespaces in.  Why that failed is said by who needs it
  // (Engine::Available).
  (void)kernel::EnsureNetAdmin();

  CLI::App app{
      "The arena where Netfilter's rule engines meet: one ruleset in iptables "
      "syntax,\nevery engine, verified, measured, reported."};
  app.name("nfarena");
  app.set_version_flag("--version", "nfarena " NFARENA_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  nfarena engines\n"
      "  nfarena check rules.v4\n"
      "  nfarena diff --engines legacy,kernel-legacy --ruleset rules.v4\n"
      "  nfarena bench --budget 5m --out results && nfarena report results\n\n"
      "Exit status: 0 done, 1 a difference or a refusal, 2 usage, 3 the host\n"
      "lacks a right or a feature.  nfarena COMMAND --help says more.");
  int exit_code = cli::kExitOk;
  cli::AddEnginesCommand(&app, &exit_code);
  cli::AddCheckCommand(&app, &exit_code);
  cli::AddClassifyCommand(&app, &exit_code);
  cli::AddRestoreCommand(&app, &exit_code);
  cli::AddSaveCommand(&app, &exit_code);
  cli::AddDiffCommand(&app, &exit_code);
  cli::AddBenchCommand(&app, &exit_code);
  cli::AddReportCommand(&app, &exit_code);
  cli::AddCorpusCommand(&app, &exit_code);
  cli::AddUpstreamCommand(&app, &exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version come this way too.
    std::ostringstream out;
    const int status = app.exit(error, out, std::cerr);
    if (const Status printed = cli::Print(out.str()); !printed) {
      return cli::Complain(printed.error());
    }
    return status == 0 ? cli::kExitOk : cli::kExitUsage;
  } catch (const std::bad_alloc&) {
    cli::Say("nfarena: error: out of memory\n");
    return cli::kExitEnvironment;
  }
  return exit_code;
}
