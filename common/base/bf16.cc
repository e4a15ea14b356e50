// Loops over ToBf16 and FromBf16 that the compiler vectorises for each processor.
#include "common/base/bf16.h"

#include "common/base/target_clones.h"

namespace penstock {
namespace {

// The clones are plain functions of their own: a cloned one is never inlined, and takes no span by value
// well.
PENSTOCK_TARGET_CLONES void ToBf16Loop(const float* __restrict from, size_t count, uint16_t* __restrict to) {
  for (size_t i = 0; i < count; ++i) to[i] = ToBf16(from[i]);
}

PENSTOCK_TARGET_CLONES void FromBf16Loop(const uint16_t* __restrict from, size_t count,
                                         float* __restrict to) {
  for (size_t i = 0; i < count; ++i) to[i] = FromBf16(from[i]);
}

}  // namespace

void ToBf16(std::span<const float> from, uint16_t* to) { ToBf16Loop(from.data(), from.size(), to); }

void FromBf16(std::span<const uint16_t> from, float* to) { FromBf16Loop(from.data(), from.size(), to); }

}  // namespace penstock
