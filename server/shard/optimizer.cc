// Chooses the kernel and its factors for one row.
#include "server/shard/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "server/shard/optimizer_kernels.h"

namespace penstock {
namespace {

// Bias corrections are remembered up to this push count (32 KiB a table), then computed.
constexpr uint32_t kRememberedCorrections = 4096;

}  // namespace

void Optimizer::InitializeSlots(uint32_t dim, float* slots) const {
  switch (spec_.kind) {
    case OptimizerKind::kAssign:
    case OptimizerKind::kAdd:
    case OptimizerKind::kSgd:
      return;
    case OptimizerKind::kAdagrad:
      std::fill_n(slots, dim, spec_.initial_accumulator);
      return;
    case OptimizerKind::kAdam:
    case OptimizerKind::kFtrl:
      std::fill_n(slots, 2 * size_t{dim}, 0.0f);
      return;
  }
}

void Optimizer::Apply(uint32_t push_count, const float* gradient, uint32_t dim, float* values, float* slots) {
  switch (spec_.kind) {
    case OptimizerKind::kAssign:
      std::memcpy(values, gradient, dim * sizeof(float));
      return;
    case OptimizerKind::kAdd:
      return AddKernel(gradient, dim, values);
    case OptimizerKind::kSgd:
      return SgdKernel(gradient, dim, spec_.learning_rate, spec_.l2, values);
    case OptimizerKind::kAdagrad:
      return AdagradKernel(gradient, dim, spec_.learning_rate, spec_.l2, spec_.epsilon, values, slots);
    case OptimizerKind::kAdam: {
      const AdamCorrection correction = Correction(push_count);
      // 1 - b2 from the float b2 as it is, so that the two weights sum to 1 and the correction divides by the
      // same.
      const AdamFactors factors = {spec_.l2,
                                   spec_.epsilon,
                                   static_cast<float>(1.0 - static_cast<double>(spec_.beta1)),
                                   spec_.beta2,
                                   static_cast<float>(1.0 - static_cast<double>(spec_.beta2)),
                                   correction.step,
                                   correction.inverse_root};
      return AdamKernel(gradient, dim, factors, values, slots, slots + dim);
    }
    case OptimizerKind::kFtrl: {
      const FtrlFactors factors = {spec_.l1, spec_.l2, spec_.beta, 1.0f / spec_.learning_rate};
      return FtrlKernel(gradient, dim, factors, values, slots, slots + dim);
    }
  }
}

Optimizer::AdamCorrection Optimizer::Correction(uint32_t push_count) {
  if (push_count > kRememberedCorrections) return ComputeCorrection(push_count);
  while (corrections_.size() < push_count) {
    corrections_.push_back(ComputeCorrection(static_cast<uint32_t>(corrections_.size()) + 1));
  }
  return corrections_[push_count - 1];
}

Optimizer::AdamCorrection Optimizer::ComputeCorrection(uint32_t push_count) const {
  const double power1 = std::pow(static_cast<double>(spec_.beta1), push_count);
  const double power2 = std::pow(static_cast<double>(spec_.beta2), push_count);
  return {static_cast<float>(spec_.learning_rate / (1 - power1)),
          static_cast<float>(1 / std::sqrt(1 - power2))};
}

}  // namespace penstock
