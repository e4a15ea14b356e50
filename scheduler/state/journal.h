// Journal: the scheduler's durable memory, an embedded RocksDB.
//
//   "c/<20 digits>"  {"v":1,"type":...,"made_ms":...}: the command with that index; indices rise by one
//   "snapshot"       {"v":1,"index":N,"state":...}: the state after command N
//
// Each command is one synced write. Every `snapshot_every` commands a thread of its own makes a snapshot
// (journal_snapshots.h) and deletes, in the same write, the commands that it replaces, so that the database
// always holds exactly one state. A torn tail (a
// write that was never answered) is dropped on opening; damage anywhere else is refused (RocksDB's default
// would silently drop everything behind it).
//
// One thread; calls block on the disk. After a failed write the database is closed, and each Append tries to
// open it again, so that service resumes when the disk has space. A command whose write failed may be found
// by the next start; it was valid, and nothing else was written behind it.
#pragma once

#include <memory>
#include <string>

#include "scheduler/state/committed_state.h"
#include "scheduler/state/journal_snapshots.h"

namespace rocksdb {
class DB;
}

namespace penstock {

struct JournalOptions {
  uint64_t snapshot_every = 1000;
};

class Journal final : public CommandLog {
 public:
  // Makes the directory if needed. kDataLoss naming the file and the remedy when the journal is damaged;
  // kFailedPrecondition when another process has it open or a later version wrote it; kPermissionDenied when
  // the directory cannot be written.
  static Result<std::unique_ptr<Journal>> Open(const std::string& directory,
                                               const JournalOptions& options = {});
  ~Journal() override;

  // The state that the journal holds. Once, after Open.
  ClusterState TakeState() { return std::move(state_); }

  // kOverloaded: the disk is full; kUnavailable: another failure of the disk.
  Status Append(const Command& command, int64_t at_ms) override;

  uint64_t last_index() const { return last_index_; }
  // The last command that the newest snapshot holds; 0: there is none.
  uint64_t snapshot_index() const;
  // Until none is being made.
  void WaitForSnapshot();

 private:
  Journal(std::string directory, const JournalOptions& options);
  Status OpenDatabase();
  Status Load();
  Status LoadSnapshot(uint64_t* index);
  Status LoadCommands();

  const std::string directory_;
  const JournalOptions options_;
  std::shared_ptr<rocksdb::DB> db_;  // null after a failed write
  ClusterState state_;
  uint64_t last_index_ = 0;
  std::unique_ptr<JournalSnapshots> snapshots_;
};

}  // namespace penstock
