// bench move: how fast shards go from one server to another, and what is felt of it under load.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <thread>

#include "client/admin.h"
#include "common/base/strings.h"
#include "tools/bench/hot_shard.h"
#include "tools/bench/shard_probe.h"
#include "tools/bench/workload_run.h"
#include "tools/cli/bench_cluster.h"
#include "tools/cli/bench_measure.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr double kWarmUpSeconds = 0.5;
constexpr uint64_t kDayMs = 86'400'000;

double SecondsSince(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

struct Places {
  std::vector<NodeId> servers;
  std::vector<NodeId> primaries;  // of each shard
  bool moving = false;            // one of them at least
};

Result<Places> Look(Client& client) {
  Places places;
  PENSTOCK_ASSIGN_OR_RETURN(const json nodes, Admin(client).Inspect("nodes"));
  for (const json& node : nodes) {
    if (node.value("role", "") == "server") places.servers.push_back(node.value("id", NodeId{0}));
  }
  PENSTOCK_ASSIGN_OR_RETURN(const json shards, Admin(client).Inspect("shards"));
  for (const json& shard : shards) {
    places.primaries.push_back(shard.value("node", NodeId{0}));
    places.moving |= !shard.value("move", json()).is_null();
  }
  return places;
}

class Mover {
 public:
  explicit Mover(BenchCluster& cluster) : cluster_(cluster), client_(cluster.client()) {}

  // Returns when they are all there and no move is left.
  Status Move(const std::vector<ShardId>& shards, NodeId to) {
    for (const ShardId shard : shards) PENSTOCK_RETURN_IF_ERROR(Admin(client_).MoveShard(shard, 0, to));
    return cluster_.WaitUntil(
        StrCat(shards.size(), " shards do not get to node ", to), [&]() -> Result<bool> {
          PENSTOCK_ASSIGN_OR_RETURN(const Places places, Look(client_));
          if (places.moving) return false;
          for (const ShardId shard : shards) {
            if (places.primaries[shard] != to)
              return Internal(StrCat("the move of shard ", shard, " to node ", to, " has ended without it"));
          }
          return true;
        });
  }
  // Seconds in which all shards go to that server. None if it has them all.
  Result<double> MoveAll(NodeId to) {
    PENSTOCK_ASSIGN_OR_RETURN(const Places places, Look(client_));
    std::vector<ShardId> shards;
    for (ShardId shard = 0; shard < places.primaries.size(); ++shard) {
      if (places.primaries[shard] != to) shards.push_back(shard);
    }
    const auto begun = Clock::now();
    PENSTOCK_RETURN_IF_ERROR(Move(shards, to));
    return SecondsSince(begun);
  }
  // To another server than it is on. Looks at that shard alone, so that looking costs little.
  Status MoveElsewhere(ShardId shard, const std::vector<NodeId>& servers) {
    const std::string name = std::to_string(shard);
    PENSTOCK_ASSIGN_OR_RETURN(const json before, Admin(client_).Inspect("shard", name));
    const auto at = std::ranges::find(servers, before.value("node", NodeId{0})) - servers.begin();
    const NodeId to = servers[(static_cast<size_t>(at) + 1) % servers.size()];
    PENSTOCK_RETURN_IF_ERROR(Admin(client_).MoveShard(shard, 0, to));
    return cluster_.WaitUntil(StrCat("shard ", shard, " does not get to node ", to), [&]() -> Result<bool> {
      PENSTOCK_ASSIGN_OR_RETURN(const json now, Admin(client_).Inspect("shard", name));
      if (!now.value("move", json()).is_null()) return false;
      if (now.value("node", NodeId{0}) == to) return true;
      return Internal(StrCat("the move of shard ", shard, " to node ", to, " has ended without it"));
    });
  }

 private:
  BenchCluster& cluster_;
  Client& client_;
};

// All shards from one server to the other and back, with nothing else going on.
Result<json> MeasureIdle(const BenchContext& context, BenchCluster& cluster, const WorkloadOptions& options) {
  Mover mover(cluster);
  PENSTOCK_ASSIGN_OR_RETURN(const Places places, Look(cluster.client()));
  PENSTOCK_RETURN_IF_ERROR(mover.MoveAll(places.servers[0]).status());
  const double bytes = static_cast<double>(options.rows) * options.dim * sizeof(float);
  std::vector<double> rates;
  for (uint32_t i = 0; i < options.repeats; ++i) {
    PENSTOCK_RETURN_IF_ERROR(cluster.FoldAll());  // what came is logged, and folded for some time after it
    PENSTOCK_ASSIGN_OR_RETURN(const double seconds, mover.MoveAll(places.servers[(i + 1) % 2]));
    rates.push_back(bytes / seconds);
  }
  const Spread rate = Spread::Of(std::move(rates));
  return json{{"work", "move"},
              {"rows", options.rows},
              {"dim", options.dim},
              {"shards", places.primaries.size()},
              {"seed_bytes_per_s", context.arguments.seed_bytes_per_s},
              {"value_bytes_per_second", SpreadJson(rate)},
              {"ratio_to_tcp", SpreadJson(rate.Times(1 / context.limit.tcp_bytes_per_second))}};
}

// Shards move one after the other, on a thread of its own, and who pushes to them feels that.
class MovesMeanwhile {
 public:
  MovesMeanwhile(BenchCluster& cluster, const WorkloadOptions& options, const Places& places)
      : cluster_(cluster),
        durability_(options.durability),
        servers_(places.servers),
        shards_(static_cast<uint32_t>(places.primaries.size())),
        random_(options.seed) {}

  // Until `measure` calls what it is given. A move that ends after that does not count.
  Status Run(const std::function<Status(const std::function<void()>& worked)>& measure) {
    ends_ = false;
    Status moved;
    std::thread thread([&] {
      while (moved.ok() && !ends_) moved = MoveOne();
    });
    const Status measured = measure([this] { ends_ = true; });
    ends_ = true;
    thread.join();
    return measured.ok() ? moved : measured;
  }
  const std::vector<double>& pauses_ms() const { return pauses_ms_; }

 private:
  Status MoveOne() {
    const auto shard = static_cast<ShardId>(random_() % shards_);
    PENSTOCK_ASSIGN_OR_RETURN(const Durability durability, ParseDurability(durability_));
    PENSTOCK_ASSIGN_OR_RETURN(const auto probe,
                              ShardProbe::Start(cluster_.client(), shard, shards_, durability));
    PENSTOCK_RETURN_IF_ERROR(Mover(cluster_).MoveElsewhere(shard, servers_));
    PENSTOCK_ASSIGN_OR_RETURN(const double pause, probe->TakeLongestMs());
    if (!ends_) pauses_ms_.push_back(pause);
    return Status::Ok();
  }

  BenchCluster& cluster_;
  const std::string durability_;
  const std::vector<NodeId> servers_;
  const uint32_t shards_;
  std::mt19937_64 random_;
  std::atomic<bool> ends_{false};
  std::vector<double> pauses_ms_;  // of each move
};

Result<json> MeasureUnderLoad(BenchCluster& cluster, WorkloadRun& run, const WorkloadOptions& options) {
  PENSTOCK_ASSIGN_OR_RETURN(const Places places, Look(cluster.client()));
  MovesMeanwhile moves(cluster, options, places);
  std::vector<double> still, moving, ratios;
  PENSTOCK_RETURN_IF_ERROR(run.Measure(std::min(kWarmUpSeconds, options.seconds), /*fold=*/false).status());
  for (uint32_t i = 0; i < options.repeats; ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(const WorkloadRun::Repeat undisturbed,
                              run.Measure(options.seconds, /*fold=*/true));
    still.push_back(undisturbed.rows_per_second);
    PENSTOCK_RETURN_IF_ERROR(moves.Run([&](const std::function<void()>& worked) -> Status {
      PENSTOCK_ASSIGN_OR_RETURN(const WorkloadRun::Repeat repeat,
                                run.Measure(options.seconds, /*fold=*/true, 0, worked));
      moving.push_back(repeat.rows_per_second);
      return Status::Ok();
    }));
    ratios.push_back(moving.back() / still.back());
  }
  std::vector<double> pauses = moves.pauses_ms();
  if (pauses.empty()) return Internal("no shard has moved meanwhile");
  std::sort(pauses.begin(), pauses.end());
  const auto at = [&](double part) {
    return pauses[static_cast<size_t>(part * static_cast<double>(pauses.size() - 1))];
  };
  return json{{"work", "move under steps"},
              {"keys", options.keys},
              {"durability", options.durability},
              {"copies", cluster.copies()},
              {"moves", pauses.size()},
              {"pause_p50_ms", at(0.5)},
              {"pause_p99_ms", at(0.99)},
              {"pause_most_ms", pauses.back()},
              {"still_rows_per_second", SpreadJson(Spread::Of(std::move(still)))},
              {"moving_rows_per_second", SpreadJson(Spread::Of(std::move(moving)))},
              {"ratio_moving_to_still", SpreadJson(Spread::Of(std::move(ratios)))}};
}

// One shard is pushed to as fast as it goes, and moves all the time; all others are driven at half of what
// the machine can.
Result<json> MeasureHot(BenchCluster& cluster, const WorkloadOptions& whole) {
  constexpr ShardId kHot = 0;
  PENSTOCK_ASSIGN_OR_RETURN(const Places places, Look(cluster.client()));
  WorkloadOptions options = whole;
  options.avoid_of_shards = static_cast<uint32_t>(places.primaries.size());
  options.avoid_shard = kHot;
  PENSTOCK_ASSIGN_OR_RETURN(const auto others, WorkloadRun::Start(cluster.client(), options,
                                                                  cluster.workers(), cluster.interrupted()));
  PENSTOCK_ASSIGN_OR_RETURN(const WorkloadRun::Repeat most, others->Measure(options.seconds, /*fold=*/false));
  const double rate = most.rows_per_second / 2 / options.workers;
  PENSTOCK_ASSIGN_OR_RETURN(const auto hot,
                            HotShard::Start(cluster.client(), options, kHot, options.avoid_of_shards));
  std::vector<double> still, moving, hot_still, hot_moving, ratios, took;
  for (uint32_t i = 0; i < options.repeats; ++i) {
    for (const bool moves : {false, true}) {
      std::atomic<bool> ends{false};
      Status moved;
      std::thread mover([&] {
        while (moves && moved.ok() && !ends) {
          const auto begun = Clock::now();
          moved = Mover(cluster).MoveElsewhere(kHot, places.servers);
          if (!ends) took.push_back(SecondsSince(begun));
        }
      });
      static_cast<void>(hot->TakeRate());
      std::optional<Result<double>> hot_rate;
      const auto measured = others->Measure(options.seconds, /*fold=*/false, rate, [&] {
        hot_rate = hot->TakeRate();
        ends = true;
      });
      ends = true;
      mover.join();
      PENSTOCK_RETURN_IF_ERROR(moved);
      PENSTOCK_RETURN_IF_ERROR(measured.status());
      PENSTOCK_RETURN_IF_ERROR(hot_rate->status());
      (moves ? moving : still).push_back(measured->rows_per_second);
      (moves ? hot_moving : hot_still).push_back(**hot_rate);
    }
    ratios.push_back(moving.back() / still.back());
  }
  if (took.empty()) return Internal("the hot shard has not moved meanwhile");
  return json{{"work", "move of a hot shard"},
              {"keys", options.keys},
              {"durability", options.durability},
              {"copies", cluster.copies()},
              {"moves", took.size()},
              {"move_seconds", SpreadJson(Spread::Of(std::move(took)))},
              {"others_most_rows_per_second", most.rows_per_second},
              {"others_still_rows_per_second", SpreadJson(Spread::Of(std::move(still)))},
              {"others_moving_rows_per_second", SpreadJson(Spread::Of(std::move(moving)))},
              {"hot_still_rows_per_second", SpreadJson(Spread::Of(std::move(hot_still)))},
              {"hot_moving_rows_per_second", SpreadJson(Spread::Of(std::move(hot_moving)))},
              {"ratio_of_others_moving_to_still", SpreadJson(Spread::Of(std::move(ratios)))}};
}

}  // namespace

