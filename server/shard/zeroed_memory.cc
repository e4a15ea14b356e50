// Heap blocks, pieces of the pool, and aligned anonymous mappings.
#include "server/shard/zeroed_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace penstock {
namespace {

constexpr size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

ZeroedMemory::ZeroedMemory(size_t bytes, size_t pool_bytes) {
  if (bytes == 0) return;
  if (bytes >= kHugePageBytes) {
    source_ = Source::kMapped;
    bytes_ = RoundUp(bytes, kHugePageBytes);
    data_ = MapHugePages(bytes_);
  } else if (bytes >= pool_bytes && bytes <= HugePool::kMaxBytes) {
    source_ = Source::kPool;
    bytes_ = RoundUp(bytes, 64);
    data_ = HugePool::OfProcess().Take(bytes_);
  } else {
    bytes_ = RoundUp(bytes, 64);
    data_ = static_cast<std::byte*>(std::aligned_alloc(64, bytes_));
    if (data_ != nullptr) std::memset(data_, 0, bytes_);
  }
  if (data_ == nullptr) bytes_ = 0;
}

ZeroedMemory::~ZeroedMemory() { Release(); }

ZeroedMemory::ZeroedMemory(ZeroedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      source_(other.source_) {}

ZeroedMemory& ZeroedMemory::operator=(ZeroedMemory&& other) noexcept {
  if (this != &other) {
    Release();
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    source_ = other.source_;
  }
  return *this;
}

void ZeroedMemory::Release() {
  if (data_ == nullptr) return;
  switch (source_) {
    case Source::kHeap:
      return std::free(data_);
    case Source::kPool:
      return HugePool::OfProcess().Give(data_, bytes_);
    case Source::kMapped:
      munmap(data_, bytes_);
  }
}

size_t ZeroedMemory::ResidentBytes(size_t used) const {
  return source_ == Source::kMapped ? std::min(RoundUp(used, kHugePageBytes), bytes_) : bytes_;
}

void ZeroedMemory::Trim(size_t used) {
  const size_t kept = RoundUp(used, kHugePageBytes);
  if (source_ == Source::kMapped && kept < bytes_) (void)madvise(data_ + kept, bytes_ - kept, MADV_DONTNEED);
}

}  // namespace penstock
