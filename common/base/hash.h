// mix64, and the place of a key: which shard of the cluster a row belongs to.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/base/ids.h"

namespace penstock {

// A bijective finalizer (variant 13 of David Stafford, "Better Bit Mixing", as used by SplitMix64).
inline uint64_t Mix64(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  x ^= x >> 31;
  return x;
}

// Hash of a row's key within its table. Shard and index position are both taken from it: the shard from
// the top bits, the position in a shard's index from the bottom ones.
inline uint64_t RowHash(Key key, TableId table) {
  return Mix64(key + (uint64_t{table} + 1) * 0x9e3779b97f4a7c15ULL);
}

// Shards are a power of two, at least 2.
inline ShardId ShardOf(uint64_t row_hash, uint32_t shards) {
  return static_cast<ShardId>(row_hash >> (64 - std::countr_zero(shards)));
}

// The first key that is of another shard than `shard`; keys.size(): none. All are looked at before the one is
// looked for, as nearly always there is none, and so without a branch: about a nanosecond a key.
inline size_t FirstElsewhere(std::span<const Key> keys, TableId table, ShardId shard, uint32_t shards) {
  uint64_t differs = 0;
  for (const Key key : keys) differs |= ShardOf(RowHash(key, table), shards) ^ shard;
  if (differs == 0) return keys.size();
  size_t i = 0;
  while (ShardOf(RowHash(keys[i], table), shards) == shard) ++i;
  return i;
}

}  // namespace penstock
