// Bucketer: every row goes to its shard's group once, groups of an endpoint lie together, pieces keep their
// size and units stay whole.
#include "client/bucketer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "common/cluster/encode_values.h"

namespace penstock {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

ShardMap MapOf(uint32_t shards, uint32_t endpoints) {
  ShardMap map;
  map.shards.resize(shards);
  for (uint32_t i = 0; i < shards; ++i) map.shards[i].endpoint = "h:" + std::to_string(i * 7 % endpoints);
  return map;
}

struct Rows {
  std::vector<Key> keys;
  std::vector<float> values;
};

Rows RandomRows(std::mt19937_64& random, size_t count, uint32_t dim) {
  Rows rows;
  for (size_t i = 0; i < count; ++i) rows.keys.push_back(random() % 100000);
  for (size_t i = 0; i < count * dim; ++i) rows.values.push_back(static_cast<float>(i));
  return rows;
}

TEST(ShardLayout, PutsShardsOfAnEndpointTogether) {
  const ShardMap map = MapOf(16, 3);
  const ShardLayout layout(map);
  EXPECT_EQ(std::set<ShardId>(layout.order.begin(), layout.order.end()).size(), 16u);
  EXPECT_EQ(layout.home.back(), 2u);
  for (size_t i = 1; i < 16; ++i) {
    const bool same = map.shards[layout.order[i]].endpoint == map.shards[layout.order[i - 1]].endpoint;
    EXPECT_EQ(layout.home[i] == layout.home[i - 1], same);
  }
}

TEST(Bucketer, APushHoldsEveryRowOnceInItsShardsGroup) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const ShardMap map = MapOf(32, 3);
  const ShardLayout layout(map);
  const Rows a = RandomRows(random, 5000, 3);
  Rows b = RandomRows(random, 777, 1);
  for (float& value : b.values) value = FromBf16(ToBf16(value));
  const Rows none = RandomRows(random, 0, 8);
  const std::vector<BatchTable> tables = {
      {4, "a", 3, a.keys, a.values},
      {5, "none", 8, none.keys, none.values},
      {.table = 6, .name = "b", .dim = 1, .keys = b.keys, .values = b.values, .codec = Codec::kBf16}};
  auto batch = BucketPush(tables, layout, {.piece_bytes = 8192, .max_unit_bytes = 1 << 20});
  ASSERT_TRUE(batch.ok()) << batch.status().ToString();

  std::vector<std::multimap<Key, std::vector<float>>> expected(3), found(3);
  for (size_t t = 0; t < 3; ++t) {
    for (size_t i = 0; i < tables[t].keys.size(); ++i) {
      const float* v = &tables[t].values[i * tables[t].dim];
      expected[t].emplace(tables[t].keys[i], std::vector<float>(v, v + tables[t].dim));
    }
  }
  std::map<uint32_t, std::set<std::string>> endpoints;  // of each piece
  std::map<uint32_t, uint64_t> bytes;
  std::map<uint32_t, size_t> groups;
  std::set<std::pair<uint32_t, ShardId>> units;
  std::set<std::pair<uint32_t, uint32_t>> begun;  // piece, table
  uint32_t last_piece = 0;
  for (const BatchGroup& group : batch->groups) {
    const BucketedBatch::Table& table = batch->tables[group.table];
    EXPECT_GE(group.piece, last_piece);
    last_piece = group.piece;
    EXPECT_TRUE(units.insert({group.table, group.shard}).second) << "a unit is never cut";
    endpoints[group.piece].insert(map.shards[group.shard].endpoint);
    bytes[group.piece] += batch->bytes(group);
    ++groups[group.piece];
    if (begun.insert({group.piece, group.table}).second) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(table.value(group.first_value)) % 8, 0u)
          << "by reference only at 8 bytes";
    }
    for (uint32_t i = 0; i < group.count; ++i) {
      const Key key = table.keys[group.first + i];
      EXPECT_EQ(ShardOf(RowHash(key, table.table), 32), group.shard);
      std::vector<float> row(table.dim);
      DecodeValues(table.codec, table.value(group.first_value + i * table.dim), row);
      found[group.table].emplace(key, row);
    }
  }
  for (size_t t = 0; t < 3; ++t) {
    EXPECT_EQ(found[t].size(), expected[t].size());
    // Rows of one key keep their order, as multimap keeps that of insertion.
    EXPECT_EQ(found[t], expected[t]);
  }
  EXPECT_GT(bytes.size(), 3u);
  for (const auto& [piece, set] : endpoints) EXPECT_EQ(set.size(), 1u);
  for (const auto& [piece, size] : bytes) EXPECT_TRUE(size <= 8192 || groups[piece] == 1) << size;
}

TEST(Bucketer, APullRemembersTheCallersOrderAndCutsBigGroups) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const ShardLayout layout(MapOf(2, 1));
  const Rows rows = RandomRows(random, 3000, 1);
  auto batch = BucketPull({{9, "t", 16, rows.keys, {}}}, layout, {.piece_bytes = 4096, .max_unit_bytes = 1});
  ASSERT_TRUE(batch.ok());
  EXPECT_GT(batch->groups.size(), 20u);
  std::set<uint32_t> seen;
  uint64_t next = 0;
  for (const BatchGroup& group : batch->groups) {
    EXPECT_LE(batch->bytes(group), 4096u);
    EXPECT_EQ(group.first, next);
    next += group.count;
    for (uint32_t i = 0; i < group.count; ++i) {
      const uint32_t row = batch->tables[0].order[group.first + i];
      EXPECT_TRUE(seen.insert(row).second);
      EXPECT_EQ(batch->tables[0].keys[group.first + i], rows.keys[row]);
    }
  }
  EXPECT_EQ(seen.size(), rows.keys.size());
}

TEST(Bucketer, RefusesAUnitThatIsTooLargeByName) {
  std::vector<Key> keys(1000, 42);
  std::vector<float> values(1000 * 4);
  const ShardLayout layout(MapOf(8, 1));
  const auto batch =
      BucketPush({{3, "user", 4, keys, values}}, layout, {.piece_bytes = 4096, .max_unit_bytes = 20000});
  EXPECT_EQ(batch.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(batch.status().message(),
              AllOf(HasSubstr("'user'"), HasSubstr("shard " + std::to_string(ShardOf(RowHash(42, 3), 8))),
                    HasSubstr("20000"), HasSubstr("24000")));
}

TEST(Bucketer, AnEmptyBatchHasNoGroups) {
  const ShardLayout layout(MapOf(8, 2));
  EXPECT_TRUE(BucketPull({}, layout, {})->groups.empty());
  EXPECT_TRUE(BucketPush({{3, "user", 4, {}, {}}}, layout, {})->groups.empty());
}

}  // namespace
}  // namespace penstock
