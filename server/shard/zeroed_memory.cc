// Heap blocks below kMapBytes, aligned anonymous mappings from there.
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

// Maps `bytes` (a multiple of the huge page) at huge-page alignment: maps one page more and gives the rest
// back.
std::byte* MapAligned(size_t bytes) {
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

}  // namespace

ZeroedMemory::ZeroedMemory(size_t bytes) {
  if (bytes == 0) return;
  if (bytes >= kMapBytes) {
    bytes_ = RoundUp(bytes, kHugePageBytes);
    data_ = MapAligned(bytes_);
  } else {
    bytes_ = RoundUp(bytes, 64);
    data_ = static_cast<std::byte*>(std::aligned_alloc(64, bytes_));
    if (data_ != nullptr) std::memset(data_, 0, bytes_);
  }
  if (data_ == nullptr) bytes_ = 0;
}

ZeroedMemory::~ZeroedMemory() { Release(); }

ZeroedMemory::ZeroedMemory(ZeroedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

ZeroedMemory& ZeroedMemory::operator=(ZeroedMemory&& other) noexcept {
  if (this != &other) {
    Release();
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

void ZeroedMemory::Release() {
  if (data_ == nullptr) return;
  if (bytes_ >= kMapBytes) {
    munmap(data_, bytes_);
  } else {
    std::free(data_);
  }
}

size_t ZeroedMemory::ResidentBytes(size_t used) const {
  if (bytes_ < kMapBytes) return bytes_;
  return std::min(RoundUp(used, kHugePageBytes), bytes_);
}

}  // namespace penstock
