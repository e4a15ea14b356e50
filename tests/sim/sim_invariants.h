// Truth: what the simulation knows and no process of it does: every unit that was pushed, what was answered
// about it, and what may be missing because a fault took it that nobody promises to survive.
//
// Each unit has a row of its own, its proof, to which it adds 1: the row says how often it was applied.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "server/storage/delta_log.h"
#include "tests/sim/sim_messages.h"
#include "tests/sim/sim_world.h"

namespace penstock::sim {

class SimCluster;
class SimServer;
struct SimSlot;

enum class UnitOutcome : uint8_t { kOpen, kAcknowledged, kUnknown, kRefused };

struct UnitRecord {
  ShardId shard = 0;
  TableId table = 0;
  Durability level = Durability::kMemory;
  std::vector<Key> keys;  // the proof first
  std::vector<float> values;
  UnitOutcome outcome = UnitOutcome::kOpen;
  Epoch epoch = 0;  // in which it was acknowledged
  Lsn lsn = 0;
  bool may_be_lost = false;  // though it was acknowledged
  bool of_job = false;       // the ledger's check is about it
};

class Truth {
 public:
  explicit Truth(SimCluster& cluster) : cluster_(cluster) {}

  UnitNumber NewUnit(UnitRecord record);
  const UnitRecord& unit(UnitNumber number) const { return units_[number - 1]; }
  void OnOutcome(UnitNumber number, UnitOutcome outcome, Epoch epoch, Lsn lsn);
  // A minibatch's row of its own, in the ledger or the weights, whoever pushes it: it is recorded when it is
  // logged on all copies, whatever the table's level.
  void WantJobRow(TableId table, ShardId shard, Key key, uint32_t pass, bool synced);
  // A worker pushes again what was answered.
  void OnRewound(Endpoint worker);

  // --- What processes do.
  void OnDelta(ShardId shard, Epoch epoch, Lsn lsn);
  void OnAnswered(Endpoint server, const SimSlot& slot, const PushRequest& request, Durability level,
                  const PushAnswer& answer);
  // The file of a server's log has this delta of the shard.
  static void OnWritten(const LogSection& section, SimSlot& slot);
  // Somebody is told up to where the shard is logged.
  void OnSaidLogged(Endpoint server, const SimSlot& slot);
  // A primary hears that a copy has logged (and synced) every delta up to here.
  void OnConfirmed(NodeId node, ShardId shard, Incarnation incarnation, Lsn lsn, Durability level);
  void OnServes(ShardId shard, Epoch epoch, Endpoint server, bool promoted);
  void OnCommand(const Command& command, const StateData& before);
  // The scheduler takes the server for ended.
  void OnRefused(NodeId node);
  // Before its disk loses what is not synced.
  void OnPowerCut(SimServer& server);
  // Its log has failed: as a copy it cannot go on, whatever it has in memory.
  void OnLogFailed(const SimServer& server) { LoseWhatNobodyHolds(server, Weakness::kFailed); }
  // Synced bytes of its log are damaged.
  void OnDamage(SimServer& server);
  // A fault has hit this node, or (0) the scheduler: which changes of epochs it interrupts.
  void InterruptCourses(NodeId node);

  // --- At the end, when all is quiet.
  void CheckEnd();
  uint64_t acknowledged() const;
  uint64_t losses_accepted() const { return accepted_; }
  uint64_t promotions() const { return promotions_; }

 private:
  struct Course {
    Step step = Step::kNone;
    NodeId node = 0;
  };
  struct ServedBy {
    Endpoint server = 0;
    uint64_t life = 0;
    bool operator==(const ServedBy&) const = default;
  };
  using Rows = std::map<std::pair<TableId, Key>, float>;

  void SetCourse(ShardId shard, Step step, NodeId node);
  void OnGranted(ShardId shard, NodeId node, const StateData& before);
  void OnHandedOver(const ChangeCopies::Change& change, const StateData& before);
  void OnQuarantine(const ShardQuarantine& quarantine);
  bool Holds(const SimServer& server, ShardId shard, const ShardRecord& record, bool former) const;
  // Its disk has lost what was not synced; its log takes nothing any more; synced bytes of it are damaged.
  enum class Weakness : uint8_t { kCut, kFailed, kDamaged };
  void LoseWhatNobodyHolds(const SimServer& weakened, Weakness weakness);
  void LoseUnreported(ShardId shard, const ShardRecord& record, bool synced_too, bool former);
  bool MemoryLost(const UnitRecord& unit) const;
  bool SuccessorLacks(const PushRequest& request) const;
  void CheckAnswered(Endpoint server, const SimSlot& slot, const PushRequest& request, Durability level);
  void CheckUnits(ShardId shard, const Rows& rows);
  void CheckSums(ShardId shard, const Rows& rows);
  void CheckJob(ShardId shard, const Rows& rows);
  void CheckCopies(ShardId shard);

  SimCluster& cluster_;
  std::vector<UnitRecord> units_;
  struct JobRow {
    uint32_t pass = 0;
    bool synced = false;
  };
  std::map<std::tuple<TableId, ShardId, Key>, JobRow> job_rows_;
  std::map<ShardId, std::map<Epoch, ServedBy>> served_;
  std::map<ShardId, Epoch> answered_epoch_;  // at `logged` or above
  std::map<ShardId, Lsn> answered_lsn_;
  std::map<ShardId, Course> courses_;
  std::set<ShardId> lossy_;    // something of it may be gone
  std::set<ShardId> damaged_;  // even if it was synced
  // The same since the job's present pass began again.
  std::set<ShardId> lossy_again_, damaged_again_;
  std::set<ShardId> unsaid_;  // have served since they lost something, and nobody was told
  // Or the scheduler may have given up whoever holds it, before it could know.
  std::set<ShardId> may_be_quarantined_;
  // Lost power, or had their disk damaged, and have not led since.
  std::set<std::pair<NodeId, Incarnation>> cut_lives_, damaged_lives_;
  uint64_t accepted_ = 0, promotions_ = 0;
  bool primaries_changed_ = false;  // of any shard, another process or another life of one
  std::map<NodeId, uint64_t> refused_ms_;
};

}  // namespace penstock::sim
