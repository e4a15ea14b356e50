// DataDir: the folder of a cluster as the launcher keeps it: its lock, its tokens, and the record of what was
// launched in it.
//
//   D/node.token, D/operator.token, D/client.token
//                        what the cluster's processes, the command `penstock` and programs must prove to
//                        know (common/net/access.h; mode 0600)
//   D/launcher.lock      held by the one launcher of the folder, with its process id in it
//   D/launcher.json      LaunchRecord of the last launch
//   D/scheduler/  D/server-N/  D/worker-N/   of the processes; D/scheduler/address is where the scheduler
//   listens now D/logs/              log files, and <process>.out with what it printed
//
// One thread. Errors name the folder or the file.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/net/access.h"

namespace penstock {

struct LaunchRecord {
  uint32_t servers = 1;
  uint32_t workers = 1;
  uint32_t least_servers = 1;  // as many as the cluster was made with: its shards lie on them
  std::string config;          // absolute path, empty: none
  std::vector<std::string> assignments;
  std::string address;  // of this machine, at which its processes listen; empty: as the options say
  // Of processes that take part in a cluster elsewhere; empty: the cluster is this folder's own.
  std::string join;        // host:port of its scheduler
  std::string token_file;  // its node.token, with its others beside it; or its one token
  std::string name;        // with which the names of its servers and workers begin

  bool joins() const { return !join.empty(); }
};

struct DataDirPaths {
  explicit DataDirPaths(std::string root) : root(std::move(root)) {}
  std::string root;
  std::string token(Access access) const { return root + "/" + std::string(ToString(access)) + ".token"; }
  std::string lock() const { return root + "/launcher.lock"; }
  std::string record() const { return root + "/launcher.json"; }
  std::string logs() const { return root + "/logs"; }
  std::string node(const std::string& name) const { return root + "/" + name; }
  std::string scheduler_address() const { return root + "/scheduler/address"; }
};

// $PENSTOCK_DATA_DIR, or ./penstock-data.
std::string DefaultDataDir();
// The path made absolute, without a slash at its end.
std::string AbsolutePath(const std::string& path);

// The lock of a data directory. The kernel releases it when the process ends, however it ends.
class DataDirLock {
 public:
  // Makes the folder if need be. kFailedPrecondition when another launcher has it (its process is named) or
  // when it cannot be written.
  static Result<DataDirLock> Acquire(const DataDirPaths& paths);
  DataDirLock(DataDirLock&& other) noexcept;
  DataDirLock& operator=(DataDirLock&& other) noexcept;
  ~DataDirLock();

 private:
  explicit DataDirLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

// The process that holds the lock now; nothing: no launcher runs there.
std::optional<pid_t> LockHolder(const DataDirPaths& paths);

// kNotFound when nothing was ever launched there; kDataLoss when the file cannot be understood.
Result<LaunchRecord> ReadLaunchRecord(const DataDirPaths& paths);
// The operator's token beside the node's, or where there is none, the node's own.
std::string OperatorTokenBeside(const std::string& node_token);
// How a client reaches the cluster that this folder holds or takes part in: the scheduler's address, or the
// file that has it; and the operator's token, empty where the folder has none.
struct ClusterContact {
  std::string scheduler, token_file;
};
ClusterContact ContactOf(const DataDirPaths& paths);

Status WriteLaunchRecord(const DataDirPaths& paths, const LaunchRecord& record);

// What to launch, from what was asked for (nothing: as last time, or 1 and 1) and what was before.
// kInvalidArgument when there would be fewer servers than the cluster's shards lie on.
Result<LaunchRecord> DecideLaunch(std::optional<uint32_t> servers, std::optional<uint32_t> workers,
                                  const std::optional<LaunchRecord>& last);

}  // namespace penstock
