// ZeroedMemory: an owned block of zeroed bytes for row slabs and indexes, on huge pages when it is large.
//
// Small blocks come from the heap, so that hundreds of nearly empty tables stay tiny, and from a size that
// the caller says on from the HugePool. Those of kHugePageBytes and more are mapped at that alignment with
// MADV_HUGEPAGE; where the kernel has none, ordinary pages serve as well. Huge pages of a mapped block that
// were never touched cost no memory, and Trim gives touched ones back.
#pragma once

#include <cstddef>

#include "server/shard/huge_pool.h"

namespace penstock {

class ZeroedMemory {
 public:
  ZeroedMemory() = default;
  // Allocates `bytes` bytes, 64-byte aligned; from `pool_bytes` bytes on of the HugePool. data() is nullptr
  // when there is no memory.
  explicit ZeroedMemory(size_t bytes, size_t pool_bytes = kHugePageBytes);
  ~ZeroedMemory();
  ZeroedMemory(ZeroedMemory&& other) noexcept;
  ZeroedMemory& operator=(ZeroedMemory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  // What the block costs when only its first `used` bytes were touched.
  size_t ResidentBytes(size_t used) const;
  // Gives back what lies behind the first `used` bytes, as far as it is whole pages of a mapped block. The
  // rest is to be taken as undefined.
  void Trim(size_t used);

 private:
  enum class Source { kHeap, kPool, kMapped };

  void Release();

  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  Source source_ = Source::kHeap;
};

}  // namespace penstock
