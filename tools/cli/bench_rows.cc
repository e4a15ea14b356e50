// bench pull, push, step, dense, latency, logged, large: rows over the wire.
#include <nlohmann/json.hpp>

#include "tools/bench/dense.h"
#include "tools/bench/workload_run.h"
#include "tools/cli/bench_cluster.h"
#include "tools/cli/bench_measure.h"

namespace penstock {
namespace {

using Results = nlohmann::json;  // an array, as in the report

Result<std::unique_ptr<BenchCluster>> Start(BenchContext& context, uint64_t memory_lag_ms, bool folds,
                                            uint64_t spin_us = 0) {
  return BenchCluster::Start(context.arguments.target,
                             {.servers = context.arguments.servers.value_or(1),
                              .copies = context.arguments.copies,
                              .memory_lag_ms = memory_lag_ms,
                              .folds = folds,
                              .pin = context.arguments.pin,
                              .spin_us = spin_us},
                             context.signals, context.console);
}

// With log and fold, and, where rows are pushed at level memory in a cluster of its own, without.
std::vector<bool> FoldsToMeasure(const Arguments& arguments, bool pushes, const std::string& durability) {
  if (!pushes || durability != "memory" || Named(arguments.target) || arguments.skip_log_off) return {true};
  return {true, false};
}

// What the servers say of it: a fold that was asked for has been, and what is off was off.
Status AddEvidence(const BenchCluster& cluster, nlohmann::json* result) {
  if (!cluster.own()) return Status::Ok();
  PENSTOCK_ASSIGN_OR_RETURN(const double folds, cluster.ServerMetric("penstock_server_folds_total"));
  PENSTOCK_ASSIGN_OR_RETURN(const double bytes,
                            cluster.ServerMetric("penstock_server_log_written_bytes_total"));
  (*result)["folds_done"] = static_cast<uint64_t>(folds);
  (*result)["logged_bytes"] = static_cast<uint64_t>(bytes);
  (*result)["copies"] = cluster.copies();
  return Status::Ok();
}

Result<Results> MeasurePairs(BenchContext& context, const WorkloadOptions& first,
                             const WorkloadOptions& second, const std::string& what) {
  PENSTOCK_ASSIGN_OR_RETURN(const auto cluster, Start(context, first.memory_lag_ms, true));
  PENSTOCK_ASSIGN_OR_RETURN(const PairFigures figures,
                            RunPairs(cluster->client(), first, second, cluster->workers(),
                                     context.arguments.pairs, cluster->interrupted()));
  WorkloadFigures of_first{.rows_per_second = figures.first_rows_per_second};
  nlohmann::json result = WorkloadResult(first, of_first, cluster->servers(), context.limit);
  for (const char* left_out : {"calls", "repeats", "rows_per_second"}) result.erase(left_out);
  PENSTOCK_RETURN_IF_ERROR(AddEvidence(*cluster, &result));
  result["work"] = what;
  result["pairs"] = context.arguments.pairs;
  result["ratio"] = SpreadJson(figures.ratio);
  result["first_rows_per_second"] = SpreadJson(figures.first_rows_per_second);
  result["second_rows_per_second"] = SpreadJson(figures.second_rows_per_second);
  return Results{result};
}

}  // namespace

Result<nlohmann::json> MeasureRows(BenchContext& context) {
  WorkloadOptions options = context.arguments.workload;
  options.pin = context.arguments.pin;
  Results results = Results::array();
  for (const bool folds : FoldsToMeasure(context.arguments, Pushes(options.work), options.durability)) {
    PENSTOCK_ASSIGN_OR_RETURN(const auto cluster,
                              Start(context, options.memory_lag_ms, folds, options.spin_us));
    PENSTOCK_ASSIGN_OR_RETURN(
        const WorkloadFigures figures,
        RunWorkload(cluster->client(), options, cluster->workers(), folds, cluster->interrupted()));
    results.push_back(WorkloadResult(options, figures, cluster->servers(), context.limit));
    PENSTOCK_RETURN_IF_ERROR(AddEvidence(*cluster, &results.back()));
  }
  return results;
}

Result<nlohmann::json> MeasureDense(BenchContext& context) {
  DenseOptions options = context.arguments.dense;
  options.pin = context.arguments.pin;
  Results results = Results::array();
  for (const bool folds : FoldsToMeasure(context.arguments, true, options.durability)) {
    PENSTOCK_ASSIGN_OR_RETURN(const auto cluster, Start(context, options.memory_lag_ms, folds));
    for (const Work work : {Work::kPush, Work::kPull}) {
      if (work == Work::kPull && !folds) continue;
      options.work = work;
      PENSTOCK_ASSIGN_OR_RETURN(
          const DenseFigures figures,
          RunDenseBench(cluster->client(), options, cluster->workers(), folds, cluster->interrupted()));
      results.push_back(DenseResult(options, figures, cluster->servers(), context.limit));
      PENSTOCK_RETURN_IF_ERROR(AddEvidence(*cluster, &results.back()));
    }
  }
  return results;
}

Result<nlohmann::json> MeasureLatency(BenchContext& context) {
  WorkloadOptions options = context.arguments.workload;
  options.pin = context.arguments.pin;
  const uint64_t spin_us = options.spin_us;
  Results results = Results::array();
  for (const bool spin : {false, true}) {
    if (spin && spin_us == 0) continue;
    options.spin_us = spin ? spin_us : 0;
    const Spread& pingpong = spin ? context.limit.pingpong_spin_us : context.limit.pingpong_us;
    PENSTOCK_ASSIGN_OR_RETURN(const auto cluster,
                              Start(context, options.memory_lag_ms, true, options.spin_us));
    for (const Work work : {Work::kPull, Work::kPush}) {
      options.work = work;
      PENSTOCK_ASSIGN_OR_RETURN(
          const WorkloadFigures figures,
          RunWorkload(cluster->client(), options, cluster->workers(), true, cluster->interrupted()));
      nlohmann::json result = WorkloadResult(options, figures, cluster->servers(), context.limit);
      for (const char* left_out : {"payload_bytes_per_second", "ratio_to_limit"}) result.erase(left_out);
      result["waiting"] = spin ? "spinning" : "sleeping";
      result["ratio_to_pingpong"] = figures.p50_us.median / pingpong.median;
      results.push_back(result);
    }
  }
  return results;
}

Result<nlohmann::json> MeasureLogged(BenchContext& context) {
  WorkloadOptions logged = context.arguments.workload;
  logged.pin = context.arguments.pin;
  WorkloadOptions memory = logged;
  logged.durability = "logged";
  memory.durability = "memory";
  return MeasurePairs(context, logged, memory, "step at logged over memory");
}

Result<nlohmann::json> MeasureLarge(BenchContext& context) {
  WorkloadOptions large = context.arguments.workload;
  large.pin = context.arguments.pin;
  WorkloadOptions small = large;
  small.rows = context.arguments.over_rows;
  PENSTOCK_ASSIGN_OR_RETURN(Results results,
                            MeasurePairs(context, large, small, "step over a large table and a small one"));
  results[0]["over_rows"] = small.rows;
  return results;
}

}  // namespace penstock
