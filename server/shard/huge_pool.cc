#include "server/shard/huge_pool.h"

#include <sys/mman.h>

#include <cstring>

namespace penstock {
namespace {

constexpr size_t kPage = 4096;

std::byte* BlockOf(std::byte* piece) {
  return reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(piece) / HugePool::kBlockBytes *
                                      HugePool::kBlockBytes);
}

// The whole pages inside of it.
void GiveBackPages(std::byte* piece, size_t bytes) {
  const auto begin = (reinterpret_cast<uintptr_t>(piece) + kPage - 1) / kPage * kPage;
  const auto end = (reinterpret_cast<uintptr_t>(piece) + bytes) / kPage * kPage;
  if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace

// Maps more by the alignment and gives back what does not fit it.
std::byte* MapHugePages(size_t bytes, size_t alignment) {
  const size_t wide = bytes + alignment;
  void* mapped =
      mmap(nullptr, wide, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t aligned = (begin + alignment - 1) / alignment * alignment;
  if (aligned > begin) munmap(mapped, aligned - begin);
  const size_t behind = begin + wide - (aligned + bytes);
  if (behind > 0) munmap(reinterpret_cast<void*>(aligned + bytes), behind);
  auto* data = reinterpret_cast<std::byte*>(aligned);
  // A refusal only means ordinary pages.
  (void)madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

HugePool& HugePool::OfProcess() {
  static auto* pool = new HugePool;  // never destroyed: tables may be later
  return *pool;
}

std::byte* HugePool::Take(size_t bytes) {
  std::lock_guard lock(mutex_);
  auto& open = open_[bytes];
  if (open.empty()) {
    std::byte* made = MapHugePages(kBlockBytes, kBlockBytes);
    if (made == nullptr) return nullptr;
    blocks_.emplace(made, Block{});
    open.emplace(Capacity(bytes), made);
  }
  auto [room, base] = *open.begin();
  open.erase(open.begin());
  Block& block = blocks_.at(base);
  ++block.used;
  if (room > 1) open.emplace(room - 1, base);
  if (block.free.empty()) return base + bytes * block.taken++;
  std::byte* piece = base + bytes * block.free.back();
  block.free.pop_back();
  std::memset(piece, 0, bytes);
  return piece;
}

void HugePool::Give(std::byte* piece, size_t bytes) {
  std::lock_guard lock(mutex_);
  std::byte* base = BlockOf(piece);
  Block& block = blocks_.at(base);
  auto& open = open_[bytes];
  const size_t room = Capacity(bytes) - block.used;
  open.erase({room, base});
  if (--block.used == 0) {
    blocks_.erase(base);
    munmap(base, kBlockBytes);
    return;
  }
  GiveBackPages(piece, bytes);
  block.free.push_back(static_cast<uint32_t>(static_cast<size_t>(piece - base) / bytes));
  open.emplace(room + 1, base);
}

size_t HugePool::blocks() const {
  std::lock_guard lock(mutex_);
  return blocks_.size();
}

}  // namespace penstock
