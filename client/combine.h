// CombineRows: rows of a push with the same key become one, so that a batch with many repeats (popular
// features, Zipf-distributed keys) costs what its distinct rows cost. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/base/ids.h"

namespace penstock {

enum class Combining {
  kSum,   // gradients, increments
  kLast,  // values to assign
};

struct CombinedRows {
  std::vector<Key> keys;         // distinct, in the order of their first places
  std::vector<float> values;     // [keys.size(), dim]
  std::vector<uint32_t> places;  // of each row that was given: which of these it went into
};

// values is [keys.size(), dim]; rows of one key are added in their order. False, with `out` untouched: the
// keys are distinct, or over 2^32 - 2 of them, which no push takes.
bool CombineRows(std::span<const Key> keys, std::span<const float> values, uint32_t dim, Combining how,
                 CombinedRows* out);

}  // namespace penstock
