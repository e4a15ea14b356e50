#include "tools/cli/target.h"

#include "common/base/atomic_file.h"
#include "common/base/strings.h"

namespace penstock {

// A tool that waits says so itself, so a single call need not wait long.
constexpr uint64_t kCallDeadlineMs = 5000;

std::string DataDirOf(const TargetArguments& target) {
  return AbsolutePath(target.data_dir.empty() ? DefaultDataDir() : target.data_dir);
}

Result<std::string> SchedulerAt(const TargetArguments& target) {
  const std::string at =
      target.scheduler.empty() ? ContactOf(DataDirPaths(DataDirOf(target))).scheduler : target.scheduler;
  if (at.find('/') == std::string::npos) return at;
  PENSTOCK_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(at));
  return text.substr(0, text.find('\n'));
}

ClientOptions TargetOptions(const TargetArguments& target, const std::string& name) {
  ClientOptions options{.scheduler = target.scheduler,
                        .token_file = target.token_file,
                        .name = name,
                        .deadline_ms = kCallDeadlineMs};
  if (!target.scheduler.empty()) return options;
  const ClusterContact contact = ContactOf(DataDirPaths(DataDirOf(target)));
  options.scheduler = contact.scheduler;
  if (options.token_file.empty()) options.token_file = contact.token_file;
  return options;
}

Result<std::unique_ptr<Client>> ConnectTo(const TargetArguments& target, const std::string& name) {
  return ConnectTo(target, TargetOptions(target, name));
}

Status ExplainNoAnswer(const DataDirPaths& paths, const Status& status) {
  const std::string said = " (" + status.message() + ")", logs = "; its logs are in " + paths.logs();
  // Whether its launcher runs decides what there is to do.
  const auto launcher = LockHolder(paths);
  const std::string by = launcher && *launcher > 0 ? StrCat(" by process ", *launcher) : "";
  if (status.code() == Code::kDeadlineExceeded) {
    const auto pid = ReadWholeFile(paths.node("scheduler") + "/pid");
    const std::string process = pid.ok() ? " (process " + pid->substr(0, pid->find('\n')) + ")" : "";
    return DeadlineExceeded(StrCat("the scheduler of the cluster in ", paths.root, process,
                                   " is there, but does not answer", said, logs));
  }
  if (launcher) {
    return Unavailable(StrCat("the cluster in ", paths.root, " is kept running", by,
                              ", but its scheduler cannot be reached", said, logs));
  }
  return Unavailable(StrCat("no cluster runs in ", paths.root, said,
                            "; start one with `penstock up --data-dir ", paths.root, "`"));
}

Result<std::unique_ptr<Client>> ConnectTo(const TargetArguments& target, const ClientOptions& options) {
  auto client = Client::Connect(options);
  if (client.ok() || !target.scheduler.empty()) return client;
  const Code code = client.status().code();
  if (code != Code::kUnavailable && code != Code::kDeadlineExceeded) return client;
  return ExplainNoAnswer(DataDirPaths(DataDirOf(target)), client.status());
}

}  // namespace penstock
