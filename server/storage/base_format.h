// Keys and values of the base as they are stored, for base_store.cc and base_writer.cc: base_store.h says
// what they mean.
#pragma once

#include <rocksdb/slice.h>

#include <bit>
#include <cstddef>
#include <cstdint>

#include "common/base/crc32c.h"
#include "common/base/ids.h"

namespace penstock {

static_assert(std::endian::native == std::endian::little,
              "stored integers are copied in and out as they are");

inline constexpr uint32_t kBaseFormat = 1;
inline constexpr char kStampKey[] = "PENSTOCK";
inline constexpr size_t kShardKeyBytes = 4;
inline constexpr size_t kRowKeyBytes = 20;
inline constexpr size_t kMetaHeaderBytes = 8;

// Packed so that the floats stand at a multiple of their size.
struct RowValueHeader {
  uint32_t lsn_low, lsn_high;
  uint32_t push_count;
  uint32_t flags;
  uint16_t layout;
  uint16_t reserved;
};
static_assert(sizeof(RowValueHeader) == 20 && alignof(RowValueHeader) == 4);

struct Stamp {
  uint32_t format;
  uint32_t crc;  // of what follows, and of the format
  uint64_t cluster;
};
static_assert(sizeof(Stamp) == 16);

inline uint32_t StampCrc(const Stamp& stamp) {
  const uint32_t crc = Crc32c(0, &stamp.format, sizeof(stamp.format));
  return Crc32c(crc, &stamp.cluster, sizeof(stamp.cluster));
}

template <typename T>
char* PutBigEndian(char* to, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) to[i] = static_cast<char>(value >> (8 * (sizeof(T) - 1 - i)));
  return to + sizeof(T);
}

template <typename T>
T GetBigEndian(const char* from) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(value << 8 | static_cast<unsigned char>(from[i]));
  return value;
}

struct RowKey {
  char bytes[kRowKeyBytes];
  RowKey(Incarnation incarnation, TableId table, Key key) {
    PutBigEndian(PutBigEndian(PutBigEndian(bytes, incarnation), table), key);
  }
  rocksdb::Slice slice() const { return {bytes, sizeof(bytes)}; }
};

struct ShardKey {
  char bytes[kShardKeyBytes];
  explicit ShardKey(ShardId shard) { PutBigEndian(bytes, shard); }
  rocksdb::Slice slice() const { return {bytes, sizeof(bytes)}; }
};

inline rocksdb::Slice StampKey() { return {kStampKey, sizeof(kStampKey) - 1}; }

}  // namespace penstock
