// bench store, log, memory, resident, recover: what is inside of a server.
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "client/admin.h"
#include "common/base/strings.h"
#include "tools/bench/log_append.h"
#include "tools/bench/memory.h"
#include "tools/bench/store.h"
#include "tools/bench/workload_run.h"
#include "tools/cli/bench_cluster.h"
#include "tools/cli/bench_measure.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;
using Results = nlohmann::json;  // an array, as in the report

constexpr uint32_t kShards = 128;  // as clusters have them by default
constexpr auto kLookEvery = std::chrono::milliseconds(20);
// A server keeps for the next fold what the last one took, for 5 s.
constexpr auto kKeptAfterFold = std::chrono::seconds(6);
const char* const kServer = "server-1";  // of a cluster with one

class Folder {
 public:
  static Result<Folder> Make() {
    PENSTOCK_ASSIGN_OR_RETURN(std::string path, MakeTemporaryFolder());
    return Folder(std::move(path));
  }
  Folder(Folder&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  Folder& operator=(Folder&&) = delete;
  ~Folder() {
    if (!path_.empty()) RemoveFolder(path_);
  }
  const std::string& path() const { return path_; }

 private:
  explicit Folder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

Result<ChildState> ServerOf(const BenchCluster& cluster) {
  for (ChildState& child : cluster.processes().Children()) {
    if (child.name == kServer) return std::move(child);
  }
  return Internal(std::string("there is no ") + kServer);
}

// The server looks at the length of its log from time to time.
Result<double> SettledLogBytes(const BenchCluster& cluster) {
  double bytes = -1;
  PENSTOCK_RETURN_IF_ERROR(cluster.WaitUntil("the log does not come to rest", [&]() -> Result<bool> {
    std::this_thread::sleep_for(5 * kLookEvery);
    PENSTOCK_ASSIGN_OR_RETURN(const double now, cluster.ServerMetric("penstock_server_log_bytes"));
    return std::exchange(bytes, now) == now;
  }));
  return bytes;
}

// "... deltas replayed in 1234 ms", the last line of it in the server's log files.
Result<double> LastReplaySeconds(const std::string& logs, size_t lines_before, size_t* lines) {
  const std::string words = " deltas replayed in ";
  *lines = 0;
  std::string newest;
  for (const auto& entry : std::filesystem::directory_iterator(logs)) {
    if (entry.path().filename().string().find("server") == std::string::npos) continue;
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) {
      if (line.find(words) == std::string::npos) continue;
      ++*lines;
      newest = std::max(newest, line);  // glog's lines begin with their time
    }
  }
  if (*lines <= lines_before) return NotFound("the server has not said yet how long its replay took");
  return std::strtod(newest.c_str() + newest.find(words) + words.size(), nullptr) / 1000;
}

}  // namespace

Result<nlohmann::json> MeasureStore(BenchContext& context) {
  const WorkloadOptions& options = context.arguments.workload;
  PENSTOCK_ASSIGN_OR_RETURN(const StoreFigures figures,
                            RunStoreBench(options, kShards, [&] { return context.Interrupted(); }));
  return StoreResult(options, kShards, figures, context.limit);
}

Result<nlohmann::json> MeasureLog(BenchContext& context) {
  PENSTOCK_ASSIGN_OR_RETURN(const Folder folder, Folder::Make());
  PENSTOCK_ASSIGN_OR_RETURN(const LogFigures figures, RunLogBench(context.arguments.log, folder.path(),
                                                                  [&] { return context.Interrupted(); }));
  return Results{LogResult(context.arguments.log, figures)};
}

Result<nlohmann::json> MeasureMemory(BenchContext& context) {
  const MemoryOptions& options = context.arguments.memory;
  PENSTOCK_ASSIGN_OR_RETURN(
      const auto cluster,
      BenchCluster::Start({}, {.assignments = {StrCat("server.memory_budget_bytes=", options.budget_bytes)}},
                          context.signals, context.console));
  const auto say = [&](const std::string& line) { context.console.err << "penstock: " << line << std::endl; };
  PENSTOCK_ASSIGN_OR_RETURN(const MemoryFigures figures,
                            RunMemoryBench(cluster->client(), options, say, cluster->interrupted()));
  PENSTOCK_ASSIGN_OR_RETURN(const ChildState server, ServerOf(*cluster));
  if (server.starts != 1) return Internal(server.name + " died in the run: its memory is not known");
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t peak, PeakResidentBytes(server.pid));
  return Results{MemoryJson(options, figures, peak)};
}

