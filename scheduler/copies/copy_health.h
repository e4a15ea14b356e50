// CopyHealth: how the copies of a shard are, from the journal and from what nodes said last: who is lost,
// which backups could go on at once, which copies hold how much.
//
// A view for one moment; keeps references. Pure.
#pragma once

#include <string>
#include <vector>

#include "scheduler/copies/node_table.h"

namespace penstock {

// Somebody who may have all that was answered: the primary, a promotable backup, or a former member.
struct Candidate {
  NodeId node = 0;
  Incarnation incarnation = 0;
  std::string name;
  bool heard = false;   // since all of them were lost, in this life of the scheduler, and not dead now
  bool former = false;  // not of the present in-sync set
  Epoch seen = 0;       // of its line; after a restart the epoch of its last delta
  Lsn held = 0;         // of its line
  bool sound = false;   // complete and undamaged; otherwise `held` counts only by an operator's word
};

class CopyHealth {
 public:
  CopyHealth(const ClusterState& state, const NodeTable& nodes, int64_t now_ms)
      : state_(state), nodes_(nodes), now_ms_(now_ms) {}

  const ShardRecord& Shard(ShardId id) const { return state_.data().shards[id]; }
  std::string NodeName(NodeId node) const;
  bool Dead(NodeId node) const { return nodes_.StateOf(node, now_ms_) == Liveness::kDead; }

  // Empty: it may go on as primary.
  std::string WhyLost(ShardId id) const;
  // Its line of the granted epoch; nullptr while it does not serve that.
  const ShardLine* Served(ShardId id) const;
  // Empty: nothing is known against it. Not what its primary says of it.
  std::string WhyBroken(ShardId id, const CopyRecord& copy) const;
  // It reports this copy, in the session in which it has always lived, and nothing is wrong.
  bool AliveAndUnbroken(ShardId id, const CopyRecord& copy) const;
  // It can be promoted as it stands. It was heard after the primary was lost: where all servers lose power at
  // once nobody is promoted on a word from before, and whoever comes back with the most can lead.
  bool CouldGoOn(ShardId id, const CopyRecord& copy) const;
  // The primary was heard after the copy was lost, so it did not end together with it: until then the copy
  // stays in the set, of which the longest may have to lead.
  bool PrimaryOutlived(ShardId id, const CopyRecord& copy) const;
  // The primary says that it holds all but the latest few deltas, and nothing is wrong with it.
  bool CaughtUp(ShardId id, const CopyRecord& copy) const;
  // By an operator, or as it is to end.
  bool Drained(NodeId node) const {
    const NodeRecord* record = state_.FindNode(node);
    return record != nullptr && (record->drained || nodes_.Words(node).leaving);
  }
  // What the primary says of it since it has taken the present epoch; nullptr: nothing.
  const BackupLine* Judgement(ShardId id, const CopyRecord& copy) const;

  // A shard that nobody serves, and which one of several could go on with: the primary is lost, and no backup
  // can be promoted as it stands.
  bool Contested(ShardId id) const;
  // The primary first. Without former members whom one that was heard outranks.
  std::vector<Candidate> Candidates(ShardId id) const;

  // Above whatever any node has said of the shard (rule 20).
  Epoch NextEpoch(ShardId id) const;
  Lsn NextLsn(ShardId id) const;

  const ClusterState& state() const { return state_; }
  const NodeTable& nodes() const { return nodes_; }
  int64_t now_ms() const { return now_ms_; }

 private:
  bool AliveSinceDeath(NodeId node, NodeId dead) const;
  // It does not say that it leads. One that has not heard yet that it does no more would take its next epoch
  // for a change of copies.
  bool HasLeft(ShardId id, const CopyRecord& copy) const;
  Candidate MakeCandidate(ShardId id, const CopyRecord& copy) const;

  const ClusterState& state_;
  const NodeTable& nodes_;
  const int64_t now_ms_;
};

// Of a line: all that this copy has.
inline Lsn HeldLsn(const ShardLine& line) { return std::max({line.applied, line.logged, line.synced}); }

}  // namespace penstock
