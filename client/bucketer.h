// Bucketer: sorts the rows of a batch by shard in one counting pass, and plans the calls that carry them.
// Pure.
//
// Rows of a table end up in arrays in which each group (the rows of one shard) is contiguous, and groups of
// the same server core stand side by side, so that a call's keys and values are slices of those arrays and
// are handed to the message by reference.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/cluster/codec.h"
#include "common/cluster/shard_map.h"
#include "common/net/buffer_pool.h"

namespace penstock {

// The shards in the order in which a batch lays them out: those of the same endpoint together. It is a matter
// of speed only: a batch that was laid out by an old map is sent correctly by a new one.
struct ShardLayout {
  explicit ShardLayout(const ShardMap& map);
  uint32_t shards = 0;
  std::vector<ShardId> order;  // all of them
  std::vector<uint32_t> home;  // of each in `order`: the same number for the same endpoint, ascending
};

struct BatchTable {
  TableId table = 0;
  std::string name;  // for errors
  uint32_t dim = 0;
  std::span<const Key> keys;
  std::span<const float> values;  // [keys.size(), dim] for a push, empty for a pull
  bool assigns = false;           // a push replaces rows
  Codec codec = Codec::kF32;      // of its values on the wire, both ways
};

struct BatchGroup {
  uint32_t table = 0;  // index in BucketedBatch::tables
  ShardId shard = 0;
  uint32_t piece = 0;        // groups of one piece may travel in one call, if they go to the same endpoint
  uint32_t count = 0;        // rows, at least 1
  uint64_t first = 0;        // position of its first row in the table's arrays
  uint64_t first_value = 0;  // position of its first value in the table's values
};

struct BucketedBatch {
  // Of a buffer that is used again.
  template <typename T>
  class Array {
   public:
    Array() = default;
    explicit Array(size_t size) : buffer_(BufferPool::OfProcess()->Take(size * sizeof(T))) {}
    T* data() const { return reinterpret_cast<T*>(buffer_.data()); }
    T& operator[](size_t i) const { return reinterpret_cast<T*>(buffer_.data())[i]; }

   private:
    BufferPool::Buffer buffer_;
  };
  struct Table {
    TableId table = 0;
    std::string name;
    uint32_t dim = 0;
    Codec codec = Codec::kF32;
    size_t rows = 0;
    Array<Key> keys;  // by group
    Array<uint8_t>
        values;  // push: by group, as `codec` has them; the first value of a piece is 8-byte aligned
    Array<uint32_t> order;  // where rows come back: which row of the caller's each row is

    size_t row_bytes() const { return dim * BytesOfValue(codec); }  // of its values
    uint8_t* value(uint64_t position) const { return values.data() + position * BytesOfValue(codec); }
  };
  std::vector<Table> tables;
  std::vector<BatchGroup> groups;  // ascending by piece; of one table: ascending by position

  uint64_t bytes(const BatchGroup& group) const {
    return uint64_t{group.count} * (sizeof(Key) + tables[group.table].row_bytes());
  }
};

struct BucketLimits {
  uint64_t piece_bytes = 2 << 20;  // keys and values; a group of a push is never cut, one of a pull is
  uint64_t max_unit_bytes = 32 << 20;
};

// `pulls`: the rows come back.
Result<BucketedBatch> BucketPush(const std::vector<BatchTable>& tables, const ShardLayout& layout,
                                 const BucketLimits& limits, bool pulls = false);
// Cannot fail for lack of anything but memory; kInvalidArgument beyond 2^32 rows a table.
Result<BucketedBatch> BucketPull(const std::vector<BatchTable>& tables, const ShardLayout& layout,
                                 const BucketLimits& limits);

}  // namespace penstock
