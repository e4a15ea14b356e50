#include "tools/cli/target.h"

#include <unistd.h>

#include "tools/launch/data_dir.h"

namespace penstock {

// A tool that waits says so itself, so a single call need not wait long.
constexpr uint64_t kDeadlineMs = 5000;

ClientOptions TargetOptions(const TargetArguments& target, const std::string& name) {
  ClientOptions options{.scheduler = target.scheduler,
                        .token_file = target.token_file,
                        .name = name,
                        .deadline_ms = kDeadlineMs};
  if (!target.scheduler.empty()) return options;
  const DataDirPaths paths(AbsolutePath(target.data_dir.empty() ? DefaultDataDir() : target.data_dir));
  options.scheduler = paths.scheduler_address();
  const std::string token = paths.token(Access::kOperator);
  if (::access(token.c_str(), F_OK) == 0) options.token_file = token;
  return options;
}

Result<std::unique_ptr<Client>> ConnectTo(const TargetArguments& target, const std::string& name) {
  return ConnectTo(target, TargetOptions(target, name));
}

Result<std::unique_ptr<Client>> ConnectTo(const TargetArguments& target, const ClientOptions& options) {
  auto client = Client::Connect(options);
  if (client.ok() || !target.scheduler.empty()) return client;
  const Code code = client.status().code();
  if (code != Code::kUnavailable && code != Code::kDeadlineExceeded) return client;
  const std::string folder = AbsolutePath(target.data_dir.empty() ? DefaultDataDir() : target.data_dir);
  return Unavailable("no cluster answers in " + folder + " (" + client.status().message() +
                     "); start one with `penstock up --data-dir " + folder + "`");
}

}  // namespace penstock
