#include "scheduler/shard_map_builder.h"

namespace penstock {
namespace {

ShardEntry BuildEntry(ShardId id, const ShardRecord& shard, const ClusterState& state, const NodeTable& nodes,
                      int64_t now_ms) {
  ShardEntry entry{
      .epoch = shard.epoch, .node = shard.node, .endpoint = "", .state = ShardState::kUnplaced, .detail = ""};
  const NodeRecord* node = state.FindNode(shard.node);
  if (node == nullptr) {
    entry.detail = "waiting for servers";
    return entry;
  }
  const std::string who = node->name + " (node " + std::to_string(node->id) + ")";
  if (!shard.quarantine.empty()) {
    entry.state = ShardState::kQuarantined;
    entry.detail = shard.quarantine;
    return entry;
  }
  if (nodes.StateOf(node->id, now_ms) == Liveness::kDead) {
    entry.state = ShardState::kUnavailable;
    entry.detail = who + " does not answer";
    return entry;
  }
  entry.state = ShardState::kGranting;
  if (shard.held) {
    entry.detail = "loss accepted: granted when the leases that were rewound have ended";
    return entry;
  }
  const ShardLine* line = nodes.Line(node->id, id);
  const bool served = nodes.Beating(node->id) && line != nullptr && line->incarnation == shard.incarnation &&
                      line->epoch == shard.epoch;
  if (!served || shard.granted_session != node->session) {
    entry.detail = "waiting for " + who + " to serve epoch " + std::to_string(shard.epoch);
    return entry;
  }
  if (line->core >= node->endpoints.size()) {
    entry.detail = who + " names its core " + std::to_string(line->core) + ", but has " +
                   std::to_string(node->endpoints.size());
    return entry;
  }
  entry.state = ShardState::kServing;
  entry.endpoint = node->endpoints[line->core];
  return entry;
}

}  // namespace

std::vector<ShardEntry> BuildShardEntries(const ClusterState& state, const NodeTable& nodes, int64_t now_ms) {
  const auto& shards = state.data().shards;
  std::vector<ShardEntry> entries;
  entries.reserve(shards.size());
  for (ShardId id = 0; id < shards.size(); ++id)
    entries.push_back(BuildEntry(id, shards[id], state, nodes, now_ms));
  return entries;
}

bool SameEntries(const std::vector<ShardEntry>& a, const std::vector<ShardEntry>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].epoch != b[i].epoch || a[i].node != b[i].node || a[i].endpoint != b[i].endpoint ||
        a[i].state != b[i].state || a[i].detail != b[i].detail) {
      return false;
    }
  }
  return true;
}

}  // namespace penstock
