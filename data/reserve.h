// ReserveLarge: room in a vector that is filled from its begin to somewhere, on huge pages where it is large.
//
// What is not filled costs address space only. First touch of ordinary pages takes longer than the parsing of
// text; where the kernel has no huge pages they serve as well.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace penstock {

template <typename T>
void ReserveLarge(size_t count, std::vector<T>* vector) {
  constexpr uintptr_t kHugePage = uintptr_t{2} << 20;
  vector->reserve(count);
  const auto first = reinterpret_cast<uintptr_t>(vector->data());
  const uintptr_t begin = (first + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (first + count * sizeof(T)) / kHugePage * kHugePage;
  if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

}  // namespace penstock
