// RunBenchWorker: the other end of WorkerProcess: prepares a piece of work and does it when told to.
//
//   {"do": "prepare", "scheduler", "token_file", "spin_us", "kind": "rows" | "dense", ...}  -> {}
//   {"do": "go", "begin_ns", "seconds", ...}                                      -> what the work says
// begin_ns is of std::chrono::steady_clock, which all processes of a machine share. An error is answered as
// {"error": {"code", "message"}}. It ends when its orders do.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "client/client.h"
#include "common/base/status.h"
#include "tools/bench/step_loop.h"

namespace penstock {

// What one worker process does between "go" and its answer.
class BenchTask {
 public:
  virtual ~BenchTask() = default;
  virtual Result<nlohmann::json> Go(StepLoop::Clock::time_point begin, double seconds,
                                    const nlohmann::json& order) = 0;
};

// "rows": {"table", "worker", "options": WorkloadOptions}. Go takes "sign", of what is pushed, and answers
// {"rows_per_second", "done": how often each batch of the pool, "p50_us", "p99_us", "p999_us"}; kDataLoss: a
// pull has read what was never there.
Result<std::unique_ptr<BenchTask>> MakeRowsTask(Client& client, const nlohmann::json& order);
// "dense": see dense.cc.
Result<std::unique_ptr<BenchTask>> MakeDenseTask(Client& client, const nlohmann::json& order);

// Reads orders from one descriptor and answers on the other, until there are no more.
void RunBenchWorker(int in, int out);

}  // namespace penstock
