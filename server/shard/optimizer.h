// Optimizer: applies one pushed row to one stored row, as the table's OptimizerSpec says.
//
// A stored row is values[dim] and slots_per_value * dim optimizer slots, section by section: AdaGrad
// {h[dim]}, Adam {m[dim], v[dim]}, FTRL {z[dim], n[dim]}. Per element, g the pushed and w the stored value:
//   assign   w = g
//   add      w += g
//   sgd      w -= lr * (g + l2*w)
//   adagrad  g' = g + l2*w; h += g'^2; w -= lr * g' / (sqrt(h) + eps)          (torch.optim.Adagrad, lr_decay
//   0) adam     g' = g + l2*w; m += (1-b1)(g' - m); v = b2*v + (1-b2)*g'^2;
//            w -= lr * m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps)                    (torch.optim.Adam)
//            with t the row's own push count, because only touched rows are stepped
//   ftrl     McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013, Algorithm 1, alpha =
//   learning_rate:
//            s = (sqrt(n+g^2) - sqrt(n)) / alpha; z += g - s*w; n += g^2;
//            w = 0 if |z| <= l1, else -(z - sign(z)*l1) / ((beta + sqrt(n))/alpha + l2)
// Regularisation touches only rows that are pushed. FTRL's weight is a function of z and n, which start at 0:
// a row that begins at another value than 0 keeps it only until its first push, so use the `zeros`
// initializer with it.
//
// State is float32. Against the same recurrence in float64 the error stays below 1e-5 of the largest value
// over 1,000 steps of varying gradients; a sum of equal increments (add, sgd) may drift by half a unit in the
// last place a step.
//
// Not thread-safe: an Optimizer belongs to its table's thread (Adam keeps a cache of its bias corrections).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/cluster/table_spec.h"

namespace penstock {

class Optimizer {
 public:
  explicit Optimizer(const OptimizerSpec& spec) : spec_(spec) {}

  const OptimizerSpec& spec() const { return spec_; }
  // The slots of a row that was never pushed.
  void InitializeSlots(uint32_t dim, float* slots) const;
  // One step of one row. push_count counts this push, so it is at least 1. The three arrays do not overlap.
  void Apply(uint32_t push_count, const float* gradient, uint32_t dim, float* values, float* slots);
  size_t ResidentBytes() const { return corrections_.capacity() * sizeof(AdamCorrection); }

 private:
  struct AdamCorrection {
    float step;          // lr / (1 - b1^t)
    float inverse_root;  // 1 / sqrt(1 - b2^t)
  };
  AdamCorrection Correction(uint32_t push_count);
  AdamCorrection ComputeCorrection(uint32_t push_count) const;

  OptimizerSpec spec_;
  std::vector<AdamCorrection> corrections_;  // of push counts 1, 2, ...
};

}  // namespace penstock
