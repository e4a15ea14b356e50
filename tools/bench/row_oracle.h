// RowOracle: what a row must hold after so many pushes, each of the same gradient.
//
// A gradient of small whole numbers makes the sums of `sgd` (learning rate 1) and `add` exact, in any order
// and with duplicates combined, so the number of pushes may be a difference of those of either sign. With
// every other optimizer a row is a pure function of the number of its pushes: the very recurrence that
// servers run (server/shard/optimizer.h) is gone through once. `assign` forgets, so nothing can be said of
// it.
//
// One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/cluster/table_spec.h"
#include "server/shard/optimizer.h"

namespace penstock {

class RowOracle {
 public:
  // Beyond, floats do not hold every whole number.
  static constexpr int64_t kExactFloats = 1 << 24;

  // Optimizers whose result can be checked, as the command line names them.
  static std::string Allowed();
  // kInvalidArgument, naming --optimizer: not one of them.
  static Result<OptimizerSpec> Spec(const std::string& optimizer);
  // What a push adds in column d; not the same everywhere, so that values in the wrong place are noticed.
  static float Pushed(uint32_t d) { return static_cast<float>(1 + (d & 1)); }
  // [dim], times `sign`.
  static std::vector<float> Gradient(uint32_t dim, int sign = 1);

  RowOracle(const OptimizerSpec& spec, uint32_t dim);
  // Sums: pushes of either sign cancel each other exactly.
  bool linear() const { return linear_; }
  // kInvalidArgument: a row with so many pushes cannot be told from one that lost a push.
  Status Prepare(int64_t pushes);
  // After Prepare of at least as many.
  float Value(int64_t pushes, uint32_t d) const {
    if (linear_) return Pushed(d) * static_cast<float>(sign_ * pushes);
    return values_[static_cast<size_t>(pushes) * kColumns + (d & (kColumns - 1))];
  }

 private:
  static constexpr uint32_t kColumns = 2;  // columns that are pushed the same hold the same
  void Step();

  const uint32_t dim_;
  const bool linear_;
  const int64_t sign_;  // of what a push adds, in linear ones
  Optimizer optimizer_;
  std::vector<float> gradient_, row_, slots_;
  std::vector<float> values_;  // [pushes + 1, kColumns]
};

}  // namespace penstock
