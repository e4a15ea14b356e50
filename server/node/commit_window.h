// CommitWindow: what the deltas of a core's shards take, when they are written, and who may hear of it
// (rules 2, 3, 8 and 16).
//
// A push makes its shard dirty; the open window closes as soon as the append of the one before has returned
// (so an idle core answers at once and a busy one groups by itself) and takes one delta of each dirty shard.
// After a failed write nothing is said to be logged any more until everything that the base does not have has
// been written again and synced.
//
//   Pushed, Touch, Wait -> MayClose -> Close -> (the log writes) -> OnLogged, OnSynced -> who waits
//                                                    fails -> Recover -> OnRecovered -> who waits
//
// Pure: events and times (milliseconds of a clock that only rises) in, actions out; no threads, no files.
// ServerCore performs them with its log and its loop, tests/sim with a disk and a network that fail. The
// slots that are held stay the caller's; each is dropped here before it goes.
#pragma once

#include <absl/functional/any_invocable.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/node/shard_slot.h"
#include "server/storage/delta_log.h"

namespace penstock {

// At which pushes to the table are answered. Rounds are logged at least: a minibatch that is answered is not
// asked for again.
inline Durability LevelOf(const TableSpec& spec) {
  return spec.accumulate ? std::max(spec.durability, Durability::kLogged) : spec.durability;
}

class CommitWindow {
 public:
  // Is told that what it waits for has come; destroyed untold when that is not to be known any more.
  using Waiter = absl::AnyInvocable<void() &&>;
  using Waiters = std::vector<Waiter>;
  // A window that has closed, or the recovery of a log that failed: the log writes it, and syncs it if
  // `sync`.
  struct Write {
    uint64_t number = 0;
    LogRecord record;
    uint64_t generation = 0;  // of the log, as far as is known here
    bool sync = false;
    bool recovery = false;
    std::vector<ShardSlot*> built;  // whose delta was built now, and given to their copies
  };
  // What is to be done after an event.
  struct Actions {
    Waiters reached;       // to be told
    bool failed = false;   // the log has just failed: pushes are refused
    bool recover = false;  // Recover is to be called in kRecoverEveryMs
  };
  static constexpr uint64_t kRecoverEveryMs = 1000;

  // `name` is of the core, for the server's log. `generation`: the log's now.
  CommitWindow(std::string name, uint64_t memory_lag_ms, uint64_t generation)
      : name_(std::move(name)), memory_lag_ms_(memory_lag_ms), generation_(generation) {}

  void Hold(ShardSlot& slot) { shards_[slot.id()] = &slot; }
  // Nothing of it is written, logged or waited for any more.
  void Drop(ShardSlot& slot);

  // --- What changes.
  // A unit of the table was applied, or was a duplicate. Returns the level that its answer still waits for.
  Durability Pushed(ShardSlot& slot, Shard::TableHandle table, Durability level, const PushOutcome& outcome);
  // Something else of the shard has changed that the next delta takes.
  void Touch(ShardSlot& slot);
  // The same of a table at this level.
  void Touch(ShardSlot& slot, Durability level);
  // The next delta takes `memory` tables too.
  void TouchWhole(ShardSlot& slot);
  // The same if any of them has changed.
  void TouchMemory(ShardSlot& slot);
  // As a backup: the shard has applied this, and it goes into the open window.
  void Take(ShardSlot& slot, LogSection section);
  // Told when everything of before the call is at the level here: kLogged or kSynced.
  void Wait(Durability level, Waiter waiter);
  // Now and then, and before anything else: `memory` tables become due.
  Actions Tick(uint64_t now_ms, uint64_t log_generation);

  // --- Writing.
  // There is something to write, and it may be written now.
  bool MayClose() const;
  // nullopt: it may not, or there is no memory for a delta (then MayClose still holds: again a little later).
  std::optional<Write> Close(uint64_t now_ms);
  // The append of the window has returned; once for each that was closed, in order.
  Actions OnLogged(uint64_t number, const Status& status);
  // If it was to be synced.
  Actions OnSynced(uint64_t number, const Status& status);

  // --- A log that failed (rule 8).
  // Everything that the base does not have, into a fresh segment, whatever was believed to be logged before.
  // nullopt: there is no memory for a delta; again in kRecoverEveryMs.
  std::optional<Write> Recover(uint64_t now_ms);
  // It is written and synced, in this generation of the log; or not, then it is to be tried again.
  Actions OnRecovered(const Status& status, uint64_t log_generation);
  // Of the log; ok while pushes are served.
  const Status& failure() const { return failure_; }

  // Nothing is open, being written, or failed.
  bool Quiet() const { return failure_.ok() && !appending_ && closed_.empty() && !HasOpen(); }

 private:
  struct Taken {
    ShardSlot* slot = nullptr;
    Lsn lsn = 0;
  };
  struct Window {
    uint64_t number = 0;
    Waiters logged, synced;
    std::vector<Taken> taken;
    bool sync() const { return !synced.empty(); }
  };

  bool HasOpen() const;
  // False when a delta could not be built; its shard stays dirty.
  bool AddSections(Window& window, Write* write, uint64_t now_ms);
  void AddSection(Window& window, ShardSlot& slot, BuiltDelta delta, bool memory_too, Write* write,
                  uint64_t now_ms);
  void NoteMemoryDirty(ShardSlot& slot);
  Actions Fail(const Status& status);
  void KeepWaiters(Window& window);

  const std::string name_;
  const uint64_t memory_lag_ms_;
  std::map<ShardId, ShardSlot*> shards_;
  std::vector<ShardSlot*> dirty_;
  std::vector<std::pair<Taken, LogSection>> taken_;  // from primaries, for the open window
  Window open_;
  std::map<uint64_t, Window> closed_;  // appended or being appended, with waiters left
  Window recovering_;
  bool appending_ = false;
  Status failure_;
  uint64_t generation_;
  uint64_t now_ms_ = 0;     // as of the last tick
  Waiters failed_waiters_;  // of windows that a failure caught; told once their rows are logged again
};

}  // namespace penstock
