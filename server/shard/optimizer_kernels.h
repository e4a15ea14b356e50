// The arithmetic of each optimizer over one row; what it computes stands in optimizer.h.
//
// Compiled with -O3 and without errno and trapping math, and for AVX-512, AVX2 and plain x86-64 in one
// program. Arrays must not overlap; all have `dim` elements.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock {

void AddKernel(const float* g, uint32_t dim, float* w);
void SgdKernel(const float* g, uint32_t dim, float learning_rate, float l2, float* w);
void AdagradKernel(const float* g, uint32_t dim, float learning_rate, float l2, float epsilon, float* w,
                   float* h);

struct AdamFactors {
  float l2, epsilon;
  float one_minus_beta1;
  float beta2, one_minus_beta2;
  float step;          // learning rate / (1 - beta1^t)
  float inverse_root;  // 1 / sqrt(1 - beta2^t)
};
void AdamKernel(const float* g, uint32_t dim, const AdamFactors& factors, float* w, float* m, float* v);

struct FtrlFactors {
  float l1, l2, beta;
  float inverse_alpha;
};
void FtrlKernel(const float* g, uint32_t dim, const FtrlFactors& factors, float* w, float* z, float* n);

// How many of the values are NaN or infinite.
size_t CountNonFinite(const float* values, size_t count);

}  // namespace penstock
