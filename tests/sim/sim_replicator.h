// SimReplicator: a simulated server's driver of the product's Replication: it carries its calls over the
// simulated network, reads the simulated disk, and holds what copies confirm against what they have. Pieces
// and calls are small, so that a seed has many and few deltas are on their way at once.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "server/replica/replication.h"
#include "tests/sim/sim_messages.h"
#include "tests/sim/sim_world.h"

namespace penstock::sim {

class SimCluster;
class SimCore;

class SimReplicator {
 public:
  SimReplicator(SimCluster& cluster, SimCore& core, Endpoint self, const std::string& name);

  // As Replicator's.
  void NoteWanted(ShardId shard);
  void Forget(ShardId shard);
  void NoteAdded(const CopySet& copies) { replication_.NoteAdded(copies); }
  void Send();
  void Wait(std::vector<DeltaRef> deltas, Durability level, std::function<void(Status)> done);

 private:
  using LinkId = Replication::LinkId;

  void Do(Replication::Connect&& action);
  void Do(Replication::Attach&& action);
  void Do(Replication::Append&& action);
  void Do(Replication::Drop&& action);
  void Do(Replication::MakePiece&& action);
  void Do(Replication::ReadBase&& action);
  void Do(Replication::CloseWhole&& action);
  void Do(Replication::SyncCopies&& action);
  void Do(Replication::Wake&& action) { action.done(std::move(action.status)); }
  void Do(Replication::Say&& action) { world_.Note(self_, action.what); }
  void Perform();
  void Tick();
  void CheckConfirmed(const Channel& channel, const Replication::Call& call, const ReplicaAnswers& answers);

  SimCluster& cluster_;
  World& world_;
  SimCore& core_;
  const Endpoint self_;
  Replication replication_;
  std::map<LinkId, ChannelPtr> channels_;
  std::multiset<uint64_t> waits_since_ms_;
};

}  // namespace penstock::sim
