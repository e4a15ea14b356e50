// SimCore: what one life of a simulated server does with its shards. A thin imitation of ServerCore and
// LogAppender (server/node/core.h, log_appender.h) over the product's ShardReplica, Shard and DeltaLog, with
// an event of the world between any two steps.
//
//   Push -> open window -> Close: BuildDelta each -> Append -> OnLogged -> Sync -> OnSynced -> waiters
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/replica/seed.h"
#include "server/storage/base_store.h"
#include "server/storage/delta_log.h"
#include "server/storage/fold.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_messages.h"
#include "tests/sim/sim_world.h"

namespace penstock::sim {

class SimCluster;
class SimReplicator;

struct SimSlot {
  SimSlot(std::unique_ptr<Shard> held, const std::string& node)
      : replica(std::move(held), node), shard(&replica.shard()) {}

  ShardReplica replica;
  Shard* const shard;
  ShardFolded folded;
  bool dirty = false, memory_due = false;
  uint64_t memory_due_ms = 0;
  Lsn memory_told = 0, memory_appending = 0;  // as ServerCore::Slot
  std::map<UnitNumber, Lsn> applied;          // in this life of the server, by a push
};

class SimCore final : public ReplicaShards {
 public:
  using Waiter = std::function<void(Status)>;

  SimCore(SimCluster& cluster, Endpoint self, const std::string& name, SimDisk& disk);
  ~SimCore();

  // A restart: base, log, shards.
  Status Open();
  void Push(const PushRequest& request, std::function<void(PushAnswer)> reply);
  // What a pull's answer says of the shard.
  PushAnswer AskLogged(ShardId shard, Epoch epoch) const;
  std::vector<ReplicaAnswer> Attach(const std::vector<ReplicaRef>& refs);
  void Append(const ReplicaRequest& request, std::function<void(ReplicaAnswers)> reply);

  void SetTables(const std::map<TableId, TableSpec>& tables);
  void ApplyWanted(const WantedState& wanted, ProducerId forget_floor);
  std::vector<ShardLine> Report() const;
  void BeginFold();

  // For the replicator and the invariants.
  ShardReplica* FindReplica(ShardId shard) const override;
  uint64_t folds() const override { return folds_; }
  Result<StoredRows> ScanBase(const Seed::BaseRange& range) const;
  SimSlot* GetSlot(ShardId shard) const;
  const std::map<ShardId, std::unique_ptr<SimSlot>>& slots() const { return slots_; }
  void CloseWhole(ShardId shard);
  void SyncCopies(ShardId shard);
  bool Quiet() const;  // nothing is dirty, being written, or failed
  const Status& failure() const { return failure_; }

 private:
  struct LoggedShard {
    ShardId shard = 0;
    Incarnation incarnation = 0;
    Lsn lsn = 0;
    bool memory_too = false;
  };
  struct Window {
    uint64_t number = 0;
    std::vector<Waiter> logged, synced;
    std::vector<LoggedShard> lsns;
    bool sync() const { return !synced.empty(); }
  };

  Status LoadBase(std::map<ShardId, ShardFolded>* folded, std::vector<StoredMeta>* metas);
  Status ReplayLog(const std::map<ShardId, ShardFolded>& folded);
  SimSlot* GetSlot(const LoggedShard& logged) const;
  SimSlot& MakeSlot(ShardId id, Incarnation incarnation);
  void TakeGrant(const Grant& grant);
  void TakeFollow(const Follow& follow);
  PushAnswer Apply(const PushRequest& request, SimSlot& slot, Durability* level);
  void Answer(const PushRequest& request, Durability level, PushAnswer answer,
              const std::function<void(PushAnswer)>& reply);
  Lsn LoggedOf(const SimSlot& slot) const;
  void Reached(Durability level, Waiter waiter);
  void Touch(ShardId id, SimSlot& slot, Step step);
  void ScheduleClose(Step step);
  void Close();
  void AddSections(Window& window, LogRecord* record);
  void AddSection(Window& window, ShardId id, SimSlot& slot, BuiltDelta delta, bool memory_too,
                  LogRecord* record);
  void Write(uint64_t number, const LogRecord& record, bool sync);
  void Sync(uint64_t number, uint64_t generation);
  void OnLogged(uint64_t number, const Status& status);
  void OnSynced(uint64_t number, const Status& status);
  void Fail(const Status& status);
  void Recover();
  void OnRecovered(const Window& window, const Status& status);
  void MemoryTick();
  void RunFold();

  SimCluster& cluster_;
  World& world_;
  const Endpoint self_;
  const std::string name_;
  SimDisk& disk_;
  std::unique_ptr<BaseStore> base_;
  std::unique_ptr<DeltaLog> log_;
  std::map<ShardId, std::unique_ptr<SimSlot>> slots_;
  std::map<ShardId, std::unique_ptr<Shard>> opened_;  // while starting
  QuarantinedLives damaged_lives_;
  std::map<TableId, TableSpec> tables_;
  ProducerId forget_floor_ = 0;
  std::vector<std::pair<ProducerId, ProducerId>> finished_;
  std::vector<ShardId> dirty_;
  std::vector<std::pair<LoggedShard, LogSection>> taken_;
  Window open_;
  std::map<uint64_t, Window> closed_;
  bool close_scheduled_ = false, appending_ = false, folding_ = false;
  Status failure_, log_failure_;
  uint64_t generation_ = 0;
  uint64_t folds_ = 0;
  uint64_t synced_us_ = 0;  // syncs end in the order in which they began
  std::vector<Waiter> failed_waiters_;
  std::unique_ptr<SimReplicator> replicator_;
};

}  // namespace penstock::sim
