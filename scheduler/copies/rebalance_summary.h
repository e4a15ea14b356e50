// RebalanceSummary: what a rebalance plan says about itself: how much each server has before and after, and
// what it cannot do.
#pragma once

#include <string>
#include <vector>

#include "scheduler/copies/rebalance_state.h"

namespace penstock {

// "1.42"
std::string FillText(double fill);

// As the state is now, before the plan and after it.
RebalanceSummary SummarizeBefore(const RebalanceState& state);
void SummarizeAfter(const RebalanceState& state, RebalanceSummary* summary);

// For each shard that is left on a server that is drained: why no server takes it.
std::vector<NotDrained> WhyNotDrained(const RebalanceState& state);

}  // namespace penstock
