// SimReplicator: sends the deltas of a simulated server's shards to their backups and seeds new ones. A thin
// imitation of server/replica/replicator.h over the product's CopySet, with small pieces and few in flight.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/sim_messages.h"
#include "tests/sim/sim_world.h"

namespace penstock::sim {

class SimCluster;
class SimCore;

class SimReplicator {
 public:
  SimReplicator(SimCluster& cluster, SimCore& core, Endpoint self);

  void NoteWanted(ShardId shard);
  void Forget(ShardId shard);
  void NoteAdded(const CopySet& copies);
  void Send();
  void Wait(ShardId shard, Lsn lsn, Durability level, std::function<void(Status)> done);

 private:
  using Copy = CopySet::Copy;
  struct CopyKey {
    ShardId shard = 0;
    NodeId node = 0;
    Incarnation incarnation = 0;
    auto operator<=>(const CopyKey&) const = default;
  };
  struct Link {
    std::string endpoint;
    ChannelPtr channel;
    bool busy = false, broken = false;
    size_t inflight = 0;
    std::deque<CopyKey> ready;
  };
  using LinkPtr = std::shared_ptr<Link>;
  struct Item {
    CopyKey key;
    uint64_t attachment = 0;
    CopySet::Outgoing what;
  };
  struct Seeding {
    std::vector<TableId> tables;  // left, the present one last
    Shard::RowCursor cursor;
    bool filling = false, finishing = false, finished = false;
  };
  struct Waiter {
    ShardId shard;
    Lsn lsn;
    Durability level;
    uint64_t deadline_ms;
    std::function<void(Status)> done;
  };

  std::vector<CopySet*> Sets() const;
  CopySet* FindSet(ShardId shard) const;
  Copy* FindCopy(const CopyKey& key) const;
  LinkPtr LinkTo(const std::string& endpoint);
  void MakeReady(const CopyKey& key, const Copy& copy);
  void Tick();
  void AttachAll(const LinkPtr& link);
  void OnAttached(const LinkPtr& link, const std::vector<CopyKey>& keys,
                  const std::vector<ReplicaAnswer>& states);
  void Pump(const LinkPtr& link);
  void SendItems(const LinkPtr& link, std::vector<Item> items);
  void TakeState(const LinkPtr& link, const Item& item, bool sync, const ReplicaAnswer& state);
  void Break(const LinkPtr& link, const std::string& why);
  void AdvanceSeeds();
  void FillPiece(const CopyKey& key);
  void AddPiece(const CopyKey& key, const SeedPiece& piece);
  void FinishSeeds();
  void EndSeed(const CopyKey& key);
  void CheckWaiters();
  void SyncWhatIsOwed();
  // Nothing: not yet.
  std::optional<Status> Reached(const Waiter& waiter) const;

  SimCluster& cluster_;
  World& world_;
  SimCore& core_;
  const Endpoint self_;
  std::set<ShardId> shards_;
  std::map<std::string, LinkPtr> links_;
  std::map<CopyKey, Seeding> seeds_;
  std::vector<Waiter> waiters_;
};

}  // namespace penstock::sim
