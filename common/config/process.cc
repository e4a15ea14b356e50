#include "common/config/process.h"

#include <glog/logging.h>
#include <pthread.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/base/standard_streams.h"

namespace penstock {
namespace {

int Fail(const ProcessInfo& info, const Status& status, int code) {
  std::cerr << info.program << ": " << status.ToString() << "\n";
  return code;
}

Result<ClusterOptions> ParseCommandLine(int argc, char** argv, const ProcessInfo& info) {
  CLI::App app(info.summary, info.program);
  std::string config;
  std::vector<std::string> assignments;
  app.add_option("--config", config, "cluster file (conf/cluster.toml is an annotated sample)");
  app.add_option("--set", assignments,
                 "section.key=value, over the file and the environment; may be repeated");
  app.set_version_flag("--version", PENSTOCK_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    app.exit(e);
    const Status said = FlushStandardOutput();
    std::exit(said.ok() ? 0 : Fail(info, said, 1));
  } catch (const CLI::ParseError& e) {
    return InvalidArgument(std::string(e.what()) + " (see " + info.program + " --help)");
  }
  PENSTOCK_ASSIGN_OR_RETURN(ClusterOptions options, LoadClusterOptions(config, assignments));
  if (info.needs_scheduler && options.cluster.scheduler.empty()) {
    return InvalidArgument(
        "cluster.scheduler must be given: host:port, or the path of the scheduler's address file");
  }
  return options;
}

// A connection is a file, and 1024 of them is what most systems allow a process that does not ask for more.
void RaiseFileLimit() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace

EndingSignals::EndingSignals() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

bool EndingSignals::Wait(long ms) {
  const timespec wait{ms / 1000, ms % 1000 * 1000000};
  if (!ending_) ending_ = sigtimedwait(&signals_, nullptr, &wait) > 0;
  return ending_;
}

int RunProcess(int argc, char** argv, const ProcessInfo& info,
               const std::function<Status(const ClusterOptions&, EndingSignals&)>& run) {
  OpenStandardStreams();
  auto options = ParseCommandLine(argc, argv, info);
  if (!options.ok()) return Fail(info, options.status(), 2);
  if (Status armed = ArmFaultsFromEnvironment(); !armed.ok()) return Fail(info, armed, 2);
  RaiseFileLimit();
  EndingSignals signals;
  // Files are named by the node: several servers may share a folder of logs.
  auto logging =
      Logging::Start({.program = std::filesystem::path(options->cluster.data_dir).filename().string(),
                      .level = options->log.level,
                      .dir = options->log.dir,
                      .max_mib = options->log.max_mib,
                      .keep_days = options->log.keep_days});
  if (!logging.ok()) return Fail(info, logging.status(), 1);
  const Status status = run(*options, signals);
  if (status.ok() || status.code() == Code::kCancelled) return 0;
  // Standard error has it below, in one line; the log file shall have it, too.
  if (!options->log.dir.empty()) LOG(WARNING) << status.ToString();
  switch (status.code()) {
    case Code::kInvalidArgument:
      return Fail(info, status, 2);
    case Code::kPermissionDenied:
      return Fail(info, status, 4);
    default:
      return Fail(info, status, 1);
  }
}

}  // namespace penstock
