// Loops that the compiler vectorises for each processor.
#include "server/shard/optimizer_kernels.h"

#include <bit>
#include <cfloat>
#include <cmath>

// Clones are chosen by the loader before a sanitizer's runtime is set up, so sanitized builds have one
// version.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PENSTOCK_KERNEL __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PENSTOCK_KERNEL
#endif

namespace penstock {

PENSTOCK_KERNEL void AddKernel(const float* __restrict g, uint32_t dim, float* __restrict w) {
  for (uint32_t i = 0; i < dim; ++i) w[i] += g[i];
}

PENSTOCK_KERNEL void SgdKernel(const float* __restrict g, uint32_t dim, float learning_rate, float l2,
                               float* __restrict w) {
  for (uint32_t i = 0; i < dim; ++i) w[i] -= learning_rate * (g[i] + l2 * w[i]);
}

PENSTOCK_KERNEL void AdagradKernel(const float* __restrict g, uint32_t dim, float learning_rate, float l2,
                                   float epsilon, float* __restrict w, float* __restrict h) {
  for (uint32_t i = 0; i < dim; ++i) {
    const float gradient = g[i] + l2 * w[i];
    const float sum = h[i] + gradient * gradient;
    // 0 / 0 where neither gradient nor epsilon says anything: the step is 0.
    const float root = std::sqrt(sum) + epsilon;
    h[i] = sum;
    w[i] -= learning_rate * gradient / (root > 0 ? root : 1.0f);
  }
}

PENSTOCK_KERNEL void AdamKernel(const float* __restrict g, uint32_t dim, const AdamFactors& factors,
                                float* __restrict w, float* __restrict m, float* __restrict v) {
  const AdamFactors f = factors;
  for (uint32_t i = 0; i < dim; ++i) {
    const float gradient = g[i] + f.l2 * w[i];
    const float mean = m[i] + f.one_minus_beta1 * (gradient - m[i]);
    const float square = f.beta2 * v[i] + f.one_minus_beta2 * gradient * gradient;
    const float root = std::sqrt(square) * f.inverse_root + f.epsilon;
    m[i] = mean;
    v[i] = square;
    w[i] -= f.step * mean / (root > 0 ? root : 1.0f);
  }
}

PENSTOCK_KERNEL void FtrlKernel(const float* __restrict g, uint32_t dim, const FtrlFactors& factors,
                                float* __restrict w, float* __restrict z, float* __restrict n) {
  const FtrlFactors f = factors;
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
    w[i] = size > 0 ? -std::copysign(size, lead) / (denominator > 0 ? denominator : 1.0f) : 0.0f;
  }
}

PENSTOCK_KERNEL size_t CountNonFinite(const float* values, size_t count) {
  size_t found = 0;
  // Blocks of a size that a 32-bit counter holds, which is what vectorises.
  while (count > 0) {
    const size_t block = count < (size_t{1} << 20) ? count : size_t{1} << 20;
    uint32_t here = 0;
    for (size_t i = 0; i < block; ++i) {
      // Of the integer pattern: an all-ones exponent. Shifting the sign out makes it one unsigned comparison.
      here += (std::bit_cast<uint32_t>(values[i]) << 1) >= 0xff000000u;
    }
    found += here;
    values += block;
    count -= block;
  }
  return found;
}

}  // namespace penstock