// The table is filled, and before each look every row has been pushed, logged and folded.
Result<nlohmann::json> MeasureResident(BenchContext& context) {
  WorkloadOptions options = context.arguments.workload;
  options.work = Work::kPush;
  options.batches = 1;
  PENSTOCK_ASSIGN_OR_RETURN(
      const auto cluster,
      BenchCluster::Start({}, {.memory_lag_ms = options.memory_lag_ms}, context.signals, context.console));
  PENSTOCK_ASSIGN_OR_RETURN(const auto run, WorkloadRun::Start(cluster->client(), options, cluster->workers(),
                                                               cluster->interrupted()));
  PENSTOCK_ASSIGN_OR_RETURN(const ChildState server, ServerOf(*cluster));
  std::vector<double> bytes;
  for (uint32_t i = 0; i < options.repeats; ++i) {
    PENSTOCK_RETURN_IF_ERROR(run->Fill());
    PENSTOCK_RETURN_IF_ERROR(cluster->FoldAll());
    const auto folded = Clock::now();
    PENSTOCK_RETURN_IF_ERROR(run->Check());
    PENSTOCK_RETURN_IF_ERROR(
        cluster->WaitUntil("the server does not give its memory back",
                           [&]() -> Result<bool> { return Clock::now() >= folded + kKeptAfterFold; }));
    PENSTOCK_ASSIGN_OR_RETURN(const uint64_t resident, ResidentBytes(server.pid));
    bytes.push_back(static_cast<double>(resident));
  }
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec table, WorkloadTable(options, "bench"));
  const double values = static_cast<double>(options.rows * table.row_floats() * sizeof(float));
  const Spread resident = Spread::Of(std::move(bytes));
  return Results{{{"work", "resident"},
                  {"rows", options.rows},
                  {"dim", options.dim},
                  {"optimizer", options.optimizer},
                  {"repeats", options.repeats},
                  {"checked", true},
                  {"value_bytes", values},
                  {"resident_bytes", SpreadJson(resident)},
                  {"ratio_to_values", SpreadJson(resident.Times(1 / values))}}};
}

// The table is folded into the base and the log filled again at level logged; the server is killed, which
// loses nothing of that. It says itself how long it replays; a pull that waits from the kill on says when it
// serves.
Result<nlohmann::json> MeasureRecover(BenchContext& context) {
  WorkloadOptions options = context.arguments.workload;
  options.work = Work::kPush;
  options.durability = "logged";
  const uint64_t mib = context.arguments.mib;
  // So much that nothing is folded by itself.
  const uint64_t fold_bytes = (mib + 1024) << 20;
  BenchClusterOptions of_cluster{.memory_lag_ms = options.memory_lag_ms};
  of_cluster.assignments = {StrCat("server.fold_bytes=", fold_bytes),
                            StrCat("server.log_limit_bytes=", 2 * fold_bytes),
                            StrCat("server.memory_budget_bytes=", 8 * fold_bytes)};
  PENSTOCK_ASSIGN_OR_RETURN(const auto cluster,
                            BenchCluster::Start({}, of_cluster, context.signals, context.console));
  PENSTOCK_ASSIGN_OR_RETURN(const auto run, WorkloadRun::Start(cluster->client(), options, cluster->workers(),
                                                               cluster->interrupted()));
  PENSTOCK_RETURN_IF_ERROR(cluster->FoldAll());
  PENSTOCK_ASSIGN_OR_RETURN(const double folds, cluster->ServerMetric("penstock_server_folds_total"));
  double log_bytes = 0;
  while (log_bytes < static_cast<double>(mib << 20)) {
    PENSTOCK_RETURN_IF_ERROR(run->Measure(options.seconds, /*fold=*/false).status());
    PENSTOCK_ASSIGN_OR_RETURN(log_bytes, SettledLogBytes(*cluster));
  }
  PENSTOCK_ASSIGN_OR_RETURN(const double folds_now, cluster->ServerMetric("penstock_server_folds_total"));
  if (folds_now > folds) return Internal("the server has folded its log: nothing is left to replay");
  const std::string logs = cluster->processes().paths().logs();
  size_t lines = 0;
  static_cast<void>(LastReplaySeconds(logs, 0, &lines));
  std::vector<double> rates, first_pulls, beyond_replay;
  for (uint32_t i = 0; i < options.repeats; ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(const ChildState server, ServerOf(*cluster));
    ::kill(server.pid, SIGKILL);
    const auto killed = Clock::now();
    auto answered = std::async(std::launch::async, [&]() -> Result<double> {
      PENSTOCK_RETURN_IF_ERROR(run->PullSome().get().status().Prepend("the first pull"));
      return std::chrono::duration<double>(Clock::now() - killed).count();
    });
    double replay = 0;
    const size_t before = lines;
    PENSTOCK_RETURN_IF_ERROR(cluster->WaitUntil("the server does not come back", [&]() -> Result<bool> {
      const auto took = LastReplaySeconds(logs, before, &lines);
      if (took.ok()) replay = *took;
      return took.ok();
    }));
    PENSTOCK_ASSIGN_OR_RETURN(const double first_pull, answered.get());
    rates.push_back(log_bytes / std::max(replay, 0.001));
    first_pulls.push_back(first_pull);
    beyond_replay.push_back(first_pull - replay);
    PENSTOCK_RETURN_IF_ERROR(run->Check());
  }
  return Results{{{"work", "recover"},
                  {"dim", options.dim},
                  {"rows", options.rows},
                  {"log_bytes", log_bytes},
                  {"repeats", options.repeats},
                  {"checked", true},
                  {"replay_bytes_per_second", SpreadJson(Spread::Of(std::move(rates)))},
                  {"first_pull_seconds", SpreadJson(Spread::Of(std::move(first_pulls)))},
                  {"beyond_replay_seconds", SpreadJson(Spread::Of(std::move(beyond_replay)))}}};
}

}  // namespace penstock
