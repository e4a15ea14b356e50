// penstock: the one command that people type.
#include <glog/logging.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <iostream>

#include "common/base/standard_streams.h"
#include "model/blas.h"
#include "tools/cli/commands.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/print.h"

namespace penstock {
namespace {

Console MakeConsole() {
  Console console{.out = std::cout, .err = std::cerr, .terminal = ::isatty(STDERR_FILENO) == 1};
  winsize size{};
  if (console.terminal && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    console.width = size.ws_col;
  return console;
}

Result<int> Run(const Arguments& arguments, Console& console) {
  const std::string& command = arguments.command;
  if (command == "up") return RunUp(arguments, console);
  if (command == "down") return RunDown(arguments, console);
  if (command == "train") return RunTrain(arguments, console);
  if (command == "evaluate") return RunEvaluate(arguments, console);
  if (command.starts_with("bench ")) return RunBench(arguments, console);
  if (command.starts_with("config ")) return RunConfig(arguments, console);
  if (command == "version") {
    console.out << "penstock " << PENSTOCK_VERSION << "\n";
    return kExitOk;
  }
  return RunInspection(arguments, console);
}

// Whoever reads what was printed must not take a part of it for all.
int EndWith(int code, Console& console) {
  const Status said = FlushStandardOutput();
  if (said.ok()) return code;
  console.err << "penstock: " << said.message() << std::endl;
  return code == kExitOk ? static_cast<int>(kExitFailed) : code;
}

int Main(int argc, char** argv) {
  // Messages of libraries are for the processes' logs; a tool speaks for itself.
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_ERROR;
  google::InitGoogleLogging(argv[0]);
  Console console = MakeConsole();
  Arguments arguments;
  if (const auto code = ParseArguments(argc, argv, &arguments, console.out, console.err))
    return EndWith(*code, console);
  const auto result = Run(arguments, console);
  if (result.ok()) return EndWith(*result, console);
  console.err << "penstock: " << FormatLines(result.status().message()) << std::endl;
  return EndWith(ExitCodeOf(result.status()), console);
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::OpenStandardStreams();
  penstock::PrepareBlas(argv);
  return penstock::Main(argc, argv);
}
