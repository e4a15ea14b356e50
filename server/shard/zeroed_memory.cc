// Heap blocks, and aligned anonymous mappings.
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

std::byte* Map(size_t bytes) {
  void* mapped =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  // Where huge pages are the default, one touched byte would cost 2 MiB.
  (void)madvise(mapped, bytes, MADV_NOHUGEPAGE);
  return static_cast<std::byte*>(mapped);
}

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

ZeroedMemory::ZeroedMemory(size_t bytes, size_t map_bytes) {
  if (bytes == 0) return;
  mapped_ = bytes >= std::min(map_bytes, kHugeBytes);
  if (mapped_) {
    const bool huge = bytes >= kHugeBytes;
    bytes_ = RoundUp(bytes, huge ? kHugePageBytes : 4096);
    data_ = huge ? MapAligned(bytes_) : Map(bytes_);
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
      mapped_(std::exchange(other.mapped_, false)) {}

ZeroedMemory& ZeroedMemory::operator=(ZeroedMemory&& other) noexcept {
  if (this != &other) {
    Release();
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    mapped_ = std::exchange(other.mapped_, false);
  }
  return *this;
}

void ZeroedMemory::Release() {
  if (data_ == nullptr) return;
  if (mapped_) {
    munmap(data_, bytes_);
  } else {
    std::free(data_);
  }
}

size_t ZeroedMemory::ResidentBytes(size_t used) const {
  if (!mapped_) return bytes_;
  return std::min(RoundUp(used, UnitBytes()), bytes_);
}

void ZeroedMemory::Trim(size_t used) {
  const size_t kept = RoundUp(used, UnitBytes());
  if (mapped_ && kept < bytes_) (void)madvise(data_ + kept, bytes_ - kept, MADV_DONTNEED);
}

}  // namespace penstock
