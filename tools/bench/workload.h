// WorkloadOptions: what `penstock bench pull|push|step|latency` do to the rows of a table, and the JSON that
// comes of it.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/cluster/table_spec.h"
#include "tools/bench/limit.h"
#include "tools/bench/statistics.h"
#include "tools/bench/step_loop.h"

namespace penstock {

std::string_view ToString(Work work);  // "pull", "push", "step"

struct WorkloadOptions {
  Work work = Work::kStep;
  uint64_t keys = 10000;    // of a batch
  uint64_t rows = 1000000;  // the table's: keys are 0 .. rows-1
  std::string skew;         // "zipf:EXPONENT": batches are drawn from it and may name a key twice; else
                            // uniform, and keys are distinct
  uint32_t dim = 16;
  std::string optimizer = "sgd";  // RowOracle::Allowed
  std::string durability = "memory";
  std::string codec = "f32";
  uint32_t inflight = 2;   // of each worker
  uint32_t workers = 1;    // processes
  uint32_t batches = 500;  // in the pool of each worker
  double seconds = 10;     // of a repeat
  uint32_t repeats = 5;
  uint64_t memory_lag_ms = 5000;  // server.memory_lag_ms of the cluster
  uint64_t seed = 1;
  bool pin = false;
  uint64_t spin_us = 0;  // server.spin_us of the cluster, and ClientOptions::spin_us of the workers
  // Not 0: of so many shards of the cluster, keys of `avoid_shard` are left out.
  uint32_t avoid_of_shards = 0;
  ShardId avoid_shard = 0;
};

struct WorkloadFigures {
  Spread rows_per_second;
  // Of single calls, each of the repeats' values; empty unless there is one in flight.
  Spread p50_us, p99_us, p999_us;
  uint64_t calls = 0;  // pulls, pushes or steps, the warm-up included
  bool folds = true;   // log and fold were on
};

bool Pushes(Work work);
// kInvalidArgument names the option, what it was and what it may be.
Status CheckWorkloadOptions(const WorkloadOptions& options);
// What is pushed must be logged while it is measured: --seconds covers twice the lag.
Status CheckLag(Work work, double seconds, uint64_t memory_lag_ms);
// The exponent of --skew.
Result<std::optional<double>> ParseSkew(const std::string& skew);
Result<TableSpec> WorkloadTable(const WorkloadOptions& options, const std::string& name);
// The batches of one worker. `table`: the id of the workload's.
std::vector<std::vector<Key>> MakePool(const WorkloadOptions& options, TableId table, uint32_t worker);
// How often each row is pushed before the first repeat, so that there are rows, and not all the same.
inline constexpr int64_t kMostFillPushes = 3;
inline int64_t FillPushes(Key key) { return 1 + static_cast<int64_t>(key % kMostFillPushes); }

// Keys and values of a row, both ways in a step.
double PayloadBytesPerRow(Work work, uint32_t dim, Codec codec);

// What a worker process must know of it.
void to_json(nlohmann::json& json, const WorkloadOptions& options);
void from_json(const nlohmann::json& json, WorkloadOptions& options);

nlohmann::json SpreadJson(const Spread& spread);
// One element of "results".
nlohmann::json WorkloadResult(const WorkloadOptions& options, const WorkloadFigures& figures,
                              uint64_t servers, const Limit& limit);

}  // namespace penstock
