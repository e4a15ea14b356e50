// Commands about shards: who owns them, in which epoch, and what their owners owe.
#include <algorithm>

#include "scheduler/state/cluster_state.h"

namespace penstock {

bool ClusterState::AnyQuarantined() const {
  return std::any_of(data_.shards.begin(), data_.shards.end(),
                     [](const ShardRecord& s) { return !s.quarantine.empty(); });
}

Status ClusterState::CheckShard(ShardId shard) const {
  if (shard < data_.shards.size()) return Status::Ok();
  return NotFound("there is no shard " + std::to_string(shard) + ", shards are 0 to " +
                  std::to_string(data_.shards.size() - 1));
}

Status ClusterState::CheckPlaced(ShardId shard) const {
  PENSTOCK_RETURN_IF_ERROR(CheckShard(shard));
  if (data_.shards[shard].node != 0) return Status::Ok();
  return Internal("shard " + std::to_string(shard) + " is not placed");
}

Status ClusterState::CheckServer(NodeId id) const {
  const NodeRecord* node = FindNode(id);
  if (node != nullptr && node->role == NodeRole::kServer) return Status::Ok();
  return Internal("node " + std::to_string(id) + " is no server");
}

Status ClusterState::CheckGrant(const ShardGrantRecord& grant) const {
  PENSTOCK_RETURN_IF_ERROR(CheckPlaced(grant.shard));
  const ShardRecord& shard = data_.shards[grant.shard];
  if (grant.epoch <= HighestEpoch(shard) || grant.min_lsn <= shard.highest) {
    return Internal("shard " + std::to_string(grant.shard) + ": a grant must have a higher epoch and lsn");
  }
  return Status::Ok();
}

void ClusterState::Grant(const ShardGrantRecord& grant, uint64_t session) {
  ShardRecord& shard = data_.shards[grant.shard];
  shard.epoch = grant.epoch;
  shard.min_lsn = grant.min_lsn;
  shard.granted_session = session;
  shard.held = false;
  shard.quarantine.clear();
  shard.move.fence = 0;
}

void ClusterState::GrantAlone(const ShardGrantRecord& grant, uint64_t session) {
  Grant(grant, session);
  data_.shards[grant.shard].former.clear();
}

void ClusterState::Quarantine(const ShardQuarantine& quarantine) {
  ShardRecord& shard = data_.shards[quarantine.shard];
  shard.quarantine = quarantine.reason;
  shard.epoch = HighestEpoch(shard);
  shard.move = {};
  shard.granted_session = 0;
  shard.held = false;
}

void ClusterState::RaiseLsns(const ShardLsns& lsns) {
  ShardRecord& shard = data_.shards[lsns.shard];
  shard.highest = std::max({shard.highest, lsns.applied, lsns.logged, lsns.synced});
  shard.logged = std::max(shard.logged, lsns.logged);
  shard.synced = std::max(shard.synced, lsns.synced);
  if (lsns.logged >= shard.min_lsn) shard.former.clear();  // its primary serves this epoch, or has
}

Status ClusterState::CheckIt(const PlaceShards& c) const {
  Incarnation last = data_.last_incarnation;
  for (const auto& placement : c.placements) {
    PENSTOCK_RETURN_IF_ERROR(CheckShard(placement.shard));
    if (data_.shards[placement.shard].node != 0)
      return Internal("shard " + std::to_string(placement.shard) + " has an owner");
    PENSTOCK_RETURN_IF_ERROR(CheckServer(placement.node));
    if (placement.incarnation <= last) return Internal("incarnations must rise");
    last = placement.incarnation;
  }
  return Status::Ok();
}

void ClusterState::Do(const PlaceShards& c) {
  for (const auto& placement : c.placements) {
    ShardRecord& shard = data_.shards[placement.shard];
    shard.node = placement.node;
    shard.incarnation = placement.incarnation;
    shard.epoch = 1;
    shard.min_lsn = 1;
    shard.granted_session = data_.nodes[placement.node].session;
    data_.last_incarnation = placement.incarnation;
  }
}

Status ClusterState::CheckIt(const RecordLsns& c) const {
  for (const auto& lsns : c.lsns) PENSTOCK_RETURN_IF_ERROR(CheckShard(lsns.shard));
  return Status::Ok();
}

void ClusterState::Do(const RecordLsns& c) {
  for (const auto& lsns : c.lsns) RaiseLsns(lsns);
}

Status ClusterState::CheckIt(const GrantShards& c) const {
  for (const auto& grant : c.grants) PENSTOCK_RETURN_IF_ERROR(CheckGrant(grant));
  return Status::Ok();
}

void ClusterState::Do(const GrantShards& c) {
  for (const auto& grant : c.grants) GrantAlone(grant, data_.nodes[data_.shards[grant.shard].node].session);
}

Status ClusterState::CheckIt(const QuarantineShards& c) const {
  for (const auto& quarantine : c.quarantines) {
    PENSTOCK_RETURN_IF_ERROR(CheckShard(quarantine.shard));
    if (quarantine.reason.empty()) return Internal("a quarantine needs a reason");
  }
  return Status::Ok();
}

void ClusterState::Do(const QuarantineShards& c) {
  for (const auto& quarantine : c.quarantines) Quarantine(quarantine);
}

Status ClusterState::CheckIt(const AcceptLoss& c) const {
  PENSTOCK_RETURN_IF_ERROR(CheckShard(c.shard));
  if (!data_.shards[c.shard].quarantine.empty()) return Status::Ok();
  return FailedPrecondition("shard " + std::to_string(c.shard) +
                            " is not quarantined: there is no loss to accept");
}

void ClusterState::Do(const AcceptLoss& c) {
  ShardRecord& shard = data_.shards[c.shard];
  shard.quarantine.clear();
  shard.held = true;
  // `highest` stays: lsns of the lost deltas are never given again.
  shard.highest = std::max(shard.highest, c.remaining);
  shard.logged = shard.synced = c.remaining;
  RewindJobs();
}

}  // namespace penstock
