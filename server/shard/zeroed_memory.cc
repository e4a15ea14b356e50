// Heap blocks, pieces of the pool, and aligned anonymous mappings.
#include "server/shard/zeroed_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "server/shard/huge_pool.h"

namespace penstock {
namespace {

constexpr size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

// Maps one huge page more and gives back what does not fit the alignment.
std::byte* MapHugePages(size_t bytes) {
  const size_t wide = bytes + ZeroedMemory::kHugePageBytes;
  void* mapped =
      mmap(nullptr, wide, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t aligned = RoundUp(begin, ZeroedMemory::kHugePageBytes);
  if (aligned > begin) munmap(mapped, aligned - begin);
  const size_t behind = begin + wide - (aligned + bytes);
  if (behind > 0) munmap(reinterpret_cast<void*>(aligned + bytes), behind);
  auto* data = reinterpret_cast<std::byte*>(aligned);
  // A refusal only means ordinary pages.
  (void)madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

ZeroedMemory::ZeroedMemory(size_t bytes, size_t pool_bytes) {
  if (bytes == 0) return;
  if (bytes >= kHugeBytes) {
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
