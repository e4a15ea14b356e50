// ServerCore: the shards of one core, its commit windows, and when a push may be answered.
//
// Lives on one KjLoop; every member function runs there. A push is applied by its service (data_service.h)
// through Apply, which says what it must wait for. When windows close, what they take and who may hear of it
// is the CommitWindow's to decide; the core hands what it wants written to the LogAppender as one record.
//
//   Apply -> CommitWindow::Close -> LogAppender -> OnLogged / OnSynced -> waiters
//
// Rows are kept within the core's share of the memory budget (core_memory.cc): what is clean leaves memory
// when there is no room for what comes, and is fetched from the base when a call names it; such a call waits,
// others do not.
//
// A shard is served as its primary, or followed as one of its backups (core_copies.cc): then its deltas come
// from the primary, are applied to the rows in memory and go into this node's log with the next window. What
// the backups of its own shards have confirmed is the Replicator's to say.
//
// While the log cannot be written the core refuses pushes (kOverloaded with the disk's message) and keeps
// serving pulls (rule 8).
#pragma once

#include <absl/container/flat_hash_map.h>
#include <kj/async.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "common/cluster/producer_ranges.h"
#include "common/net/kj_loop.h"
#include "server/node/blocking_thread.h"
#include "server/node/commit_window.h"
#include "server/node/log_appender.h"
#include "server/node/server_metrics.h"
#include "server/node/shard_slot.h"
#include "server/replica/replica_host.h"
#include "server/storage/base_store.h"

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

// One shard's line in a heartbeat (proto::ShardReport without the core).
struct ShardLine {
  ShardId shard = 0;
  Incarnation incarnation = 0;
  Epoch epoch = 0;
  Lsn applied = 0, logged = 0, synced = 0;
  uint64_t rows = 0, bytes = 0, marks_bytes = 0;
  std::string damage;
  Epoch seen = 0;
  bool complete = false;
  std::vector<BackupReport> backups;
};

class ServerCore final : public ReplicaHost, private kj::TaskSet::ErrorHandler {
 public:
  // What the core asks of its server, on its loop.
  struct Asks {
    std::function<void()> fold;                       // of the log, at once
    std::function<void(const Status&)> base_damaged;  // kDataLoss: the base must be looked at as a whole
  };
  ServerCore(KjLoop& loop, const CoreOptions& options, LogAppender& appender, const BaseStore& base,
             Asks asks, ServerMetrics& metrics);

  // Before serving: a shard as replay left it; `damage` not empty: it may not be served before the operator
  // accepts the loss.
  void AdoptShard(std::unique_ptr<Shard> shard, const FoldedPoint& folded, std::string damage);

  // Before the first grant.
  void SetReplicator(Replicator* replicator) { replicator_ = replicator; }

  // The scheduler's wanted state: exactly these shards are served, and those followed.
  void ApplyWanted(const std::vector<Grant>& grants, const std::vector<Follow>& follows);
  void SetTables(const std::vector<TableSpec>& specs, const std::vector<TableId>& dropped);
  // Before the ApplyWanted of the same answer: what a shard has lost that is granted with it is no longer
  // complete.
  void SetProducers(ProducerId forget_floor, const ProducerRanges& finished, const ProducerRanges& complete);
  void SetFolded(const std::vector<std::pair<ShardId, FoldedPoint>>& folded);
  std::vector<ShardLine> Report();

  // The shard if this core serves it in that epoch; otherwise the status for its group and, with kWrongEpoch,
  // the epoch known here.
  struct Found {
    Shard* shard = nullptr;
    Status status;
    Epoch epoch = 0;
  };
  Found Find(ShardId shard, Epoch epoch);
  // Every unit that was told an lsn up to here is logged on all in-sync copies.
  Lsn Logged(ShardId shard) const;

