// Optimizer: applies one pushed row to one stored row, as the table's OptimizerSpec and ScheduleSpec say.
//
// A stored row is values[dim] and the optimizer's slots, section by section: AdaGrad {h[dim]}, momentum and
// Nesterov {m[dim]}, RMSProp {v[dim]}, Adam, AdamW and LAMB {m[dim], v[dim]}, FTRL {z[dim], n[dim]}, row-wise
// AdaGrad {h}, row-wise Adam {m[dim], v}.
//
// The pushed row is clipped before anything else: each element to [-clip_value, clip_value], then the row is
// scaled down to the L2 norm clip_norm if its own is above (the clipped row's, for both at once). The
// learning rate lr is learning_rate times the schedule's factor at the step that the push carries, or at the
// row's own push count where it carries none. Per element, g the pushed (clipped) and w the stored value, and
// g' = g + l2*w:
//   assign   w = g
//   add      w += g
//   sgd      w -= lr * g'
//   momentum m = momentum*m + g'; w -= lr * m                                     (torch.optim.SGD, dampening
//   0) nesterov m = momentum*m + g'; w -= lr * (g' + momentum*m)                     (the same with nesterov)
//   adagrad  h += g'^2; w -= lr * g' / (sqrt(h) + eps)                            (torch.optim.Adagrad)
//   rmsprop  v = b2*v + (1-b2)*g'^2; w -= lr * g' / (sqrt(v) + eps)               (torch.optim.RMSprop, alpha
//   b2) adam     m += (1-b1)(g' - m); v = b2*v + (1-b2)*g'^2;
//            w -= lr * m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps)                      (torch.optim.Adam)
//            with t the row's own push count, because only touched rows are stepped
//   adamw    the same on g, and w -= lr*l2*w                                      (torch.optim.AdamW)
//   lamb     u = Adam's quotient on g, plus l2*w; w -= lr * |w|/|u| * u, norms over the row, the ratio 1
//   where
//            either is 0. You et al., "Large Batch Optimization for Deep Learning", ICLR 2020, Algorithm 2,
//            with a row in the place of a layer
//   adagrad_row  h += mean of g'^2 over the row; w -= lr * g' / (sqrt(h) + eps)
//   adam_row     as adam, with one v a row of the mean of g'^2
//   ftrl     McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013, Algorithm 1, alpha =
//            learning_rate:
//            s = (sqrt(n+g^2) - sqrt(n)) / alpha; z += g - s*w; n += g^2;
//            w = 0 if |z| <= l1, else -(z - sign(z)*l1) / ((beta + sqrt(n))/alpha + l2)
// Rows that are not pushed are not stepped: no regularisation, no decay of their momentum. FTRL's weight is a
// function of z and n, which start at 0, so its tables start at zeros and have no schedule.
//
// State is float32. Against the same recurrence in float64 the error stays below 1e-5 of the largest value
// over 1,000 steps of varying gradients; a sum of equal increments (add, sgd) may drift by half a unit in the
// last place a step.
//
// Not thread-safe: an Optimizer belongs to its table's thread (it keeps scratch and a cache of corrections).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/cluster/table_spec.h"

namespace penstock {

class Optimizer {
 public:
  // Both are valid together (TableSpec::Validate).
  explicit Optimizer(const OptimizerSpec& spec, const ScheduleSpec& schedule = {});

  const OptimizerSpec& spec() const { return spec_; }
  // The slots of a row that was never pushed.
  void InitializeSlots(uint32_t dim, float* slots) const;
  // One step of one row. push_count counts this push, so it is at least 1. `step` is the job's, for the
  // schedule; 0: push_count takes its place. The three arrays do not overlap. False when the step has left a
  // value or slot that is NaN or infinite.
  bool Apply(uint32_t push_count, uint64_t step, const float* gradient, uint32_t dim, float* values,
             float* slots);
  size_t ResidentBytes() const {
    return corrections_.capacity() * sizeof(Correction) + scratch_.capacity() * sizeof(float);
  }

 private:
  struct Correction {    // Adam's, at one push count
    float first;         // 1 / (1 - b1^t)
    float inverse_root;  // 1 / sqrt(1 - b2^t)
  };

  float LearningRate(uint32_t push_count, uint64_t step);
  const float* Clip(const float* gradient, uint32_t dim);
  Correction CorrectionAt(uint32_t push_count);
  Correction ComputeCorrection(uint32_t push_count) const;
  bool ApplyAdam(uint32_t push_count, float learning_rate, const float* g, uint32_t dim, float* w, float* m,
                 float* v);
  bool ApplyLamb(uint32_t push_count, float learning_rate, const float* g, uint32_t dim, float* w, float* m,
                 float* v);
  bool ApplyAdagradRow(float learning_rate, const float* g, uint32_t dim, float* w, float* h) const;
  bool ApplyAdamRow(uint32_t push_count, float learning_rate, const float* g, uint32_t dim, float* w,
                    float* m, float* v);

  const OptimizerSpec spec_;
  const ScheduleSpec schedule_;
  const bool clips_;
  const bool scheduled_;
  const float one_minus_beta1_, one_minus_beta2_;
  uint64_t rate_step_ = 0;  // where rate_ was computed; most rows of a push ask for the same
  float rate_ = 0;
  std::vector<Correction> corrections_;  // of push counts 1, 2, ...
  std::vector<float> scratch_;           // a clipped row, and behind it LAMB's step
};

}  // namespace penstock
