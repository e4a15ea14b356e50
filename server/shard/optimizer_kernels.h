// The arithmetic of each optimizer over one row; what it computes stands in optimizer.h.
//
// Compiled for several processors in one program, with the same results bit for bit on each
// (common/base/target_clones.h). Arrays must not overlap unless it is said; all have `dim` elements. True
// where all that is written is finite.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock {

bool AddKernel(const float* g, uint32_t dim, float* w);
bool SgdKernel(const float* g, uint32_t dim, float learning_rate, float l2, float* w);
bool AdagradKernel(const float* g, uint32_t dim, float learning_rate, float l2, float epsilon, float* w,
                   float* h);

struct MomentumFactors {
  float learning_rate, l2, momentum;
};
bool MomentumKernel(const float* g, uint32_t dim, const MomentumFactors& factors, float* w, float* m);
bool NesterovKernel(const float* g, uint32_t dim, const MomentumFactors& factors, float* w, float* m);

struct RmspropFactors {
  float learning_rate, l2;
  float beta2, one_minus_beta2;
  float epsilon;
};
bool RmspropKernel(const float* g, uint32_t dim, const RmspropFactors& factors, float* w, float* v);

struct AdamFactors {
  float l2;     // added to the gradient, times w
  float decay;  // and to the step, times w
  float epsilon;
  float one_minus_beta1;
  float beta2, one_minus_beta2;
  float step;          // Adam: learning rate / (1 - beta1^t). LAMB: 1 / (1 - beta1^t)
  float inverse_root;  // 1 / sqrt(1 - beta2^t)
};
bool AdamKernel(const float* g, uint32_t dim, const AdamFactors& factors, float* w, float* m, float* v);
// Leaves the step in u and w as it is.
bool LambKernel(const float* g, uint32_t dim, const AdamFactors& factors, const float* w, float* m, float* v,
                float* u);

struct AdamRowFactors {
  float l2;
  float one_minus_beta1;
  float step;  // all that the mean is multiplied with
};
bool AdamRowKernel(const float* g, uint32_t dim, const AdamRowFactors& factors, float* w, float* m);

struct FtrlFactors {
  float l1, l2, beta;
  float inverse_alpha;
};
bool FtrlKernel(const float* g, uint32_t dim, const FtrlFactors& factors, float* w, float* z, float* n);

// out = g cut to [-limit, limit], NaN left as it is. In place is fine.
void ClampKernel(const float* g, uint32_t dim, float limit, float* out);
// out = g * scale. In place is fine.
void ScaleKernel(const float* g, uint32_t dim, float scale, float* out);
// Sums in double of a^2, and of (g + l2*w)^2.
double SumSquares(const float* a, uint32_t dim);
double DecayedSumSquares(const float* g, const float* w, float l2, uint32_t dim);

// How many of the values are NaN or infinite.
size_t CountNonFinite(const float* values, size_t count);

}  // namespace penstock