  // --- For copies of its shards, there and here (replica_host.h).
  ShardReplica* FindReplica(ShardId shard) const override;
  uint64_t folds() const override { return folds_; }
  void CloseWhole(ShardId shard) override;
  void SyncCopies(ShardId shard) override;
  kj::Promise<Result<StoredRows>> ScanBase(Incarnation incarnation, TableId table, Key first,
                                           size_t rows) override;
  ReplicaAnswer Standing(const ReplicaRef& ref) override;
  ReplicaAnswer TakeSection(const ReplicaRef& ref, DeltaWords words, uint32_t checksum) override;
  kj::Promise<Status> Reached(Durability level) override;
  kj::Promise<void> RoomForCopies() override { return AwaitRoom(0); }
  kj::Promise<Result<ContentHash>> Digest(ShardId shard) override;

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
  Applied Apply(ShardId shard, const Unit& unit);
  // Fetches what Apply found cold, and applies the unit once all its rows are in memory, epoch and marks
  // checked again. The unit's rows are not evicted meanwhile. kOverloaded at once: too much waits already.
  kj::Promise<Applied> ApplyCold(ShardId shard, Epoch epoch, const Unit& unit, std::vector<Key> cold);

  // What a call holds that waits for cold rows: bytes of the budget, and rows that are not evicted.
  class ColdWait {
   public:
    ColdWait(ServerCore& core, uint64_t bytes);
    ~ColdWait();
    void Pin(Shard& shard, TableId table, std::span<const Key> keys);

   private:
    ServerCore& core_;
    const uint64_t bytes_;
    ShardId shard_ = 0;
    Incarnation incarnation_ = 0;
    TableId table_ = 0;
    std::span<const Key> pinned_;
  };
  // kOverloaded when calls that wait hold half of the budget.
  Result<kj::Own<ColdWait>> WaitForRows(uint64_t bytes);
  // Resolves when each of these rows has been looked for in the base; those that it has are then in memory,
  // though perhaps not for long. Not ok: the base could not be read.
  kj::Promise<Status> Fetch(ShardId shard, TableId table, std::span<const Key> keys);
  // Adds the table's cold rows to the sums. Rows that are evicted or fetched meanwhile may count twice or not
  // at all.
  kj::Promise<Status> AddColdRows(ShardId shard, TableId table, ShardTableStats* stats);
  // Closes a round of a table (Shard::CommitRound). kUnavailable while the table is not known here.
  Applied CommitRound(ShardId shard, TableId table, uint64_t round, uint64_t examples, uint64_t step);
  // Shards that it has, served and followed or not; of those, by id (else nullptr).
  std::vector<ShardId> Held() const;
  Shard* HeldShard(ShardId shard) const;
  // kUnavailable while rows of the base are still being read (RowLoader): of the table in this shard.
  Status Loaded(ShardId shard, TableId table) const;
  // Shards that it serves now; of those, by id (else nullptr).
  std::vector<ShardId> Served() const;
  Shard* ServedShard(ShardId shard);
  const std::map<TableId, TableSpec>& tables() const { return tables_; }
  // Rows of the table were deleted in a shard that is served: the deltas of its level take them.
  void NoteDeleted(ShardId shard, TableId table);
  // Of rows that were deleted without being in memory, in all shards.
  uint64_t TombstoneBytes() const;
  // Asks for a fold of all that was applied so far, what `memory` tables hold back included. False when one
  // is under way, which may have begun without the latest, or the log cannot be written.
  bool WantFold();
  const BaseStore& base() const { return base_; }
  // Resolves with the Result that `call` has of the base; it runs on the core's thread for the disk.
  template <typename Call>
  auto ReadBase(Call call) {
    return disk_.Run([&base = base_, call = std::move(call)] { return call(base); })
        .then([this](auto&& read) {
          using Read = std::decay_t<decltype(read)>;
          return read.ok() ? kj::mv(read) : Read(NoteBase(read.status()));
        });
  }
  // Of something that was read there. Damage is the server's concern, which begins again and heals its base
  // or ends: to others it is kUnavailable.
  Status NoteBase(const Status& read);
  // False: there is no room for so many more rows in memory. Else it counts as taken.
  bool TakeRoom(const Shard& shard, TableId table, size_t rows);
  // Reached(level), and then Replicator::Wait. kMemory: at once.
  kj::Promise<Status> Reached(Durability level, std::vector<DeltaRef> deltas);
  // As Reached(kLogged), `memory` tables of these shards included, on all in-sync copies.
  kj::Promise<Status> Flush(std::span<const ShardId> shards);
  // The same here alone.
  kj::Promise<Status> FlushHere(std::span<const ShardId> shards);
  kj::Promise<Status> FlushAll();
  // The appender is about to end: nothing is submitted any more.
  void BeginStop() { stopping_ = true; }

