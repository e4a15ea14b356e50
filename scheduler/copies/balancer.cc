#include "scheduler/copies/balancer.h"

#include <algorithm>
#include <map>
#include <utility>

#include "common/base/strings.h"

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

// In bytes of memory; 1 for all where one of them does not say how much it has.
std::map<NodeId, double> Capacities(const StateData& data) {
  std::map<NodeId, double> capacities;
  bool known = true;
  for (const auto& [id, node] : data.nodes) {
    if (node.role != NodeRole::kServer) continue;
    capacities[id] = static_cast<double>(node.memory);
    known = known && node.memory != 0;
  }
  if (known) return capacities;
  for (auto& [id, capacity] : capacities) capacity = 1;
  return capacities;
}

}  // namespace

RebalanceInput InputOf(const CopyHealth& health, int64_t wall_ms) {
  const StateData& data = health.state().data();
  RebalanceInput input{.now_ms = wall_ms};
  const std::map<NodeId, double> capacities = Capacities(data);
  for (const auto& [id, node] : data.nodes) {
    if (node.role != NodeRole::kServer) continue;
    input.servers.push_back({.id = id,
                             .name = node.name,
                             .host = node.host,
                             .zone = node.zone,
                             .cores = static_cast<uint32_t>(node.endpoints.size()),
                             .capacity = capacities.at(id),
                             .draining = health.Drained(id),
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
    if (node.role == NodeRole::kServer && !health.Drained(id) && !health.Dead(id))
      servers.emplace(id, node.session);
  }
  if (servers == servers_) return;
  servers_ = std::move(servers);
  since_ms_ = health.now_ms();
}

std::string Balancer::WaitsFor(const CopyHealth& health) const {
  const StateData& data = health.state().data();
  if (!data.balance) return "balancing is off";
  for (const auto& [id, session] : servers_) {
    // What it has read so far says little of what it will hold.
    if (health.nodes().Words(id).loading) return health.NodeName(id) + " is still reading its base";
  }
  const int64_t left = options_.delay_ms - (health.now_ms() - since_ms_);
  if (left <= 0) return "";
  return StrCat("servers have come or gone, and it waits for ", (left + 999) / 1000, " s more (of ",
                "scheduler.balance_delay_ms = ", options_.delay_ms, ")");
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
  } else if (!WaitsFor(health).empty()) {
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
