// SeededShuffle: a Fisher-Yates shuffle whose draws come from a counter-based generator, so that it is the
// same on every machine and with every library.
#pragma once

#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "common/base/hash.h"

namespace penstock {

// The stream of random draws for one thing (`part`) in one pass.
inline uint64_t ShuffleStream(uint64_t seed, uint32_t pass, uint32_t part) {
  return Mix64(Mix64(seed + 0x9e3779b97f4a7c15ULL) + ((uint64_t{pass} << 32) | part));
}

inline void SeededShuffle(uint64_t stream, std::vector<uint32_t>* order) {
  for (size_t i = order->size(); i > 1; --i) {
    // The high half of the product is uniform in [0, i) up to a bias of i / 2^64.
    const uint64_t draw = Mix64(stream + i * 0x9e3779b97f4a7c15ULL);
    const auto j = static_cast<size_t>((static_cast<unsigned __int128>(draw) * i) >> 64);
    std::swap((*order)[i - 1], (*order)[j]);
  }
}

// The partitions of a pass in the order in which they are given out.
inline std::vector<uint32_t> PartitionOrder(bool shuffle, uint64_t seed, uint32_t pass, uint32_t partitions) {
  std::vector<uint32_t> order(partitions);
  std::iota(order.begin(), order.end(), 0u);
  // The stream of no partition: those draw the order of their examples.
  constexpr uint32_t kOrder = std::numeric_limits<uint32_t>::max();
  if (shuffle) SeededShuffle(ShuffleStream(seed, pass, kOrder), &order);
  return order;
}

}  // namespace penstock