  // Ok, or why pushes are refused now.
  Status Writable() const;
  const CoreOptions& options() const { return options_; }

 private:
  ShardSlot* GetSlot(ShardId shard) const;
  ShardSlot& MakeSlot(ShardId shard, Incarnation incarnation);
  void TakeGrant(const Grant& grant);
  void OnBegun(const Grant& grant, ShardSlot& slot, const ShardReplica::Begun& begun);
  void TakeFollow(const Follow& follow);
  Status NotFollowed(ShardId shard) const;
  kj::Promise<void> AwaitRoom(int tries);
  void MakeRoom(Shard& shard, proto::Delta::Reader delta);
  Status UnknownTable(TableId table) const;
  void Touch(ShardSlot& slot);
  void MemoryTick();
  void ScheduleClose();
  void Close();
  void Submit(CommitWindow::Write write);
  void Perform(CommitWindow::Actions actions);
  void RecoverLater();
  uint64_t NowMs();
  void Spawn(kj::Promise<void> promise, const char* what);
  void taskFailed(kj::Exception&& e) override;

  std::vector<Key> PullUnit(const Shard& shard, const Unit& unit);
  Result<PushOutcome> Push(Shard& shard, const Unit& unit);
  uint64_t ResidentBytes();
  uint64_t GrowthLeft();
  void Evict(ShardId needs_room, TableId table, size_t rows);
  kj::Promise<void> FlushSome(std::vector<ShardId> shards);
  // Rows that are asked of the base together, and who waits for them.
  struct FetchBatch {
    struct Row {
      RowPlace place;
      ShardId shard = 0;
      uint64_t number = 0;  // RowFetch's
      auto operator<=>(const Row&) const = default;
    };
    struct Waiter {
      ShardId shard;
      TableId table;
      kj::Own<kj::PromiseFulfiller<Status>> done;
    };
    std::vector<Row> rows;
    std::vector<Waiter> waiters;
  };
  void SubmitFetches();
  void OnFetched(FetchBatch* fetched, Result<StoredRows> rows);
  void Install(const FetchBatch& batch, const StoredRows& rows,
               std::map<std::pair<ShardId, TableId>, Status>* failed);
  kj::Promise<Applied> ApplyFetched(ShardId shard, Epoch epoch, const Unit& unit, int attempts);
  using BaseVisitor = std::function<void(const Shard&, const BaseRow&)>;
  kj::Promise<Status> VisitBase(ShardId shard, Incarnation incarnation, TableId table, Key first,
                                BaseVisitor visit);

  KjLoop& loop_;
  const CoreOptions options_;
  LogAppender& appender_;
  const BaseStore& base_;
  const Asks asks_;
  ServerMetrics& metrics_;
  absl::flat_hash_map<ShardId, std::unique_ptr<ShardSlot>> slots_;
  std::map<TableId, TableSpec> tables_;
  ProducerId forget_floor_ = 0;
  ProducerRanges finished_, complete_;
  CommitWindow window_;
  bool close_scheduled_ = false;
  bool stopping_ = false;
  uint64_t resident_bytes_ = 0;  // as of the last look, and by how much rows have grown since
  uint32_t pushes_since_look_ = 0;
  bool few_clean_rows_ = false;  // as of the last eviction; until something is folded
  bool fold_wanted_ = false;     // until one has been done
  size_t evictable_rows_ = 0;    // as of the last eviction: rows, clean or not
  uint64_t waiting_bytes_ = 0;   // of ColdWaits
  uint64_t folds_ = 0;
  Replicator* replicator_ = nullptr;
  std::unique_ptr<FetchBatch> collecting_;
  std::deque<std::unique_ptr<FetchBatch>> fetching_;  // oldest first
  BlockingThread disk_;
  kj::TaskSet tasks_;  // last: its promises use all of the above
};

}  // namespace penstock
