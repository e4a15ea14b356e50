// ZeroedMemory: an owned block of zeroed bytes for row slabs and indexes, on huge pages when it is large.
//
// Small blocks come from the heap, so that hundreds of nearly empty tables stay tiny. Blocks of kMapBytes and
// more are mapped at 2 MiB alignment with MADV_HUGEPAGE; where the kernel has none, ordinary pages serve as
// well. Pages of a mapped block that were never touched cost no memory.
#pragma once

#include <cstddef>

namespace penstock {

class ZeroedMemory {
 public:
  static constexpr size_t kHugePageBytes = size_t{2} << 20;
  static constexpr size_t kMapBytes = 2 * kHugePageBytes;

  ZeroedMemory() = default;
  // Allocates `bytes` bytes, 64-byte aligned. data() is nullptr when there is no memory.
  explicit ZeroedMemory(size_t bytes);
  ~ZeroedMemory();
  ZeroedMemory(ZeroedMemory&& other) noexcept;
  ZeroedMemory& operator=(ZeroedMemory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  // What the block costs when only its first `used` bytes were touched.
  size_t ResidentBytes(size_t used) const;

 private:
  void Release();

  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace penstock
