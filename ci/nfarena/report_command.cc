// report: result files to a page.  The page is made by reports/ (Python).
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "ci/nfarena/cli.h"

namespace nfarena::cli {
namespace {

struct Options {
  std::string in = "results";
  std::string out;
};

std::filesystem::path ReportProgram() {
  const std::filesystem::path source = NFARENA_SOURCE_REPORTS "/main.py";
  return std::filesystem::exists(source)
             ? source
             : std::filesystem::path(NFARENA_INSTALLED_REPORTS "/main.py");
}

Result<ExitCode> Run(const Options& options) {
  const std::string program = ReportProgram();
  const std::string out = options.out.empty() ? options.in : options.out;
  // Debian's own interpreter: another one in PATH lacks its modules.
  execl("/usr/bin/python3", "python3", program.c_str(), options.in.c_str(),
        "--out", out.c_str(), nullptr);
  return FailErrno("/usr/bin/python3 cannot be started");
}

}  // namespace

void AddReportCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand(
      "report", "turn result files into one page (HTML and Markdown)");
  auto options = std::make_shared<Options>();
  command->add_option("RESULTS", options->in, "folder of the result files")
      ->type_name("DIR")
      ->capture_default_str();
  command
      ->add_option("--out", options->out,
                   "folder of the page; default: RESULTS")
      ->type_name("DIR");
  command->footer(
      "Writes report.html (one file, works offline), report.md, the figures\n"
      "as SVG and PNG and each figure's data as CSV.\n\n"
      "Example:\n  nfarena report results --out page");
  command->callback([=] {
    const auto code = Run(*options);
    *exit_code = code ? *code : Complain(code.error());
  });
}

}  // namespace nfarena::cli
