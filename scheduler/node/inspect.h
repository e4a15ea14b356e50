// Inspect: what `penstock -o json` prints about the cluster, as JSON values. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/cluster/shard_map.h"
#include "scheduler/copies/node_table.h"
#include "scheduler/copies/rebalance.h"
#include "scheduler/jobs/clock_table.h"
#include "scheduler/jobs/lease_fsm.h"

namespace penstock {

struct InspectView {
  const ClusterState& state;
  const NodeTable& nodes;
  const ClockTable& clocks;
  const std::vector<ShardEntry>& shards;  // of the present map
  std::string cluster_name;
  bool ready = false;
  std::vector<std::string> problems;
  int64_t uptime_ms = 0;
  uint32_t pid = 0;  // of the scheduler, and the file that it logs to
  std::string log;
  Now now;
};

// what: status | nodes | shards | shard (name: its number) | tables | table (name) | jobs | job, clocks (name
// of a job, or id). kNotFound: there is no such thing; kInvalidArgument: no such question.
Result<nlohmann::json> Inspect(const InspectView& view, const std::string& what, const std::string& name);

// What a plan would move, and what servers would have then. `begun`: it is being carried out. `waits_for`:
// Balancer::WaitsFor.
nlohmann::json InspectPlan(const ClusterState& state, const RebalancePlan& plan, bool begun,
                           const std::string& waits_for);

}  // namespace penstock
