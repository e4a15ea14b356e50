// NodeFile: what a server must know before it has spoken to anyone: its ids, the highest term it obeyed, and
// its tables' specs.
//
// One small JSON file with a version and a checksum, replaced atomically (temporary name, fsync, rename,
// fsync of the folder).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

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
  // Waits for a write that runs; what is only wanted soon is not written any more.
  ~NodeFile();
  // An absent file is a new node. kDataLoss naming the file when it is damaged, kFailedPrecondition when it
  // is of a later version.
  Result<NodeState> Load() const;
  // Waits for the disk.
  Status Save(const NodeState& state);
  // Does not wait: a thread of its own writes the newest state that was wanted, since a disk that is slow
  // must not keep a server from saying that it lives. For what nothing depends on at once: the version of the
  // map, of which one every few seconds is enough to tell an older journal of the scheduler when all
  // processes were ended with it; and whether there are copies, which says only if damage is put aside or
  // refused at a start.
  void SaveSoon(const NodeState& state);
  // Of the last write.
  Status failure() const;

 private:
  Status Write(const NodeState& state);
  void Main();

  const std::string path_;
  std::mutex writing_;  // one at a time, older ones first; taken before mutex_
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_:
  std::optional<NodeState> wanted_;
  uint64_t asked_version_ = 0;  // what is written or wanted last
  bool asked_copied_ = false;
  std::chrono::steady_clock::time_point asked_at_;
  Status failure_;
  bool stopping_ = false;
  std::thread thread_;  // from the first SaveSoon on
};

}  // namespace penstock
