// ServerCore: the shards of one core, put together: what a call finds, what a push must wait for before it is
// answered, and the scheduler's word.
//
// Lives on one KjLoop; every member function runs there. What it is made of decides and acts for itself:
//
//   ShardSlots     the shards, by id
//   CommitWindow   when their deltas are written and who may hear of it
//   MemoryAccount  what leaves memory when there is no room
//   ColdFetch      what comes back from the base
//   BaseScan       what is read of the base otherwise
//
//   Find -> Apply -> CommitWindow::Close -> LogAppender -> OnLogged / OnSynced -> who waits
//
// A shard is served as its primary, or followed as one of its backups (core_copies.cc): then its deltas come
// from the primary, are applied to the rows in memory and go into this node's log with the next window. What
// the backups of its own shards have confirmed is the Replicator's to say.
//
// While the log cannot be written the core refuses pushes (kOverloaded with the disk's message) and keeps
// serving pulls (rule 8).
#pragma once

#include <kj/async.h>

#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/cluster/producer_ranges.h"
#include "common/net/kj_loop.h"
#include "server/node/cold_fetch.h"
#include "server/node/commit_window.h"
#include "server/node/log_appender.h"
#include "server/replica/replica_host.h"

namespace penstock {

class Replicator;

struct CoreOptions {
  uint32_t core = 0;
  uint64_t cluster = 0;
  uint64_t memory_budget_bytes = 0;  // of this core
  uint64_t loaded_bytes = 0;         // of it, for rows that are read after a restart
  uint64_t memory_lag_ms = 5000;
  uint64_t expire_interval_ms = 30000;
  uint64_t max_unit_bytes = 32 << 20;
  uint64_t log_limit_bytes = 8ull << 30;
  uint64_t copy_wait_ms = 30000;
  uint64_t copy_tail_bytes = 512ull << 20;
  std::string node_name;  // for errors
};

class ServerCore final : public ReplicaHost, private kj::TaskSet::ErrorHandler {
 public:
  // What the core asks of its server, on its loop.
  struct Asks {
    std::function<void()> fold;                       // of the log, at once
    std::function<void(const Status&)> base_damaged;  // kDataLoss: the base must be looked at as a whole
    std::function<void(const Follow&)> discarded;     // nothing more of this life goes into the log
  };
  ServerCore(KjLoop& loop, const CoreOptions& options, LogAppender& appender, const BaseStore& base,
             Asks asks, ServerMetrics& metrics);

  // Before serving: a shard as replay left it; `damage` not empty: not before the operator accepts the loss.
  void AdoptShard(std::unique_ptr<Shard> shard, const FoldedPoint& folded, std::string damage);
  // How many shards the cluster has, which never changes. Before the first grant.
  void SetShards(uint32_t shards) { shards_ = shards; }
  uint32_t shard_count() const { return shards_; }
  // Before the first grant.
  void SetReplicator(Replicator* replicator) { replicator_ = replicator; }

  // The scheduler's wanted state: exactly these shards are served, and those followed.
  void ApplyWanted(const WantedShards& wanted);
  void SetTables(const std::vector<TableSpec>& specs, const std::vector<TableId>& dropped);
  void SetFolded(const std::vector<std::pair<ShardId, FoldedPoint>>& folded);
  std::vector<ShardLine> Report();

  // The shard if this core serves it in that epoch; otherwise the status for its group and, with kWrongEpoch,
  // the epoch known here.
  using Found = ShardSlots::Found;
  Found Find(ShardId shard, Epoch epoch) const { return slots_.Find(shard, epoch); }
  ShardSlot* Held(ShardId shard) const { return slots_.Held(shard); }
  const ShardSlots& shards() const { return slots_; }
  const std::map<TableId, TableSpec>& tables() const { return tables_; }
  // Why a shard that is served has no such table: kNotFound, it was dropped; kUnavailable, it is not known
  // yet.
  Status UnknownTable(TableId table) const;
  MemoryAccount& memory() { return memory_; }
  ColdFetch& cold() { return cold_; }
  BaseScan& scan() { return scan_; }

