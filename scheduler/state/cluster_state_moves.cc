// Commands about copies that go from one server to another. That a shard is handed over is a ChangeCopies.
#include <set>

#include "scheduler/state/cluster_state.h"

namespace penstock {

Status ClusterState::CheckIt(const DrainNode& c) const { return CheckServer(c.node); }

void ClusterState::Do(const DrainNode& c) { data_.nodes[c.node].drained = c.drained; }

void ClusterState::Do(const SetBalance& c) { data_.balance = c.on; }

Status ClusterState::CheckMove(const StartMoves::Move& move) const {
  PENSTOCK_RETURN_IF_ERROR(CheckPlaced(move.shard));
  PENSTOCK_RETURN_IF_ERROR(CheckServer(move.to));
  const ShardRecord& shard = data_.shards[move.shard];
  const std::string what = "shard " + std::to_string(move.shard);
  if (shard.move.from != 0) return Internal(what + " moves already");
  if (!shard.quarantine.empty() || shard.held) return Internal(what + " is not served");
  if (!IsMember(shard, move.from))
    return Internal(what + ": node " + std::to_string(move.from) + " has no copy of it");
  // A backup and the primary may change places; two backups are equal.
  if (shard.node == move.to || (IsMember(shard, move.to) && shard.node != move.from))
    return Internal(what + ": node " + std::to_string(move.to) + " has that copy");
  return Status::Ok();
}

Status ClusterState::CheckIt(const StartMoves& c) const {
  std::set<ShardId> shards;
  for (const auto& move : c.moves) {
    PENSTOCK_RETURN_IF_ERROR(CheckMove(move));
    if (!shards.insert(move.shard).second)
      return Internal("shard " + std::to_string(move.shard) + " is to move twice");
  }
  return Status::Ok();
}

void ClusterState::Do(const StartMoves& c) {
  for (const auto& move : c.moves) {
    ShardRecord& shard = data_.shards[move.shard];
    shard.move = {.from = move.from,
                  .to = move.to,
                  .adds = !IsMember(shard, move.to),
                  .fence = 0,
                  .fenced_ms = 0,
                  .given_up = 0,
                  .drains = move.drains,
                  .begun_ms = move.at_ms,
                  .reason = move.reason};
  }
}

Status ClusterState::CheckIt(const FenceShards& c) const {
  for (const auto& fence : c.fences) {
    PENSTOCK_RETURN_IF_ERROR(CheckPlaced(fence.shard));
    const ShardRecord& shard = data_.shards[fence.shard];
    const std::string what = "shard " + std::to_string(fence.shard);
    const CopyRecord* target = FindCopy(shard.backups, shard.move.to);
    if (shard.move.from != shard.node || shard.granted_session == 0)
      return Internal(what + " is not served by who hands it over");
    if (target == nullptr || !IsPromotable(shard, *target))
      return Internal(what + ": node " + std::to_string(shard.move.to) + " may not lead it");
    if (shard.move.fence != 0 || fence.epoch <= shard.epoch)
      return Internal(what + ": epoch " + std::to_string(fence.epoch) + " is no fence");
  }
  return Status::Ok();
}

void ClusterState::Do(const FenceShards& c) {
  for (const auto& fence : c.fences) {
    MoveRecord& move = data_.shards[fence.shard].move;
    move.fence = fence.epoch;
    move.fenced_ms = fence.at_ms;
  }
}

Status ClusterState::CheckIt(const EndMoves& c) const {
  for (const auto& end : c.moves) {
    PENSTOCK_RETURN_IF_ERROR(CheckPlaced(end.shard));
    const MoveRecord& move = data_.shards[end.shard].move;
    if (move.from == 0 || move.fence != 0)
      return Internal("shard " + std::to_string(end.shard) + " does not move, or is fenced");
  }
  return Status::Ok();
}

void ClusterState::Do(const EndMoves& c) {
  for (const auto& end : c.moves) {
    ShardRecord& shard = data_.shards[end.shard];
    shard.move = {};
    if (end.at_ms != 0) shard.moved_ms = end.at_ms;
  }
}

// After the copies have changed: it has moved, or cannot; or its fence was given up.
void ClusterState::SettleMove(ShardRecord& shard, int64_t at_ms) {
  MoveRecord& move = shard.move;
  move.given_up += move.fence != 0;
  move.fence = 0;
  if (move.from == 0 || (shard.node != move.to && IsMember(shard, move.from))) return;
  if (IsMember(shard, move.to)) shard.moved_ms = at_ms;
  move = {};
}

}  // namespace penstock
