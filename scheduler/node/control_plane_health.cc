// ControlPlane: what an operator is told, of its health and in detail.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "common/base/strings.h"
#include "scheduler/node/control_plane.h"
#include "scheduler/node/inspect.h"

namespace penstock {
namespace {

constexpr uint32_t kManyRegisters = 5;  // of a node within NodeTable::kRegistersWindowMs

// Where it is must be said where there is more than one machine.
bool OnSeveralHosts(const StateData& data) {
  std::set<std::string> hosts;
  for (const auto& [id, node] : data.nodes) hosts.insert(node.host);
  return hosts.size() > 1;
}

}  // namespace

uint32_t ControlPlane::CountShards(ShardState state) const {
  return static_cast<uint32_t>(
      std::count_if(map_.shards.begin(), map_.shards.end(),
                    [state](const ShardEntry& entry) { return entry.state == state; }));
}

uint32_t ControlPlane::CountNodes(NodeRole role, Liveness liveness, Now now) const {
  const auto& nodes = state_.data().nodes;
  return static_cast<uint32_t>(std::count_if(nodes.begin(), nodes.end(), [&](const auto& entry) {
    return entry.second.role == role && nodes_.StateOf(entry.first, now.ms) == liveness;
  }));
}

std::vector<std::string> ControlPlane::Problems(Now now) const {
  std::vector<std::string> problems;
  if (!superseded_.empty()) problems.push_back(superseded_);
  if (!state_.log_status().ok()) problems.push_back(state_.log_status().ToString());
  for (const auto& [name, reason] : nodes_.CannotStart())
    problems.push_back(StrCat(name, " cannot start: ", reason));
  const auto& jobs = state_.data().jobs;
  const bool working = std::any_of(jobs.begin(), jobs.end(),
                                   [](const auto& job) { return job.second.state == JobState::kRunning; });
  uint32_t workers = 0;
  const bool several = OnSeveralHosts(state_.data());
  for (const auto& [id, node] : state_.data().nodes) {
    const std::string name = several && !node.host.empty() ? StrCat(node.name, " on ", node.host) : node.name;
    const Liveness liveness = nodes_.StateOf(id, now.ms);
    if (const uint32_t registers = nodes_.Registers(id, now.ms); registers >= kManyRegisters)
      problems.push_back(StrCat(name, " has registered ", registers, " times within ",
                                NodeTable::kRegistersWindowMs / 60'000,
                                " minutes: it ends and is started again, or is cut off; its log says why"));
    if (node.role == NodeRole::kWorker && !working) continue;  // it holds nothing, and nobody needs it
    workers += node.role == NodeRole::kWorker && liveness != Liveness::kDead;
    if (liveness != Liveness::kDead) {
      for (const std::string& words : {nodes_.Words(id).trouble, nodes_.Words(id).note})
        if (!words.empty()) problems.push_back(StrCat(name, ": ", words));
    }
    if (liveness == Liveness::kAlive || nodes_.CannotStart().contains(node.name)) continue;
    const bool removable = liveness == Liveness::kDead && state_->Check(penstock::RemoveNode{id}).ok();
    problems.push_back(StrCat(name, " is ", ToString(liveness),
                              removable ? StrCat("; it holds no shard, and `penstock node remove ", id,
                                                 "` forgets it should it not come back")
                                        : ""));
  }
  if (working && workers == 0) problems.push_back("jobs wait: there is no worker");
  for (ShardState bad :
       {ShardState::kUnplaced, ShardState::kGranting, ShardState::kUnavailable, ShardState::kQuarantined}) {
    const uint32_t count = CountShards(bad);
    if (count == 0) continue;
    const auto first = std::find_if(map_.shards.begin(), map_.shards.end(),
                                    [bad](const ShardEntry& e) { return e.state == bad; });
    problems.push_back(StrCat(count, " of ", map_.size(), " shards are ", ToString(bad), ", the first is ",
                              first - map_.shards.begin(), ": ", first->detail));
  }
  if (std::string copies = CopiesProblem(now); !copies.empty()) problems.push_back(std::move(copies));
  if (std::string drains = DrainsProblem(now); !drains.empty()) problems.push_back(std::move(drains));
  return problems;
}

std::string ControlPlane::DrainsProblem(Now now) const {
  const StateData& data = state_.data();
  const CopyHealth health = Health(now);
  if (std::ranges::none_of(data.nodes, [&](const auto& node) { return health.Drained(node.first); }))
    return "";
  size_t count = 0;
  std::string first;
  for (ShardId id = 0; id < data.shards.size(); ++id) {
    const std::string why = WhyNotDrained(health, id);
    if (!why.empty() && count++ == 0) first = StrCat(id, ": ", why);
  }
  if (count == 0) return "";
  return StrCat(count, " of ", data.shards.size(), " shards stay on drained servers, the first is ", first);
}

Status ControlPlane::Ready(Now now) {
  RefreshMap(now);
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  PENSTOCK_RETURN_IF_ERROR(state_.log_status());
  const uint32_t serving = CountShards(ShardState::kServing);
  if (serving == map_.size()) return Status::Ok();
  return Unavailable(StrCat(serving, " of ", map_.size(), " shards serve"));
}

Result<nlohmann::json> ControlPlane::Inspect(const std::string& what, const std::string& name, Now now) {
  const bool ready = Ready(now).ok();
  if (what == "plan")
    return InspectPlan(*state_, balancer_.Plan(Health(now), now.wall_ms), balancer_.hurries(),
                       balancer_.WaitsFor(Health(now)));
  const InspectView view{.state = *state_,
                         .nodes = nodes_,
                         .clocks = leases_.clocks(),
                         .shards = map_.shards,
                         .cluster_name = options_.cluster_name,
                         .ready = ready,
                         .problems = Problems(now),
                         .uptime_ms = now.ms - started_ms_,
                         .pid = options_.process.pid,
                         .log = options_.process.log,
                         .now = now};
  return penstock::Inspect(view, what, name);
}

}  // namespace penstock
