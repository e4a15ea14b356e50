// RunStepBench: how many rows a second a client can pull and push back, against a cluster that runs.
//
// A step pulls a batch of distinct random keys and pushes a gradient for each of them. The batches are drawn
// before the clock starts, from a pool that is gone through in turn; several steps are in flight. The pushed
// values are small whole numbers, so that every row's value at the end is known exactly: all rows are read
// back, and a row that is not what was acknowledged fails the run.
//
// One thread drives it. The table is made for the run and dropped after it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "tools/bench/statistics.h"
#include "worker/client/client.h"

namespace penstock {

struct StepOptions {
  uint64_t keys = 10000;  // of a batch
  uint32_t dim = 16;
  uint64_t rows = 1000000;        // keys are drawn from 0 .. rows-1
  std::string optimizer = "sgd";  // or "add": those whose result is a whole number
  std::string durability = "memory";
  uint32_t inflight = 2;   // steps
  uint32_t batches = 500;  // in the pool
  double seconds = 2;      // of a repeat
  uint32_t repeats = 5;
  uint64_t seed = 1;
};

struct StepFigures {
  Spread rows_per_second;            // pulled and pushed back
  double payload_bytes_per_row = 0;  // keys and values, both ways
  uint64_t steps = 0;                // those of the warm-up included
};

// `keys` distinct numbers below `rows`, uniformly; the same for the same seed and number of calls. 1 <= keys
// <= rows.
class BatchMaker {
 public:
  BatchMaker(uint64_t rows, uint64_t seed);
  std::vector<Key> Next(uint64_t keys);

 private:
  std::vector<uint32_t> permutation_;
  uint64_t state_;
};

// kInvalidArgument names the option. `interrupted` is asked between steps.
Status CheckStepOptions(const StepOptions& options);
// kDataLoss: the table does not hold what was acknowledged. kCancelled: interrupted.
Result<StepFigures> RunStepBench(Client& client, const StepOptions& options,
                                 const std::function<bool()>& interrupted);
// One element of "results".
nlohmann::json StepJson(const StepOptions& options, const StepFigures& figures, uint64_t servers,
                        double tcp_bytes_per_second);

}  // namespace penstock