  struct Unit {
    UnitContext context;
    TableId table = 0;
    std::span<const Key> keys;
    const float* values = nullptr;
    float* pulled = nullptr;  // room for the rows as they are afterwards; nullptr: nobody asked
  };
  // What must be reached before a unit is answered.
  struct Applied {
    Status status;   // not ok: the unit was not applied
    DeltaRef delta;  // that holds it
    Durability level = Durability::kMemory;
    std::vector<Key> cold;  // not empty: the unit was not applied, ApplyCold takes it from here
  };
  // `table`: the unit's, as the shard was asked for it just now.
  Applied Apply(ShardSlot& slot, Shard::TableHandle table, const Unit& unit);
  // Fetches what Apply found cold, and applies the unit once all its rows are in memory, epoch and marks
  // checked again. The unit's rows are not evicted meanwhile. kOverloaded at once: too much waits already.
  kj::Promise<Applied> ApplyCold(ShardSlot& slot, Epoch epoch, const Unit& unit, std::vector<Key> cold);
  // Closes a round of a table (Shard::CommitRound). kUnavailable while the table is not known here.
  Applied CommitRound(ShardSlot& slot, TableId table, uint64_t round, uint64_t examples, uint64_t step);
  // Rows of the table were deleted in a shard that is served: the deltas of its level take them.
  void NoteDeleted(ShardSlot& slot, TableId table);
  // Of rows that were deleted without being in memory, in all shards.
  uint64_t TombstoneBytes() const;

  // Asks for a fold of all that was applied so far, what `memory` tables hold back included. False when one
  // is under way, which may have begun without the latest, or the log cannot be written.
  bool WantFold();
  // Reached(level), and then Replicator::Wait. kMemory: at once.
  kj::Promise<Status> Reached(Durability level, std::vector<DeltaRef> deltas);
  // As Reached(kLogged), `memory` tables of these shards included, on all in-sync copies; or here alone.
  kj::Promise<Status> Flush(std::span<const ShardId> shards);
  kj::Promise<Status> FlushHere(std::span<const ShardId> shards);
  kj::Promise<Status> FlushAll() { return FlushHere(slots_.Ids()); }

  // --- For copies of its shards, there and here (replica_host.h).
  ShardReplica* FindReplica(ShardId shard) const override;
  uint64_t folds() const override { return folds_; }
  void CloseWhole(ShardId shard) override;
  void SyncCopies(ShardId shard) override;
  kj::Promise<Result<StoredRows>> ScanBase(Incarnation incarnation, TableId table, Key first,
                                           size_t rows) override {
    return scan_.Rows(incarnation, table, first, rows);
  }
  ReplicaAnswer Standing(const ReplicaRef& ref) override;
  ReplicaAnswer TakeSection(const ReplicaRef& ref, DeltaWords words, uint32_t checksum) override;
  kj::Promise<Status> Reached(Durability level) override;
  kj::Promise<Result<ContentHash>> Digest(ShardId shard) override { return scan_.Digest(shard); }

  // The appender is about to end: nothing is submitted any more.
  void BeginStop() { stopping_ = true; }
  // Ok, or why pushes are refused now.
  Status Writable() const;
  const CoreOptions& options() const { return options_; }

 private:
  ShardSlot& MakeSlot(ShardId shard, Incarnation incarnation);
  void TakeGrant(const Grant& grant);
  void WriteLastDelta(ShardSlot& slot);
  void OnBegun(const Grant& grant, ShardSlot& slot, const ShardReplica::Begun& begun);
  void TakeFollow(const Follow& follow);
  void Discard(const Follow& life);
  void SetProducers(const WantedShards& wanted);
  Status NotFollowed(ShardId shard) const;
  bool HasRoomForCopies();
  std::vector<Key> PullUnit(const Shard& shard, Shard::TableHandle table, const Unit& unit);
  kj::Promise<Applied> ApplyFetched(ShardId shard, Epoch epoch, const Unit& unit, int attempts);
  kj::Promise<void> FlushSome(std::vector<ShardId> shards);
  void Touch(ShardSlot& slot);
  void MemoryTick();
  void ScheduleClose();
  void Close();
  void Submit(CommitWindow::Write write);
  void Perform(CommitWindow::Actions actions);
  void RecoverLater();
  uint64_t NowMs() const;
  void Spawn(kj::Promise<void> promise, const char* what);
  void taskFailed(kj::Exception&& e) override;

  KjLoop& loop_;
  const CoreOptions options_;
  LogAppender& appender_;
  const Asks asks_;
  ServerMetrics& metrics_;
  ShardSlots slots_;
  uint32_t shards_ = 0;  // of the cluster; 0: not known yet, and nothing is served
  std::map<TableId, TableSpec> tables_;
  TableId newest_table_ = 0;  // the highest id that was ever heard of
  ProducerId forget_floor_ = 0;
  ProducerRanges finished_, complete_;
  CommitWindow window_;
  MemoryAccount memory_;
  BaseScan scan_;
  ColdFetch cold_;
  bool close_scheduled_ = false;
  bool stopping_ = false;
  bool fold_wanted_ = false;  // until one has been done
  uint64_t folds_ = 0;
  Replicator* replicator_ = nullptr;
  kj::TaskSet tasks_;  // last: its promises use all of the above
};

}  // namespace penstock
