#include "scheduler/copies/balancer.h"

#include <algorithm>
#include <utility>

namespace penstock {
namespace {

// After the last moves, until their epochs are confirmed and others may follow.
constexpr int64_t kSettlesMs = 3000;

bool Takes(const CopyHealth& health, NodeId node) {
  return health.nodes().Beating(node) && health.nodes().StateOf(node, health.now_ms()) == Liveness::kAlive;
}

// Its copies are whole, so that one of them can go elsewhere.
bool Movable(const CopyHealth& health, ShardId id) {
  const ShardRecord& shard = health.Shard(id);
  const bool alone = shard.backups.empty() && shard.former.empty();  // epochs of these are not confirmed
  return shard.quarantine.empty() && !shard.held && health.WhyLost(id).empty() &&
         health.Served(id) != nullptr && (alone || shard.confirmed == shard.epoch) &&
         CountInSync(shard) == health.state().data().copies;
}

RebalanceShard ShardOf(const CopyHealth& health, ShardId id) {
  const ShardRecord& shard = health.Shard(id);
  const ShardLine* line = health.nodes().Line(shard.node, id);
  RebalanceShard out{.id = id,
                     .bytes = line == nullptr ? 0 : line->bytes,
                     .load = health.nodes().loads().Of(id),
                     .primary = shard.node,
                     .pinned = !Movable(health, id),
                     .moved_ms = shard.moved_ms};
  for (const CopyRecord& copy : shard.backups)
    out.others.push_back({.node = copy.node, .in_sync = copy.in_sync && IsPromotable(shard, copy)});
  return out;
}

}  // namespace

RebalanceInput InputOf(const CopyHealth& health, int64_t wall_ms) {
  const StateData& data = health.state().data();
  RebalanceInput input{.now_ms = wall_ms};
  for (const auto& [id, node] : data.nodes) {
    if (node.role != NodeRole::kServer) continue;
    input.servers.push_back({.id = id,
                             .name = node.name,
                             .host = node.host,
                             .zone = node.zone,
                             .cores = static_cast<uint32_t>(node.endpoints.size()),
                             .draining = node.drained,
                             .able = Takes(health, id)});
  }
  for (ShardId id = 0; id < data.shards.size(); ++id) {
    const ShardRecord& shard = data.shards[id];
    if (shard.node == 0) continue;
    input.shards.push_back(ShardOf(health, id));
    // What is lost goes on when somebody leads it, and shall hold nobody else up.
    if (shard.move.from == 0 || !health.WhyLost(id).empty()) continue;
    input.in_flight.push_back({.shard = id,
                               .from = shard.move.from,
                               .to = shard.move.to,
                               .kind = shard.move.adds ? MoveKind::kCopy : MoveKind::kLead});
  }
  return input;
}

RebalanceOptions Balancer::OptionsOf(const CopyHealth& health) const {
  RebalanceOptions options = options_.plan;
  options.copies = health.state().data().copies;
  return options;
}

void Balancer::NoteServers(const CopyHealth& health) {
  std::set<std::pair<NodeId, uint64_t>> servers;
  for (const auto& [id, node] : health.state().data().nodes) {
    // One that is only slow to answer is still there, and one that is drained plays no part.
    if (node.role == NodeRole::kServer && !node.drained && !health.Dead(id))
      servers.emplace(id, node.session);
  }
  if (servers == servers_) return;
  servers_ = std::move(servers);
  since_ms_ = health.now_ms();
}

StartMoves Balancer::Next(const CopyHealth& health, int64_t wall_ms) {
  NoteServers(health);
  const StateData& data = health.state().data();
  if (health.now_ms() < next_ms_) return {};
  // A plan takes about 30 us a shard.
  next_ms_ = health.now_ms() + 200 + static_cast<int64_t>(data.shards.size()) / 8;
  RebalanceInput input = InputOf(health, wall_ms);
  RebalanceOptions options = OptionsOf(health);
  if (hurries()) {
    options.cooldown_ms = wall_ms - hurried_ms_;  // what it has moved itself rests
  } else if (!data.balance || health.now_ms() - since_ms_ < options_.delay_ms) {
    for (RebalanceShard& shard : input.shards) shard.moved_ms = wall_ms;  // for drains alone
  }
  StartMoves start;
  for (RebalanceMove& move : NextMoves(input, options)) {
    start.moves.push_back({.shard = move.shard,
                           .from = move.from,
                           .to = move.to,
                           .drains = move.drains,
                           .at_ms = wall_ms,
                           .reason = std::move(move.reason)});
  }
  if (!start.moves.empty() || !input.in_flight.empty()) {
    idle_since_ms_ = 0;
  } else if (idle_since_ms_ == 0) {
    idle_since_ms_ = health.now_ms();
  } else if (health.now_ms() - idle_since_ms_ >= kSettlesMs) {
    Rest();
  }
  return start;
}

RebalancePlan Balancer::Plan(const CopyHealth& health, int64_t wall_ms) const {
  RebalanceOptions options = OptionsOf(health);
  options.cooldown_ms = 0;
  return PlanAll(InputOf(health, wall_ms), options);
}

}  // namespace penstock
