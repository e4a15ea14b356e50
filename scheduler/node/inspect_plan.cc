// What `penstock cluster rebalance` prints of a plan, as JSON.
#include "scheduler/node/inspect.h"

namespace penstock {
namespace {

using nlohmann::json;

std::string NameOf(const ClusterState& state, NodeId id) {
  const NodeRecord* node = state.FindNode(id);
  return node == nullptr ? "node " + std::to_string(id) : node->name;
}

json Change(const json& before, const json& after) { return {{"before", before}, {"after", after}}; }

json Parts(const Imbalance& imbalance) {
  return {{"highest_bytes", imbalance.highest_bytes},
          {"lowest_bytes", imbalance.lowest_bytes},
          {"highest_load", imbalance.highest_load},
          {"lowest_load", imbalance.lowest_load}};
}

}  // namespace

json InspectPlan(const ClusterState& state, const RebalancePlan& plan, bool begun,
                 const std::string& waits_for) {
  json moves = json::array(), servers = json::array(), stay = json::array();
  for (const RebalanceMove& move : plan.moves) {
    moves.push_back({{"shard", move.shard},
                     {"from", NameOf(state, move.from)},
                     {"to", NameOf(state, move.to)},
                     {"what", move.kind == MoveKind::kCopy ? "copy" : "lead"},
                     {"bytes", move.bytes},
                     {"reason", move.reason}});
  }
  for (const ServerSummary& server : plan.summary.servers) {
    servers.push_back({{"name", server.name},
                       {"primaries", Change(server.primaries_before, server.primaries_after)},
                       {"copies", Change(server.copies_before, server.copies_after)},
                       {"bytes", Change(server.bytes_before, server.bytes_after)},
                       {"rows_per_second", Change(server.load_before, server.load_after)}});
  }
  for (const NotDrained& left : plan.not_drained)
    stay.push_back({{"shard", left.shard}, {"server", NameOf(state, left.node)}, {"why", left.why}});
  return {{"on", state.data().balance},
          {"begun", begun},
          {"waits_for", waits_for},
          {"moves", moves},
          {"moved_bytes", plan.summary.moved_bytes},
          {"servers", servers},
          {"of_the_mean", {{"before", Parts(plan.summary.before)}, {"after", Parts(plan.summary.after)}}},
          {"not_drained", stay},
          {"notes", plan.summary.notes}};
}

}  // namespace penstock
