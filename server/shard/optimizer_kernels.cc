// Loops that the compiler vectorises for each processor.
#include "server/shard/optimizer_kernels.h"

#include <cfloat>
#include <cmath>

#include "common/base/not_finite.h"
#include "common/base/target_clones.h"

namespace penstock {

PENSTOCK_TARGET_CLONES bool AddKernel(const float* __restrict g, uint32_t dim, float* __restrict w) {
  uint32_t not_finite = 0;
  for (uint32_t i = 0; i < dim; ++i) {
    const float weight = w[i] + g[i];
    not_finite |= NotFiniteBit(weight);
    w[i] = weight;
  }
  return !HasNotFinite(not_finite);
}

PENSTOCK_TARGET_CLONES bool SgdKernel(const float* __restrict g, uint32_t dim, float learning_rate, float l2,
                                      float* __restrict w) {
  uint32_t not_finite = 0;
  for (uint32_t i = 0; i < dim; ++i) {
    const float weight = w[i] - learning_rate * (g[i] + l2 * w[i]);
    not_finite |= NotFiniteBit(weight);
    w[i] = weight;
  }
  return !HasNotFinite(not_finite);
}

PENSTOCK_TARGET_CLONES bool AdagradKernel(const float* __restrict g, uint32_t dim, float learning_rate,
                                          float l2, float epsilon, float* __restrict w, float* __restrict h) {
  uint32_t not_finite = 0;
  for (uint32_t i = 0; i < dim; ++i) {
    const float gradient = g[i] + l2 * w[i];
    const float sum = h[i] + gradient * gradient;
    // 0 / 0 where neither gradient nor epsilon says anything: the step is 0.
    const float root = std::sqrt(sum) + epsilon;
    h[i] = sum;
    const float weight = w[i] - learning_rate * gradient / (root > 0 ? root : 1.0f);
    not_finite |= NotFiniteBit(weight) | NotFiniteBit(sum);
    w[i] = weight;
  }
  return !HasNotFinite(not_finite);
}

PENSTOCK_TARGET_CLONES bool MomentumKernel(const float* __restrict g, uint32_t dim,
                                           const MomentumFactors& factors, float* __restrict w,
                                           float* __restrict m) {
  const MomentumFactors f = factors;
  uint32_t not_finite = 0;
  for (uint32_t i = 0; i < dim; ++i) {
    const float velocity = f.momentum * m[i] + (g[i] + f.l2 * w[i]);
    m[i] = velocity;
    const float weight = w[i] - f.learning_rate * velocity;
    not_finite |= NotFiniteBit(weight) | NotFiniteBit(velocity);
    w[i] = weight;
  }
  return !HasNotFinite(not_finite);
}

PENSTOCK_TARGET_CLONES bool NesterovKernel(const float* __restrict g, uint32_t dim,
                                           const MomentumFactors& factors, float* __restrict w,
                                           float* __restrict m) {
  const MomentumFactors f = factors;
  uint32_t not_finite = 0;
  for (uint32_t i = 0; i < dim; ++i) {
    const float gradient = g[i] + f.l2 * w[i];
    const float velocity = f.momentum * m[i] + gradient;
    m[i] = velocity;
    const float weight = w[i] - f.learning_rate * (gradient + f.momentum * velocity);
    not_finite |= NotFiniteBit(weight) | NotFiniteBit(velocity);
    w[i] = weight;
  }
  return !HasNotFinite(not_finite);
}

PENSTOCK_TARGET_CLONES bool RmspropKernel(const float* __restrict g, uint32_t dim,
                                          const RmspropFactors& factors, float* __restrict w,
                                          float* __restrict v) {
  const RmspropFactors f = factors;
  uint32_t not_finite = 0;
  for (uint32_t i = 0; i < dim; ++i) {
    const float gradient = g[i] + f.l2 * w[i];
    const float square = f.beta2 * v[i] + f.one_minus_beta2 * gradient * gradient;
    const float root = std::sqrt(square) + f.epsilon;
    v[i] = square;
    const float weight = w[i] - f.learning_rate * gradient / (root > 0 ? root : 1.0f);
    not_finite |= NotFiniteBit(weight) | NotFiniteBit(square);
    w[i] = weight;
  }
  return !HasNotFinite(not_finite);
}

PENSTOCK_TARGET_CLONES bool AdamKernel(const float* __restrict g, uint32_t dim, const AdamFactors& factors,
                                       float* __restrict w, float* __restrict m, float* __restrict v) {
  const AdamFactors f = factors;
  uint32_t not_finite = 0;
  for (uint32_t i = 0; i < dim; ++i) {
    const float gradient = g[i] + f.l2 * w[i];
    const float mean = m[i] + f.one_minus_beta1 * (gradient - m[i]);
    const float square = f.beta2 * v[i] + f.one_minus_beta2 * gradient * gradient;
    const float root = std::sqrt(square) * f.inverse_root + f.epsilon;
    m[i] = mean;
    v[i] = square;
    const float weight = w[i] - (f.decay * w[i] + f.step * mean / (root > 0 ? root : 1.0f));
    not_finite |= NotFiniteBit(weight) | NotFiniteBit(mean) | NotFiniteBit(square);
    w[i] = weight;
  }
  return !HasNotFinite(not_finite);
}

PENSTOCK_TARGET_CLONES bool LambKernel(const float* __restrict g, uint32_t dim, const AdamFactors& factors,
                                       const float* __restrict w, float* __restrict m, float* __restrict v,
                                       float* __restrict u) {
  const AdamFactors f = factors;
  uint32_t not_finite = 0;
  for (uint32_t i = 0; i < dim; ++i) {
    const float gradient = g[i] + f.l2 * w[i];
    const float mean = m[i] + f.one_minus_beta1 * (gradient - m[i]);
    const float square = f.beta2 * v[i] + f.one_minus_beta2 * gradient * gradient;
    const float root = std::sqrt(square) * f.inverse_root + f.epsilon;
    m[i] = mean;
    v[i] = square;
    not_finite |= NotFiniteBit(mean) | NotFiniteBit(square);
    u[i] = f.decay * w[i] + f.step * mean / (root > 0 ? root : 1.0f);
  }
  return !HasNotFinite(not_finite);
}

PENSTOCK_TARGET_CLONES bool AdamRowKernel(const float* __restrict g, uint32_t dim,
                                          const AdamRowFactors& factors, float* __restrict w,
                                          float* __restrict m) {
  const AdamRowFactors f = factors;
  uint32_t not_finite = 0;
  for (uint32_t i = 0; i < dim; ++i) {
    const float mean = m[i] + f.one_minus_beta1 * (g[i] + f.l2 * w[i] - m[i]);
    m[i] = mean;
    const float weight = w[i] - f.step * mean;
    not_finite |= NotFiniteBit(weight) | NotFiniteBit(mean);
    w[i] = weight;
  }
  return !HasNotFinite(not_finite);
}

PENSTOCK_TARGET_CLONES bool FtrlKernel(const float* __restrict g, uint32_t dim, const FtrlFactors& factors,
                                       float* __restrict w, float* __restrict z, float* __restrict n) {
  const FtrlFactors f = factors;
  uint32_t not_finite = 0;
  for (uint32_t i = 0; i < dim; ++i) {
    const float square = g[i] * g[i];
    const float sum = n[i] + square;
    const float root = std::sqrt(sum);
    // (sqrt(n+g^2) - sqrt(n)) / alpha without the cancellation; the smallest float keeps 0/0 at 0.
    const float sigma = square / (root + std::sqrt(n[i]) + FLT_MIN) * f.inverse_alpha;
    const float lead = z[i] + (g[i] - sigma * w[i]);
    const float size = std::fabs(lead) - f.l1;
    const float denominator = (f.beta + root) * f.inverse_alpha + f.l2;
    n[i] = sum;
    z[i] = lead;
    const float weight =
        size > 0 ? -std::copysign(size, lead) / (denominator > 0 ? denominator : 1.0f) : 0.0f;
    not_finite |= NotFiniteBit(weight) | NotFiniteBit(lead) | NotFiniteBit(sum);
    w[i] = weight;
  }
  return !HasNotFinite(not_finite);
}

PENSTOCK_TARGET_CLONES void ClampKernel(const float* g, uint32_t dim, float limit, float* out) {
  for (uint32_t i = 0; i < dim; ++i) out[i] = g[i] > limit ? limit : g[i] < -limit ? -limit : g[i];
}

PENSTOCK_TARGET_CLONES void ScaleKernel(const float* g, uint32_t dim, float scale, float* out) {
  for (uint32_t i = 0; i < dim; ++i) out[i] = g[i] * scale;
}

// Sums are kept in lanes, because a compiler may not reorder a sum to vectorise it; in double, so that they
// do not overflow.
constexpr uint32_t kLanes = 8;

PENSTOCK_TARGET_CLONES double SumSquares(const float* a, uint32_t dim) {
  double lanes[kLanes] = {};
  uint32_t first = 0;
  for (; first + kLanes <= dim; first += kLanes) {
    for (uint32_t i = 0; i < kLanes; ++i) {
      const double value = a[first + i];
      lanes[i] += value * value;
    }
  }
  for (uint32_t i = 0; first + i < dim; ++i) {
    const double value = a[first + i];
    lanes[i] += value * value;
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

PENSTOCK_TARGET_CLONES double DecayedSumSquares(const float* g, const float* w, float l2, uint32_t dim) {
  double lanes[kLanes] = {};
  uint32_t first = 0;
  for (; first + kLanes <= dim; first += kLanes) {
    for (uint32_t i = 0; i < kLanes; ++i) {
      const double value = g[first + i] + l2 * w[first + i];
      lanes[i] += value * value;
    }
  }
  for (uint32_t i = 0; first + i < dim; ++i) {
    const double value = g[first + i] + l2 * w[first + i];
    lanes[i] += value * value;
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

PENSTOCK_TARGET_CLONES size_t CountNonFinite(const float* values, size_t count) {
  size_t found = 0;
  // Blocks of a size that a 32-bit counter holds, which is what vectorises.
  while (count > 0) {
    const size_t block = count < (size_t{1} << 20) ? count : size_t{1} << 20;
    uint32_t here = 0;
    for (size_t i = 0; i < block; ++i) here += NotFiniteBit(values[i]) >> 31;
    found += here;
    values += block;
    count -= block;
  }
  return found;
}

}  // namespace penstock
