// RunDenseBench: `bench dense`: a dense tensor that is pulled or pushed over and over, as the weights of a
// network are.
//
// The tensor goes in slices, with some in flight. Pushes add whole numbers, every second repeat takes back
// what the one before has added, and after each repeat the whole tensor is read back: it must be what was
// acknowledged. One thread; the tensor is made for the run and dropped at its end.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "client/client.h"
#include "common/base/status.h"
#include "tools/bench/limit.h"
#include "tools/bench/step_loop.h"
#include "tools/bench/workers.h"

namespace penstock {

struct DenseOptions {
  Work work = Work::kPull;  // or kPush
  uint64_t mib = 64;        // of the tensor
  uint64_t slice_mib = 4;   // of one call
  uint32_t dim = 4096;      // floats in a row of its table
  std::string durability = "memory";
  uint32_t inflight = 4;  // slices
  double seconds = 10;    // of a repeat
  uint32_t repeats = 5;
  uint64_t memory_lag_ms = 5000;  // server.memory_lag_ms of the cluster
  bool pin = false;

  uint64_t floats() const { return mib << 18; }
  uint64_t slice_floats() const { return slice_mib << 18; }
  uint64_t slices() const { return mib / slice_mib; }
};

// What float i is before anything is measured, and what a push adds to it.
inline float DenseFilled(uint64_t i) { return static_cast<float>(1 + i % 1021); }
inline float DensePushed(uint64_t i) { return static_cast<float>(1 + (i & 1)); }

struct DenseFigures {
  Spread bytes_per_second;  // values, one way
  uint64_t calls = 0;
  bool folds = true;
};

// kInvalidArgument names the option.
Status CheckDenseOptions(const DenseOptions& options);
void to_json(nlohmann::json& json, const DenseOptions& options);
void from_json(const nlohmann::json& json, DenseOptions& options);

// kDataLoss: the tensor does not hold what was acknowledged. `folds` as of RunWorkload.
Result<DenseFigures> RunDenseBench(Client& client, const DenseOptions& options, WorkersOptions workers,
                                   bool folds, const std::function<bool()>& interrupted);
// One element of "results".
nlohmann::json DenseResult(const DenseOptions& options, const DenseFigures& figures, uint64_t servers,
                           const Limit& limit);

}  // namespace penstock
