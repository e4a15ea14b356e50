#include "scheduler/copies/shard_map_builder.h"

#include "scheduler/copies/copy_election.h"

namespace penstock {
namespace {

// Of the owner's present session and this life of the shard.
bool Serves(const ShardRecord& shard, const NodeRecord& node, const NodeTable& nodes, const ShardLine* line) {
  if (!nodes.Beating(node.id) || shard.granted_session != node.session || line == nullptr) return false;
  if (line->incarnation != shard.incarnation || line->epoch == 0 || line->epoch > shard.epoch) return false;
  // In an earlier epoch only when nothing was the matter with it.
  return line->epoch == shard.epoch || line->damage.empty();
}

// Of a shard that is granted, or could be.
void Fill(ShardId id, const ShardRecord& shard, const NodeRecord& node, const NodeTable& nodes,
          ShardEntry* entry) {
  const std::string who = node.name + " (node " + std::to_string(node.id) + ")";
  entry->state = ShardState::kGranting;
  if (shard.held) {
    entry->detail = "loss accepted: waiting to be granted to " + who;
    return;
  }
  const ShardLine* line = nodes.Line(node.id, id);
  if (!Serves(shard, node, nodes, line)) {
    entry->detail = "waiting for " + who + " to serve epoch " + std::to_string(shard.epoch);
    return;
  }
  if (line->core >= node.endpoints.size()) {
    entry->detail = who + " names its core " + std::to_string(line->core) + ", but has " +
                    std::to_string(node.endpoints.size());
    return;
  }
  entry->state = ShardState::kServing;
  entry->epoch = line->epoch;
  entry->endpoint = node.endpoints[line->core];
}

ShardEntry BuildEntry(ShardId id, const CopyHealth& health) {
  const ShardRecord& shard = health.Shard(id);
  ShardEntry entry{.epoch = shard.epoch,
                   .node = shard.node,
                   .endpoint = "",
                   .state = ShardState::kUnplaced,
                   .detail = "",
                   .backups = {}};
  const NodeRecord* node = health.state().FindNode(shard.node);
  if (node == nullptr) {
    entry.detail = "waiting for servers";
    return entry;
  }
  for (const CopyRecord& copy : shard.backups) {
    if (copy.in_sync) entry.backups.push_back(copy.node);
  }
  if (!shard.quarantine.empty()) {
    entry.state = ShardState::kQuarantined;
    entry.detail = shard.quarantine;
  } else if (health.Contested(id) && !shard.held) {
    entry.state = ShardState::kUnavailable;
    entry.detail = WhyContested(health, id);
  } else if (health.Dead(shard.node)) {
    entry.state = ShardState::kUnavailable;
    entry.detail = health.NodeName(shard.node) + " does not answer";
  } else {
    Fill(id, shard, *node, health.nodes(), &entry);
  }
  return entry;
}

}  // namespace

std::vector<ShardEntry> BuildShardEntries(const ClusterState& state, const NodeTable& nodes, int64_t now_ms) {
  const CopyHealth health(state, nodes, now_ms);
  std::vector<ShardEntry> entries;
  const auto count = static_cast<ShardId>(state.data().shards.size());
  entries.reserve(count);
  for (ShardId id = 0; id < count; ++id) entries.push_back(BuildEntry(id, health));
  return entries;
}

}  // namespace penstock