Result<json> MeasureMove(BenchContext& context) {
  WorkloadOptions options = context.arguments.workload;
  options.work = Work::kStep;
  PENSTOCK_ASSIGN_OR_RETURN(
      const auto cluster,
      BenchCluster::Start(
          {},
          {.servers = std::max(2U, context.arguments.servers.value_or(2)),
           .copies = context.arguments.copies,
           .memory_lag_ms = options.memory_lag_ms,
           .assignments = {StrCat("server.seed_bytes_per_s=", context.arguments.seed_bytes_per_s),
                           StrCat("scheduler.balance_delay_ms=", kDayMs)}},
          context.signals, context.console));
  PENSTOCK_ASSIGN_OR_RETURN(const auto run, WorkloadRun::Start(cluster->client(), options, cluster->workers(),
                                                               cluster->interrupted()));
  json results = json::array();
  // With copies most moves only change who leads, and nothing is copied.
  if (cluster->servers() == 2 && cluster->copies() == 1) {
    PENSTOCK_ASSIGN_OR_RETURN(json idle, MeasureIdle(context, *cluster, options));
    results.push_back(std::move(idle));
    PENSTOCK_RETURN_IF_ERROR(run->Check());
  }
  PENSTOCK_ASSIGN_OR_RETURN(json loaded, MeasureUnderLoad(*cluster, *run, options));
  results.push_back(std::move(loaded));
  PENSTOCK_ASSIGN_OR_RETURN(json hot, MeasureHot(*cluster, options));
  results.push_back(std::move(hot));
  return results;
}

}  // namespace penstock
