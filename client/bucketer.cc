// The counting pass: counts, then places for groups, then rows to their places.
#include "client/bucketer.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "common/base/hash.h"
#include "common/cluster/encode_values.h"

namespace penstock {

ShardLayout::ShardLayout(const ShardMap& map) : shards(map.size()), order(map.size()), home(map.size()) {
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](ShardId a, ShardId b) { return map.shards[a].endpoint < map.shards[b].endpoint; });
  for (size_t i = 1; i < order.size(); ++i) {
    home[i] = home[i - 1] + (map.shards[order[i]].endpoint != map.shards[order[i - 1]].endpoint);
  }
}

namespace {

// One batch on its way: counts first, then a place for every group, then every row to its place.
class Bucketing {
 public:
  Bucketing(const std::vector<BatchTable>& tables, const ShardLayout& layout, const BucketLimits& limits,
            bool push, bool pull)
      : in_(tables), layout_(layout), limits_(limits), push_(push), pull_(pull), work_(tables.size()) {}

  Result<BucketedBatch> Run() {
    for (size_t t = 0; t < in_.size(); ++t) {
      if (in_[t].keys.size() > UINT32_MAX) {
        return InvalidArgument("table '" + in_[t].name + "': " + std::to_string(in_[t].keys.size()) +
                               " rows in one batch, allowed is 2^32 - 1");
      }
      Count(t);
    }
    if (push_) PENSTOCK_RETURN_IF_ERROR(CheckUnits());
    Plan();
    for (size_t t = 0; t < in_.size(); ++t) {
      Allocate(t);
      Scatter(t);
    }
    return std::move(out_);
  }

 private:
  struct Work {
    std::vector<uint16_t> shard;        // of each row; there are at most 65536
    std::vector<uint32_t> count;        // of each shard
    std::vector<uint64_t> cursor;       // of each shard: position of its next row
    std::vector<uint64_t> value_shift;  // of each shard: its values stand this far behind position * dim
    uint64_t rows = 0;                  // placed so far
    uint64_t padding = 0;               // values
    std::vector<uint64_t> pads;         // where it begins
  };

  void Count(size_t t) {
    Work& work = work_[t];
    const std::span<const Key> keys = in_[t].keys;
    work.shard.resize(keys.size());
    work.count.assign(layout_.shards, 0);
    work.cursor.resize(layout_.shards);
    work.value_shift.resize(layout_.shards);
    for (size_t i = 0; i < keys.size(); ++i) {
      const ShardId shard = ShardOf(RowHash(keys[i], in_[t].table), layout_.shards);
      work.shard[i] = static_cast<uint16_t>(shard);
      ++work.count[shard];
    }
  }

  uint64_t RowBytes(size_t t) const { return sizeof(Key) + in_[t].dim * BytesOfValue(in_[t].codec); }
  // Values that fill up a word.
  uint64_t Padding(size_t t, uint64_t values) const {
    const uint64_t word = sizeof(uint64_t) / BytesOfValue(in_[t].codec);
    return (word - values % word) % word;
  }

  Status CheckUnits() const {
    for (size_t t = 0; t < in_.size(); ++t) {
      for (ShardId shard = 0; shard < layout_.shards; ++shard) {
        // Servers hold them as floats.
        const uint64_t bytes = work_[t].count[shard] * (sizeof(Key) + uint64_t{in_[t].dim} * sizeof(float));
        if (bytes <= limits_.max_unit_bytes) continue;
        return InvalidArgument("table '" + in_[t].name + "', shard " + std::to_string(shard) + ": " +
                               std::to_string(work_[t].count[shard]) + " rows of " + std::to_string(bytes) +
                               " bytes in one push, allowed is " + std::to_string(limits_.max_unit_bytes) +
                               " bytes a shard: push fewer rows at a time");
      }
    }
    return Status::Ok();
  }

  void Plan() {
    for (size_t begin = 0; begin < layout_.order.size();) {
      size_t end = begin + 1;
      while (end < layout_.order.size() && layout_.home[end] == layout_.home[begin]) ++end;
      if (piece_bytes_ > 0) Cut();
      for (size_t t = 0; t < in_.size(); ++t) {
        for (size_t i = begin; i < end; ++i) Place(t, layout_.order[i]);
      }
      begin = end;
    }
  }

