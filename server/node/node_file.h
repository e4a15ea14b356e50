// NodeFile: what a server must know before it has spoken to anyone: its ids, the highest term it obeyed, and
// its tables' specs.
//
// One small JSON file with a version and a checksum, replaced atomically (temporary name, fsync, rename,
// fsync of the folder).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/cluster/table_spec.h"

namespace penstock {

struct NodeState {
  uint64_t cluster = 0;  // 0: never registered
  NodeId node = 0;
  uint64_t term = 0;           // highest scheduler term seen; lower ones are refused
  uint64_t map_version = 0;    // highest seen
  bool copied = false;         // its shards have copies on other servers
  bool suspect = false;        // damage was found in the base: it is read whole before it is served again
  uint64_t replay_speed = 0;   // of the log at a start, bytes a second; 0: not known
  uint64_t table_version = 0;  // of `tables`, as the scheduler counts
  std::map<TableId, TableSpec> tables;
};

class NodeFile {
 public:
  explicit NodeFile(std::string path) : path_(std::move(path)) {}
  // An absent file is a new node. kDataLoss naming the file when it is damaged, kFailedPrecondition when it
  // is of a later version.
  Result<NodeState> Load() const;
  Status Save(const NodeState& state);
  // Where only the version of the map has changed: every few seconds is enough to tell an older journal of
  // the scheduler when all processes were ended with it.
  Status SaveVersion(const NodeState& state);
  // Of the last Save.
  const Status& failure() const { return failure_; }

 private:
  const std::string path_;
  Status failure_;
  uint64_t saved_version_ = 0;  // of the map
  std::chrono::steady_clock::time_point saved_at_;
};

}  // namespace penstock
