// The bits of ColdFilter.
#include "server/shard/cold_filter.h"

#include "common/base/target_clones.h"

namespace penstock {
namespace {

constexpr size_t kFirstBlocks = 32;
constexpr size_t kKeysPerBlock = 16;  // of 256 bits: wrong for one key in about 700, in each layer
constexpr size_t kGrowth = 2;
// Odd numbers that pick the bit of each word from the lower half of the hash: those of Parquet's
// specification.
constexpr std::array<uint32_t, 8> kSalts = {0x47b6137bU, 0x44974d91U, 0x8824ad5bU, 0xa2b7289dU,
                                            0x705495c7U, 0x2df1424bU, 0x9efc4947U, 0x5c6bfb31U};

inline uint32_t Bit(uint64_t hash, size_t word) {
  return 1u << (static_cast<uint32_t>(hash) * kSalts[word] >> 27);
}

}  // namespace

PENSTOCK_TARGET_CLONES bool ColdFilter::MayContain(uint64_t hash) const {
  // The last layer has most of the keys.
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
    const Block& block = layer->blocks[BlockOf(*layer, hash)];
    uint32_t missing = 0;
    for (size_t word = 0; word < block.size(); ++word) missing |= Bit(hash, word) & ~block[word];
    if (missing == 0) return true;
  }
  return false;
}

void ColdFilter::Add(uint64_t hash) {
  if (MayContain(hash)) return;
  if (layers_.empty()) {
    layers_.push_back({std::vector<Block>(kFirstBlocks)});
  } else if (layers_.back().keys >= layers_.back().blocks.size() * kKeysPerBlock) {
    layers_.push_back({std::vector<Block>(layers_.back().blocks.size() * kGrowth)});
  }
  Layer& layer = layers_.back();
  Block& block = layer.blocks[BlockOf(layer, hash)];
  for (size_t word = 0; word < block.size(); ++word) block[word] |= Bit(hash, word);
  ++layer.keys;
}

size_t ColdFilter::ResidentBytes() const {
  size_t bytes = layers_.capacity() * sizeof(Layer);
  for (const Layer& layer : layers_) bytes += layer.blocks.size() * sizeof(Block);
  return bytes;
}

}  // namespace penstock
