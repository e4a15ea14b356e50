// HugePool: pieces of huge pages, for row slabs and indexes that are smaller than one each but many.
//
// Random rows of 128 shards on ordinary pages cost a walk of the page table each. A block is a few huge
// pages, so that little is left over at its end, and holds pieces of one size; a piece comes from the block
// that has the fewest left, and a block without pieces in use goes back to the system, as do the pages inside
// a piece that is given back. Where the kernel has no huge pages, ordinary ones serve as well.
//
// One for the process; any thread.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <vector>

namespace penstock {

inline constexpr size_t kHugePageBytes = size_t{2} << 20;

// `bytes` and `alignment`, multiples of the huge page; with MADV_HUGEPAGE; zeroed. nullptr: no memory.
std::byte* MapHugePages(size_t bytes, size_t alignment = kHugePageBytes);

class HugePool {
 public:
  static constexpr size_t kBlockBytes = 4 * kHugePageBytes;
  static constexpr size_t kMaxBytes = kHugePageBytes / 2;

  static HugePool& OfProcess();

  // Zeroed, aligned to 64 bytes. `bytes` is a multiple of 64 up to kMaxBytes. nullptr: no memory.
  std::byte* Take(size_t bytes);
  void Give(std::byte* piece, size_t bytes);

  size_t blocks() const;

 private:
  struct Block {
    uint32_t used = 0;   // pieces
    uint32_t taken = 0;  // pieces that were ever taken: those behind are zeroed
    std::vector<uint32_t> free;
  };
  static size_t Capacity(size_t bytes) { return kBlockBytes / bytes; }

  mutable std::mutex mutex_;
  // By address. Guarded by mutex_, as what follows.
  absl::flat_hash_map<std::byte*, Block> blocks_;
  // Of each size, those with room: by how little, then by address.
  std::map<size_t, std::set<std::pair<size_t, std::byte*>>> open_;
};

}  // namespace penstock
