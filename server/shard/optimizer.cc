// Chooses the kernel and its factors for one row.
#include "server/shard/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "server/shard/optimizer_kernels.h"
#include "server/shard/schedule.h"

namespace penstock {
namespace {

// Bias corrections are remembered up to this push count (32 KiB a table), then computed.
constexpr uint32_t kRememberedCorrections = 4096;

// 1 - b from the float b as it is, so that the two weights of a mean sum to 1 and the bias correction divides
// by the same.
float OneMinus(float b) { return static_cast<float>(1.0 - static_cast<double>(b)); }

}  // namespace

Optimizer::Optimizer(const OptimizerSpec& spec, const ScheduleSpec& schedule)
    : spec_(spec),
      schedule_(schedule),
      clips_(spec.clip_value > 0 || spec.clip_norm > 0),
      scheduled_(schedule != ScheduleSpec{}),
      one_minus_beta1_(OneMinus(spec.beta1)),
      one_minus_beta2_(OneMinus(spec.beta2)) {}

void Optimizer::InitializeSlots(uint32_t dim, float* slots) const {
  switch (spec_.kind) {
    case OptimizerKind::kAssign:
    case OptimizerKind::kAdd:
    case OptimizerKind::kSgd:
      return;
    case OptimizerKind::kAdagrad:
      std::fill_n(slots, dim, spec_.initial_accumulator);
      return;
    case OptimizerKind::kAdagradRow:
      *slots = spec_.initial_accumulator;
      return;
    case OptimizerKind::kMomentum:
    case OptimizerKind::kNesterov:
    case OptimizerKind::kRmsprop:
      std::fill_n(slots, dim, 0.0f);
      return;
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamw:
    case OptimizerKind::kLamb:
    case OptimizerKind::kFtrl:
      std::fill_n(slots, 2 * size_t{dim}, 0.0f);
      return;
    case OptimizerKind::kAdamRow:
      std::fill_n(slots, size_t{dim} + 1, 0.0f);
      return;
  }
}

bool Optimizer::Apply(uint32_t push_count, uint64_t step, const float* gradient, uint32_t dim, float* values,
                      float* slots) {
  const float* g = clips_ ? Clip(gradient, dim) : gradient;
  const float rate = LearningRate(push_count, step);
  switch (spec_.kind) {
    case OptimizerKind::kAssign:
      std::memcpy(values, g, dim * sizeof(float));
      return CountNonFinite(values, dim) == 0;
    case OptimizerKind::kAdd:
      return AddKernel(g, dim, values);
    case OptimizerKind::kSgd:
      return SgdKernel(g, dim, rate, spec_.l2, values);
    case OptimizerKind::kMomentum:
      return MomentumKernel(g, dim, {rate, spec_.l2, spec_.momentum}, values, slots);
    case OptimizerKind::kNesterov:
      return NesterovKernel(g, dim, {rate, spec_.l2, spec_.momentum}, values, slots);
    case OptimizerKind::kAdagrad:
      return AdagradKernel(g, dim, rate, spec_.l2, spec_.epsilon, values, slots);
    case OptimizerKind::kRmsprop:
      return RmspropKernel(g, dim, {rate, spec_.l2, spec_.beta2, one_minus_beta2_, spec_.epsilon}, values,
                           slots);
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamw:
      return ApplyAdam(push_count, rate, g, dim, values, slots, slots + dim);
    case OptimizerKind::kLamb:
      return ApplyLamb(push_count, rate, g, dim, values, slots, slots + dim);
    case OptimizerKind::kAdagradRow:
      return ApplyAdagradRow(rate, g, dim, values, slots);
    case OptimizerKind::kAdamRow:
      return ApplyAdamRow(push_count, rate, g, dim, values, slots, slots + dim);
    case OptimizerKind::kFtrl:
      return FtrlKernel(g, dim, {spec_.l1, spec_.l2, spec_.beta, 1.0f / rate}, values, slots, slots + dim);
  }
  return true;  // no other kind
}

float Optimizer::LearningRate(uint32_t push_count, uint64_t step) {
  if (!scheduled_) return spec_.learning_rate;
  if (step == 0) step = push_count;
  if (step != rate_step_) {
    rate_step_ = step;
    rate_ = static_cast<float>(spec_.learning_rate * ScheduleFactor(schedule_, step));
  }
  return rate_;
}

const float* Optimizer::Clip(const float* gradient, uint32_t dim) {
  if (scratch_.size() < dim) scratch_.resize(dim);
  float* clipped = scratch_.data();
  if (spec_.clip_value > 0) {
    ClampKernel(gradient, dim, spec_.clip_value, clipped);
    gradient = clipped;
  }
  if (spec_.clip_norm > 0) {
    const double norm = std::sqrt(SumSquares(gradient, dim));
    if (norm > spec_.clip_norm) {
      ScaleKernel(gradient, dim, static_cast<float>(spec_.clip_norm / norm), clipped);
      gradient = clipped;
    }
  }
  return gradient;
}

bool Optimizer::ApplyAdam(uint32_t push_count, float learning_rate, const float* g, uint32_t dim, float* w,
                          float* m, float* v) {
  const bool decoupled = spec_.kind == OptimizerKind::kAdamw;
  const Correction correction = CorrectionAt(push_count);
  return AdamKernel(g, dim,
                    {.l2 = decoupled ? 0 : spec_.l2,
                     .decay = decoupled ? learning_rate * spec_.l2 : 0,
                     .epsilon = spec_.epsilon,
                     .one_minus_beta1 = one_minus_beta1_,
                     .beta2 = spec_.beta2,
                     .one_minus_beta2 = one_minus_beta2_,
                     .step = learning_rate * correction.first,
                     .inverse_root = correction.inverse_root},
                    w, m, v);
}

bool Optimizer::ApplyLamb(uint32_t push_count, float learning_rate, const float* g, uint32_t dim, float* w,
                          float* m, float* v) {
  // The clipped row, if any, is at the front.
  const bool clipped = g == scratch_.data();
  if (scratch_.size() < 2 * size_t{dim}) scratch_.resize(2 * size_t{dim});
  if (clipped) g = scratch_.data();
  float* u = scratch_.data() + dim;
  const Correction correction = CorrectionAt(push_count);
  const bool slots_finite = LambKernel(g, dim,
                                       {.l2 = 0,
                                        .decay = spec_.l2,
                                        .epsilon = spec_.epsilon,
                                        .one_minus_beta1 = one_minus_beta1_,
                                        .beta2 = spec_.beta2,
                                        .one_minus_beta2 = one_minus_beta2_,
                                        .step = correction.first,
                                        .inverse_root = correction.inverse_root},
                                       w, m, v, u);
  const double row = std::sqrt(SumSquares(w, dim)), step = std::sqrt(SumSquares(u, dim));
  const double ratio = row > 0 && step > 0 ? row / step : 1;
  return SgdKernel(u, dim, static_cast<float>(learning_rate * ratio), /*l2=*/0, w) && slots_finite;
}

bool Optimizer::ApplyAdagradRow(float learning_rate, const float* g, uint32_t dim, float* w, float* h) const {
  *h = static_cast<float>(*h + DecayedSumSquares(g, w, spec_.l2, dim) / dim);
  const float root = std::sqrt(*h) + spec_.epsilon;
  // Where neither gradient nor epsilon says anything the gradient is 0, and so is the step.
  return SgdKernel(g, dim, learning_rate / (root > 0 ? root : 1.0f), spec_.l2, w) && std::isfinite(*h);
}

bool Optimizer::ApplyAdamRow(uint32_t push_count, float learning_rate, const float* g, uint32_t dim, float* w,
                             float* m, float* v) {
  const Correction correction = CorrectionAt(push_count);
  const double mean = DecayedSumSquares(g, w, spec_.l2, dim) / dim;
  *v = static_cast<float>(static_cast<double>(spec_.beta2) * *v +
                          (1.0 - static_cast<double>(spec_.beta2)) * mean);
  const float root = std::sqrt(*v) * correction.inverse_root + spec_.epsilon;
  const bool others_finite =
      AdamRowKernel(g, dim,
                    {.l2 = spec_.l2,
                     .one_minus_beta1 = one_minus_beta1_,
                     .step = learning_rate * correction.first / (root > 0 ? root : 1.0f)},
                    w, m);
  return others_finite && std::isfinite(*v);
}

Optimizer::Correction Optimizer::CorrectionAt(uint32_t push_count) {
  if (push_count > kRememberedCorrections) return ComputeCorrection(push_count);
  while (corrections_.size() < push_count) {
    corrections_.push_back(ComputeCorrection(static_cast<uint32_t>(corrections_.size()) + 1));
  }
  return corrections_[push_count - 1];
}

Optimizer::Correction Optimizer::ComputeCorrection(uint32_t push_count) const {
  const double power1 = std::pow(static_cast<double>(spec_.beta1), push_count);
  const double power2 = std::pow(static_cast<double>(spec_.beta2), push_count);
  return {static_cast<float>(1 / (1 - power1)), static_cast<float>(1 / std::sqrt(1 - power2))};
}

}  // namespace penstock
