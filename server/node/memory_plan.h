// MemoryPlan: what a server may use its memory for.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/base/machine.h"

namespace penstock {

// The budget is what rows, indexes, filters and marks take; the other
// figures are in proportion to it.
struct MemoryPlan {
  uint64_t rows = 0;                         // the budget
  uint64_t loaded = 0;                       // of it, at a start
  uint64_t block_cache = 0;                  // of the base
  uint64_t fold_images = 0, fold_index = 0;  // buffers of a fold
};

inline MemoryPlan PlanMemory(uint64_t budget) {
  if (budget == 0) budget = MachineMemoryBytes() / 2;
  const uint64_t eighth = std::max<uint64_t>(budget / 8, 4 << 20);
  return {.rows = budget,
          .loaded = budget / 4 * 3,
          .block_cache = eighth,
          .fold_images = std::min<uint64_t>(eighth / 2, 256 << 20),
          .fold_index = std::min<uint64_t>(eighth, 512 << 20)};
}

}  // namespace penstock
