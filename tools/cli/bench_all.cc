// bench all: the acceptance table.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>

#include "common/base/atomic_file.h"
#include "common/base/strings.h"
#include "tools/bench/report.h"
#include "tools/cli/bench_measure.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/print.h"
#include "tools/launch/child_process.h"
#include "tools/launch/cluster_launcher.h"
#include "tools/launch/data_dir.h"

namespace penstock {
namespace {

constexpr int kLookMs = 100;

// Runs `penstock bench ARGUMENTS --output json` and gives its report; standard error is ours.
Result<nlohmann::json> RunCommand(const std::vector<std::string>& arguments, const std::string& folder,
                                  InterruptSignals& signals) {
  const std::string output = folder + "/report.json";
  std::vector<std::string> argv = {"/proc/self/exe", "bench"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  argv.insert(argv.end(), {"--output", "json"});
  const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  auto child = ChildProcess::Spawn(argv, {.in = in, .out = out, .err = STDERR_FILENO});
  ::close(in);
  ::close(out);
  if (!child.ok()) return child.status();
  std::optional<ExitState> ended;
  while (!(ended = child->Poll())) {
    if (signals.Received()) {
      child->Signal(signals.signal());  // it ends its own cluster
      return Cancelled("interrupted");
    }
    pollfd wait{.fd = child->exit_fd(), .events = POLLIN, .revents = 0};
    ::poll(&wait, 1, kLookMs);
  }
  if (ended->signal != 0 || ended->code != 0)
    return FailedPrecondition("the command ended with " + ended->ToString());
  PENSTOCK_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(output));
  auto report = nlohmann::json::parse(text, nullptr, false);
  if (report.is_discarded()) return Internal("the command's report is no JSON");
  return report;
}

}  // namespace

Result<int> RunBenchAll(const Arguments& arguments, Console& console) {
  InterruptSignals signals;
  if (!arguments.report.empty())
    PENSTOCK_RETURN_IF_ERROR(CheckReplaceable(AbsolutePath(arguments.report)).Prepend("--report"));
  PENSTOCK_ASSIGN_OR_RETURN(const std::string folder, MakeTemporaryFolder());
  std::map<std::string, Result<nlohmann::json>> reports;  // by command: some serve two rows
  std::vector<ReportLine> lines;
  nlohmann::json first;
  bool measured = true;
  for (const ReportRow& row : AcceptanceRows(arguments.job_file)) {
    std::vector<std::string> words = arguments.quick ? row.quick : row.arguments;
    if (arguments.quick) words.insert(words.end(), {"--limit-seconds", "0.005"});
    if (arguments.pin && row.pinned) words.push_back("--pin");
    const std::string command = CommandOf(words);
    auto report = reports.find(command);
    if (report == reports.end()) {
      console.err << "penstock: " << command << std::endl;
      report = reports.emplace(command, RunCommand(words, folder, signals)).first;
    }
    if (signals.Received()) break;
    auto line =
        report->second.ok() ? MakeLine(row, *report->second) : Result<ReportLine>(report->second.status());
    if (!line.ok()) {
      measured = false;
      line = ReportLine{.work = row.work,
                        .command = command,
                        .figure = {},
                        .ratio = {},
                        .target = {},
                        .error = line.status().message()};
    } else if (first.is_null()) {
      first = *report->second;
    }
    line->command = command;
    console.err << "penstock:   " << (line->error.empty() ? line->figure : line->error) << std::endl;
    lines.push_back(*line);
  }
  RemoveFolder(folder);
  if (signals.Received()) return Cancelled("interrupted");
  if (first.is_null()) return FailedPrecondition("nothing could be measured");
  const std::string options = StrCat(arguments.pin ? " --pin" : "", arguments.quick ? " --quick" : "",
                                     arguments.job_file.empty() ? "" : " --job " + arguments.job_file);
  const std::string text = ReportMarkdown(first.at("machine"), first.at("limit"), lines, options);
  if (arguments.report.empty()) {
    console.out << text;
  } else {
    PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(AbsolutePath(arguments.report), text));
  }
  return measured ? kExitOk : kExitFailed;
}

}  // namespace penstock
