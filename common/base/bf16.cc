// Loops over ToBf16 and FromBf16 that the compiler vectorises for each processor.
#include "common/base/bf16.h"

#include "common/base/target_clones.h"

namespace penstock {
namespace {

// The clones are plain functions of their own, out of reach of other files.
PENSTOCK_TARGET_CLONES void ToBf16Loop(const float* __restrict from, size_t count, uint16_t* __restrict to) {
  for (size_t i = 0; i < count; ++i) to[i] = ToBf16(from[i]);
}

PENSTOCK_TARGET_CLONES void FromBf16Loop(const uint16_t* __restrict from, size_t count,
                                         float* __restrict to) {
  for (size_t i = 0; i < count; ++i) to[i] = FromBf16(from[i]);
}

}  // namespace

void ToBf16Long(const float* from, size_t count, uint16_t* to) { ToBf16Loop(from, count, to); }

void FromBf16Long(const uint16_t* from, size_t count, float* to) { FromBf16Loop(from, count, to); }

}  // namespace penstock
