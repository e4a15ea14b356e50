// EventsOf: what a command does to the cluster, as far as an operator would ask about it later: what came and
// went, what moved and who leads now, what was lost and accepted, what somebody has ordered, and why.
//
// Many shards of which the same is to be said are one event. Pure.
//
//   kind   scheduler, node, drain, balance, copies, move, lead, loss, table, job
#pragma once

#include <vector>

#include "scheduler/state/cluster_state.h"

namespace penstock {

// `before`: the command can be applied, and was not yet. Without numbers and times.
std::vector<Event> EventsOf(const ClusterState& before, const Command& command);

}  // namespace penstock
