#include "scheduler/node/scheduler_metrics.h"

namespace penstock {
namespace {

constexpr std::array kShardStates = {ShardState::kUnplaced, ShardState::kGranting, ShardState::kServing,
                                     ShardState::kUnavailable, ShardState::kQuarantined};
constexpr std::array kRoles = {NodeRole::kServer, NodeRole::kWorker};
constexpr std::array kLiveness = {Liveness::kAlive, Liveness::kSuspect, Liveness::kDead};
constexpr std::array kJobStates = {JobState::kRunning, JobState::kDone, JobState::kFailed,
                                   JobState::kCancelled, JobState::kPaused};

}  // namespace

SchedulerMetrics::Numbers SchedulerMetrics::Get() const {
  std::lock_guard lock(mutex_);
  return numbers_;
}

Status SchedulerMetrics::Ready() const {
  std::lock_guard lock(mutex_);
  return ready_;
}

void SchedulerMetrics::Declare(MetricsRegistry& registry) {
  using Samples = std::vector<MetricsRegistry::Sample>;
  registry.AddCallback("penstock_scheduler_term", "Starts of a leading scheduler.",
                       [this] { return Get().term; });
  registry.AddCallback("penstock_scheduler_tables", "Tables.", [this] { return Get().tables; });
  registry.AddCallback("penstock_scheduler_leases", "Partitions that workers work on.",
                       [this] { return Get().leases; });
  registry.AddCallback("penstock_scheduler_journal_commands_total", "Commands journaled since the start.",
                       [this] { return Get().commits; });
  registry.AddCallback("penstock_scheduler_problems", "Problems that the status names now.",
                       [this] { return Get().problems; });
  registry.AddCallback("penstock_scheduler_shards_short_of_copies",
                       "Shards with fewer in-sync copies than wanted.",
                       [this] { return Get().short_of_copies; });
  registry.AddCallback("penstock_scheduler_promotions_total",
                       "Shards that went on with a backup, since the start.",
                       [this] { return Get().promotions; });
  registry.AddCallback("penstock_scheduler_epoch_changes_total",
                       "New epochs of shards since the start, after their placement.",
                       [this] { return Get().epoch_changes; });
  registry.AddCallbacks("penstock_scheduler_shards", "Shards by state.", {"state"}, [this] {
    const Numbers numbers = Get();
    Samples samples;
    for (size_t i = 0; i < kShardStates.size(); ++i)
      samples.push_back({{std::string(ToString(kShardStates[i]))}, numbers.shards[i]});
    return samples;
  });
  registry.AddCallbacks("penstock_scheduler_nodes", "Nodes by role and state.", {"role", "state"}, [this] {
    const Numbers numbers = Get();
    Samples samples;
    for (size_t i = 0; i < numbers.nodes.size(); ++i) {
      samples.push_back(
          {{i / 3 == 0 ? "server" : "worker", std::string(ToString(kLiveness[i % 3]))}, numbers.nodes[i]});
    }
    return samples;
  });
  registry.AddCallbacks("penstock_scheduler_jobs", "Jobs by state.", {"state"}, [this] {
    const Numbers numbers = Get();
    Samples samples;
    for (size_t i = 0; i < kJobStates.size(); ++i)
      samples.push_back({{std::string(ToString(kJobStates[i]))}, numbers.jobs[i]});
    return samples;
  });
}

void SchedulerMetrics::Update(ControlPlane& plane, Now now) {
  Numbers numbers;
  const StateData& data = plane.data();
  for (size_t i = 0; i < kShardStates.size(); ++i) numbers.shards[i] = plane.CountShards(kShardStates[i]);
  for (size_t i = 0; i < numbers.nodes.size(); ++i)
    numbers.nodes[i] = plane.CountNodes(kRoles[i / 3], kLiveness[i % 3], now);
  for (const auto& [id, job] : data.jobs) {
    ++numbers.jobs[static_cast<size_t>(job.state)];
    for (const auto& partition : job.partitions) numbers.leases += partition.state == PartitionState::kLeased;
  }
  numbers.term = static_cast<double>(data.term);
  numbers.tables = static_cast<double>(data.tables.size());
  numbers.commits = static_cast<double>(plane.commits());
  numbers.problems = static_cast<double>(plane.Problems(now).size());
  numbers.short_of_copies = plane.CountShortOfCopies();
  numbers.promotions = static_cast<double>(plane.promotions());
  numbers.epoch_changes = static_cast<double>(plane.epoch_changes());
  Status ready = plane.Ready(now);
  std::lock_guard lock(mutex_);
  numbers_ = numbers;
  ready_ = std::move(ready);
}

}  // namespace penstock
