// penstock bench: measures the machine, and clusters on it.
//
// Every command gives one report: {"machine", "limit", "results"}. The limit is measured first, before there
// are threads and a cluster.
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "tools/bench/bench_worker.h"
#include "tools/bench/dense.h"
#include "tools/bench/limit.h"
#include "tools/bench/memory.h"
#include "tools/bench/workload_run.h"
#include "tools/cli/bench_cluster.h"
#include "tools/cli/bench_text.h"
#include "tools/cli/commands.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/print.h"

namespace penstock {
namespace {

using Results = nlohmann::json;  // an array, as in the report

class BenchCommand {
 public:
  BenchCommand(const Arguments& arguments, Console& console) : a_(arguments), console_(console) {}

  Status Check() const {
    if (IsRows()) return CheckWorkloadOptions(a_.workload);
    if (name() == "latency") {
      WorkloadOptions pushes = a_.workload;
      pushes.work = Work::kPush;
      return CheckWorkloadOptions(pushes);
    }
    if (name() == "dense") {
      DenseOptions pushes = a_.dense;
      pushes.work = Work::kPush;
      return CheckDenseOptions(pushes);
    }
    return name() == "memory" ? CheckMemoryOptions(a_.memory) : Status::Ok();
  }

  Result<int> Run() {
    RETURN_IF_ERROR(Check());
    ASSIGN_OR_RETURN(limit_, MeasureLimit({.pin = a_.pin}));  // forks, so before any thread
    InterruptSignals signals;
    signals_ = &signals;
    ASSIGN_OR_RETURN(const Results results, Measure());
    const nlohmann::json report = {
        {"machine", DescribeMachine()}, {"limit", LimitJson(limit_)}, {"results", results}};
    console_.out << (a_.output == OutputFormat::kJson ? RenderJson(report) : BenchText(report));
    return kExitOk;
  }

 private:
  std::string name() const { return a_.command.substr(a_.command.find(' ') + 1); }
  bool IsRows() const { return name() == "pull" || name() == "push" || name() == "step"; }

  Result<Results> Measure() {
    if (IsRows()) return MeasureRows();
    if (name() == "dense") return MeasureDense();
    if (name() == "latency") return MeasureLatency();
    if (name() == "memory") return MeasureMemory();
    return Results::array();  // limit
  }

  Result<std::unique_ptr<BenchCluster>> Start(uint64_t memory_lag_ms, bool folds) {
    return BenchCluster::Start(
        a_.target,
        {.servers = a_.servers.value_or(1), .memory_lag_ms = memory_lag_ms, .folds = folds, .pin = a_.pin},
        *signals_, console_);
  }

  // With log and fold, and, where rows are pushed at level memory in a cluster of its own, without.
  std::vector<bool> FoldsToMeasure(bool pushes, const std::string& durability) const {
    if (!pushes || durability != "memory" || Named(a_.target) || a_.skip_log_off) return {true};
    return {true, false};
  }

  Result<Results> MeasureRows() {
    WorkloadOptions options = a_.workload;
    options.pin = a_.pin;
    Results results = Results::array();
    for (const bool folds : FoldsToMeasure(Pushes(options.work), options.durability)) {
      ASSIGN_OR_RETURN(const auto cluster, Start(options.memory_lag_ms, folds));
      ASSIGN_OR_RETURN(
          const WorkloadFigures figures,
          RunWorkload(cluster->client(), options, cluster->workers(), folds, cluster->interrupted()));
      results.push_back(WorkloadResult(options, figures, cluster->servers(), limit_));
    }
    return results;
  }

  Result<Results> MeasureDense() {
    DenseOptions options = a_.dense;
    options.pin = a_.pin;
    Results results = Results::array();
    for (const bool folds : FoldsToMeasure(true, options.durability)) {
      ASSIGN_OR_RETURN(const auto cluster, Start(options.memory_lag_ms, folds));
      for (const Work work : {Work::kPush, Work::kPull}) {
        if (work == Work::kPull && !folds) continue;
        options.work = work;
        ASSIGN_OR_RETURN(
            const DenseFigures figures,
            RunDenseBench(cluster->client(), options, cluster->workers(), folds, cluster->interrupted()));
        results.push_back(DenseResult(options, figures, cluster->servers(), limit_));
      }
    }
    return results;
  }

  Result<Results> MeasureLatency() {
    WorkloadOptions options = a_.workload;
    options.pin = a_.pin;
    Results results = Results::array();
    ASSIGN_OR_RETURN(const auto cluster, Start(options.memory_lag_ms, true));
    for (const Work work : {Work::kPull, Work::kPush}) {
      options.work = work;
      ASSIGN_OR_RETURN(
          const WorkloadFigures figures,
          RunWorkload(cluster->client(), options, cluster->workers(), true, cluster->interrupted()));
      nlohmann::json result = WorkloadResult(options, figures, cluster->servers(), limit_);
      result["waiting"] = "sleeping";
      result["ratio_to_pingpong"] = figures.p50_us.median / limit_.pingpong_us.median;
      results.push_back(result);
    }
    return results;
  }

  Result<Results> MeasureMemory() {
    const MemoryOptions& options = a_.memory;
    ASSIGN_OR_RETURN(const auto cluster,
                     BenchCluster::Start(
                         {}, {.assignments = {StrCat("server.memory_budget_bytes=", options.budget_bytes)}},
                         *signals_, console_));
    const auto say = [&](const std::string& line) { console_.err << "penstock: " << line << std::endl; };
    ASSIGN_OR_RETURN(const MemoryFigures figures,
                     RunMemoryBench(cluster->client(), options, say, cluster->interrupted()));
    uint64_t peak = 0;
    for (const ChildState& child : cluster->processes().Children()) {
      if (child.name.rfind("server", 0) != 0) continue;
      if (child.starts != 1) return Internal(child.name + " died in the run: its memory is not known");
      ASSIGN_OR_RETURN(peak, PeakResidentBytes(child.pid));
    }
    return Results{MemoryJson(options, figures, peak)};
  }

  const Arguments& a_;
  Console& console_;
  InterruptSignals* signals_ = nullptr;
  Limit limit_;
};

}  // namespace

Result<int> RunBench(const Arguments& arguments, Console& console) {
  if (arguments.command == "bench worker") {
    RunBenchWorker(STDIN_FILENO, STDOUT_FILENO);
    return kExitOk;
  }
  return BenchCommand(arguments, console).Run();
}

}  // namespace penstock
