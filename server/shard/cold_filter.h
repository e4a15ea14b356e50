// ColdFilter: a set of row keys that answers "certainly not in it" or "probably in it", in 16 to 32 bits a
// key.
//
// A split block Bloom filter (Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters",
// WEA 2007, in the form of Apache Parquet's): a key sets one bit in each of the eight words of one block of
// 32 bytes, so a question touches one cache line. A layer takes the keys that it was made for; the next one
// is twice as large (Almeida et al., "Scalable Bloom Filters", 2007), so nothing is rebuilt while the set
// grows. About one key in a hundred that is not in the set is said to be. Keys are never taken out.
//
// Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace penstock {

class ColdFilter {
 public:
  bool empty() const { return layers_.empty(); }
  // `hash`: 64 well mixed bits of the key.
  bool MayContain(uint64_t hash) const;
  void Add(uint64_t hash);
  size_t ResidentBytes() const;

 private:
  using Block = std::array<uint32_t, 8>;
  struct Layer {
    std::vector<Block> blocks;
    size_t keys = 0;
  };
  static size_t BlockOf(const Layer& layer, uint64_t hash) {
    return static_cast<size_t>(((hash >> 32) * layer.blocks.size()) >> 32);
  }

  std::vector<Layer> layers_;
};

}  // namespace penstock
