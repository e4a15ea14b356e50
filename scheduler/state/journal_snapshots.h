// JournalSnapshots: the thread that makes a snapshot of the journal from the commands in it, so that the
// scheduler's loop need neither copy its state nor wait for a large write.
//
// It keeps a state of its own, which it brings up to date by the commands that the database has since the
// last snapshot: the same commands give the equal state (cluster_state.h). One write then replaces the old
// snapshot and those commands; it goes past the write-ahead log, whose commands say the same until the tables
// that hold it are durable.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include "scheduler/state/cluster_state.h"

namespace rocksdb {
class DB;
}

namespace penstock {

class JournalSnapshots {
 public:
  // `state` is the one after command `index`; a snapshot stands at `snapshot_index`.
  JournalSnapshots(ClusterState state, uint64_t index, uint64_t snapshot_index);
  ~JournalSnapshots();  // ends what runs, and the thread

  // A snapshot of all commands up to `last`, which are durable in `db`. False: one is being made.
  bool Begin(std::shared_ptr<rocksdb::DB> db, uint64_t last);
  // Until none is being made, and nobody holds the database here.
  void Wait();
  // The last command that the newest snapshot holds.
  uint64_t index() const;

 private:
  void Run();
  Status Make(rocksdb::DB& db, uint64_t last);
  Status CatchUp(rocksdb::DB& db, uint64_t last);

  ClusterState state_;  // of the thread, as index_
  uint64_t index_;
  mutable std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::shared_ptr<rocksdb::DB> db_;  // guarded by mutex_, like what follows; null: nothing to do
  uint64_t last_ = 0;
  uint64_t snapshot_index_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace penstock
