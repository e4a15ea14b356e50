// SimCore: what one life of a simulated server does with its shards: it brings the product's CommitWindow,
// ShardReplica, Shard and DeltaLog together as ServerCore and LogAppender do (server/node/core.h,
// log_appender.h), with an event of the world between any two steps.
//
//   Push -> CommitWindow::Close -> Write -> OnLogged -> Sync -> OnSynced -> waiters
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/node/commit_window.h"
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

struct SimSlot : ShardSlot {
  using ShardSlot::ShardSlot;
  std::map<UnitNumber, Lsn> applied;          // in this life of the server, by a push
  std::map<UnitNumber, UnitProof> unwritten;  // of those, what the log's file does not have yet
};

class SimCore final : public ReplicaShards {
 public:
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

 private:
  Status LoadBase(std::map<ShardId, ShardFolded>* folded, std::vector<StoredMeta>* metas);
  Status ReplayLog(const std::map<ShardId, ShardFolded>& folded);
  SimSlot& MakeSlot(ShardId id, Incarnation incarnation);
  void TakeGrant(const Grant& grant);
  void WriteLastDelta(SimSlot& slot);
  void TakeFollow(const Follow& follow);
  void Discard(const Follow& life);
  PushAnswer Apply(const PushRequest& request, SimSlot& slot, Durability* level);
  void Answer(const PushRequest& request, Durability level, PushAnswer answer,
              const std::function<void(PushAnswer)>& reply);
  void Reached(Durability level, CommitWindow::Waiter waiter);
  void ScheduleClose(Step step);
  void Close();
  void NoteBuilt(const CommitWindow::Write& write);
  Status AppendAndNote(const LogRecord& record);
  void Write(const CommitWindow::Write& write);
  void Sync(uint64_t number, uint64_t generation);
  void WriteRecovery(const CommitWindow::Write& write);
  void SetLogFailure(const Status& status);
  void Perform(CommitWindow::Actions actions);
  void Recover();
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
  DiscardedLives discarded_;
  std::map<TableId, TableSpec> tables_;
  ProducerId forget_floor_ = 0;
  std::vector<std::pair<ProducerId, ProducerId>> finished_;
  uint64_t generation_ = 1;  // of the log
  CommitWindow window_;
  bool close_scheduled_ = false, folding_ = false;
  Status log_failure_;  // that made the present generation
  uint64_t folds_ = 0;
  uint64_t synced_us_ = 0;  // syncs end in the order in which they began
  std::unique_ptr<SimReplicator> replicator_;
};

}  // namespace penstock::sim
