// ClusterLauncher: a cluster of local processes in one data directory, or servers and workers of a cluster
// elsewhere: starts them, waits until they serve, keeps them running, ends them.
//
//   Start (lock, record, tokens, children) -> WaitUntilReady -> ... -> Stop
//
// Owned by one thread. What the supervisor has to say (a child that died) is said on a thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/config/cluster_options.h"
#include "tools/launch/data_dir.h"
#include "tools/launch/interrupt.h"
#include "tools/launch/supervisor.h"

namespace penstock {

struct LaunchOptions {
  std::string data_dir;             // made if need be
  std::optional<uint32_t> servers;  // nothing: as last time in this folder, or 1
  std::optional<uint32_t> workers;
  std::optional<std::string> config;  // cluster file; nothing: as last time
  std::optional<std::vector<std::string>> assignments;
  std::optional<std::string> address;  // as in LaunchRecord, like the next; nothing: as last time
  std::optional<std::string> join, token_file, name;
  std::string programs;  // folder of the programs; empty: that of the running program
  SupervisorPolicy policy;
  std::function<void(const std::string&)> say = [](const std::string&) {};
};

class ClusterLauncher {
 public:
  // kInvalidArgument: a wrong option, or too few servers; kFailedPrecondition: the folder is taken or cannot
  // be written, or a program is missing. Nothing is left running after an error.
  static Result<std::unique_ptr<ClusterLauncher>> Start(LaunchOptions options);
  ~ClusterLauncher();  // Stop

  // Until all shards are served (of a cluster of its own) and all servers and workers have registered.
  // kCancelled when a signal came; kDeadlineExceeded with what is missing; kFailedPrecondition when a process
  // cannot be kept running, kInvalidArgument at once when it does not take its options, both with the last
  // lines that it printed.
  Status WaitUntilReady(uint64_t deadline_ms, InterruptSignals* signals);

  // In order: workers, servers, scheduler. A second signal while it waits kills what is left.
  void Stop(InterruptSignals* signals = nullptr);

  const LaunchRecord& record() const { return record_; }
  const DataDirPaths& paths() const { return paths_; }
  // The operator's.
  const std::string& token_file() const { return token_file_; }
  const Supervisor& supervisor() const { return *supervisor_; }

 private:
  ClusterLauncher(DataDirPaths paths, DataDirLock lock) : paths_(std::move(paths)), lock_(std::move(lock)) {}
  Status CheckChildren() const;

  const DataDirPaths paths_;
  DataDirLock lock_;
  LaunchRecord record_;
  std::string token_file_;
  std::unique_ptr<Supervisor> supervisor_;
};

// Of the scheduler's status (inspect "status"): what keeps a launched cluster, or what joined one, from being
// ready; empty: nothing, or shards that are quarantined alone, which an operator must see to.
std::string MissingForReady(const nlohmann::json& status, const LaunchRecord& record);
// Of inspect "nodes": a line for each on this machine, which goes by `hosts`, that took part before and is
// none of the launched ones; "": all are.
std::string LeftOutText(const nlohmann::json& nodes, const std::vector<ChildState>& launched,
                        const std::set<std::string>& hosts);
// Of inspect "status": a line for each option that only a new cluster takes and that this one has otherwise,
// where it is not at its default or `assignments` ("section.key=value") name it.
std::string WithoutEffectText(const ClusterOptions& options, const std::vector<std::string>& assignments,
                              const nlohmann::json& status);
// The folder of the running program.
std::string ProgramFolder();
// A new folder below $TMPDIR (or /tmp). RemoveFolder deletes a folder with all it holds.
Result<std::string> MakeTemporaryFolder();
void RemoveFolder(const std::string& path);
// A temporary folder whose "FOLDER/cluster" is to end with its launcher.
Result<std::string> MakePrivateFolder();
// Removes those of ours whose launchers were killed, and gives their names.
std::vector<std::string> RemoveAbandonedClusters();

}  // namespace penstock