  void Place(size_t t, ShardId shard) {
    Work& work = work_[t];
    uint64_t left = work.count[shard];
    if (left == 0) return;
    const uint64_t fit = push_ ? left : std::max<uint64_t>(1, limits_.piece_bytes / RowBytes(t));
    work.cursor[shard] = work.rows;
    while (left > 0) {
      const uint64_t count = std::min(left, fit);
      if (piece_bytes_ > 0 && piece_bytes_ + count * RowBytes(t) > limits_.piece_bytes) Cut();
      const bool first_of_table =
          out_.groups.empty() || out_.groups.back().piece != piece_ || out_.groups.back().table != t;
      // Messages take payloads by reference at 8-byte boundaries only.
      if (push_ && first_of_table) {
        const uint64_t at = work.rows * in_[t].dim + work.padding;
        if (Padding(t, at) > 0) work.pads.push_back(at);
        work.padding += Padding(t, at);
      }
      work.value_shift[shard] = work.padding;
      out_.groups.push_back({.table = static_cast<uint32_t>(t),
                             .shard = shard,
                             .piece = piece_,
                             .count = static_cast<uint32_t>(count),
                             .first = work.rows,
                             .first_value = work.rows * in_[t].dim + work.padding});
      work.rows += count;
      piece_bytes_ += count * RowBytes(t);
      left -= count;
    }
  }

  void Cut() {
    ++piece_;
    piece_bytes_ = 0;
  }

  void Allocate(size_t t) {
    const size_t rows = in_[t].keys.size();
    BucketedBatch::Table table{.table = in_[t].table,
                               .name = in_[t].name,
                               .dim = in_[t].dim,
                               .codec = in_[t].codec,
                               .rows = rows,
                               .keys = BucketedBatch::Array<Key>(rows),
                               .values = {},
                               .order = {}};
    if (push_) {
      // Messages go out in whole words, so a slice that ends within one takes along what stands behind it.
      const uint64_t values = rows * in_[t].dim + work_[t].padding;
      table.values =
          BucketedBatch::Array<uint8_t>((values + Padding(t, values)) * BytesOfValue(in_[t].codec));
      work_[t].pads.push_back(values);
      for (uint64_t at : work_[t].pads)
        std::memset(table.value(at), 0, Padding(t, at) * BytesOfValue(in_[t].codec));
    }
    if (pull_) table.order = BucketedBatch::Array<uint32_t>(rows);
    out_.tables.push_back(std::move(table));
  }

  void Scatter(size_t t) {
    Work& work = work_[t];
    BucketedBatch::Table& table = out_.tables[t];
    const BatchTable& in = in_[t];
    const uint32_t dim = in.dim;
    for (size_t i = 0; i < in.keys.size(); ++i) {
      const uint16_t shard = work.shard[i];
      const uint64_t to = work.cursor[shard]++;
      table.keys[to] = in.keys[i];
      if (push_) {
        EncodeValues(in.codec, in.values.subspan(i * dim, dim),
                     table.value(to * dim + work.value_shift[shard]));
      }
      if (pull_) table.order[to] = static_cast<uint32_t>(i);
    }
  }

  const std::vector<BatchTable>& in_;
  const ShardLayout& layout_;
  const BucketLimits& limits_;
  const bool push_;
  const bool pull_;
  std::vector<Work> work_;
  BucketedBatch out_;
  uint32_t piece_ = 0;
  uint64_t piece_bytes_ = 0;  // of the current piece
};

}  // namespace

Result<BucketedBatch> BucketPush(const std::vector<BatchTable>& tables, const ShardLayout& layout,
                                 const BucketLimits& limits, bool pulls) {
  return Bucketing(tables, layout, limits, true, pulls).Run();
}

Result<BucketedBatch> BucketPull(const std::vector<BatchTable>& tables, const ShardLayout& layout,
                                 const BucketLimits& limits) {
  return Bucketing(tables, layout, limits, false, true).Run();
}

}  // namespace penstock
