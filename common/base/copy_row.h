// CopyRow: a row of floats from one place to another. Rows are short and many, so that a call of memcpy,
// whose length nobody knows beforehand, would cost as much as the copying.
#pragma once

#include <cstddef>
#include <cstring>

namespace penstock {

// The two do not overlap.
inline void CopyRow(const float* from, size_t dim, float* to) {
  constexpr size_t kBlock = 16;
  constexpr size_t kLong = 512;  // from here on memcpy has the better loop
  if (dim >= kLong) {
    std::memcpy(to, from, dim * sizeof(float));
    return;
  }
  for (; dim >= kBlock; dim -= kBlock, from += kBlock, to += kBlock)
    std::memcpy(to, from, kBlock * sizeof(float));
  for (; dim > 0; --dim) *to++ = *from++;
}

}  // namespace penstock
