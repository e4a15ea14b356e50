// Specs, random pushes and delta reading for the tests of Shard.
#pragma once

#include <capnp/serialize.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "server/shard/shard.h"

namespace penstock::shard_test {

inline constexpr uint64_t kCluster = 0xc1;
inline constexpr ShardId kShardId = 17;
inline constexpr Incarnation kIncarnation = 3;

inline Shard MakeShard(size_t max_entry_bytes = size_t{256} << 20) {
  return Shard({.cluster = kCluster,
                .shard = kShardId,
                .incarnation = kIncarnation,
                .max_entry_bytes = max_entry_bytes});
}

// What the base knows of that shard begins so.
inline void NameShard(proto::ShardMeta::Builder meta) {
  meta.setFormat(proto::DELTA_FORMAT);
  meta.setCluster(kCluster);
  meta.setShard(kShardId);
  meta.setIncarnation(kIncarnation);
}

inline TableSpec Spec(TableId id, uint32_t dim = 2, OptimizerKind kind = OptimizerKind::kAdd) {
  TableSpec spec;
  spec.id = id;
  spec.name = "t" + std::to_string(id);
  spec.dim = dim;
  spec.optimizer.kind = kind;
  return spec;
}

// A shard in epoch 1 with these tables.
inline Shard ServingShard(const std::vector<TableSpec>& specs) {
  Shard shard = MakeShard();
  for (const TableSpec& spec : specs) EXPECT_TRUE(shard.CreateTable(spec).ok());
  EXPECT_TRUE(shard.BeginEpoch(1, 1).ok());
  return shard;
}

inline Result<PushOutcome> Push(Shard& shard, ProducerId producer, Sequence sequence, TableId table,
                                std::vector<Key> keys, std::vector<float> values, Sequence low = 0,
                                size_t growth_bytes = SIZE_MAX) {
  return shard.PushUnit({.producer = producer, .sequence = sequence, .low = low}, table, keys, values.data(),
                        growth_bytes);
}

inline std::vector<float> Pull(const Shard& shard, TableId table, std::vector<Key> keys) {
  const TableSpec* spec = shard.FindSpec(table);
  std::vector<float> values(spec == nullptr ? 0 : keys.size() * spec->dim);
  std::vector<uint32_t> cold;
  EXPECT_TRUE(shard.PullRows(table, keys, values.data(), &cold).ok());
  EXPECT_TRUE(cold.empty()) << "fetch them first";
  return values;
}

// Which of them are stored.
inline std::vector<uint8_t> StoredOf(const Shard& shard, TableId table, std::vector<Key> keys) {
  std::vector<float> values(keys.size() * shard.FindSpec(table)->dim);
  std::vector<uint8_t> stored(keys.size(), 7);
  std::vector<uint32_t> cold;
  EXPECT_TRUE(shard.PullRows(table, keys, values.data(), &cold, stored.data()).ok());
  for (const uint32_t i : cold) EXPECT_EQ(stored[i], 7) << "nothing is said of a row that was not looked at";
  return stored;
}

// A unit of random rows, also with a key twice.
inline Status PushRandom(Shard& shard, std::mt19937_64& random, ProducerId producer, Sequence sequence,
                         TableId table, Key range, Sequence low = 0) {
  const uint32_t dim = shard.FindSpec(table)->dim;
  std::vector<Key> keys(random() % 20);
  for (Key& key : keys) key = random() % range;
  std::vector<float> values(keys.size() * dim);
  for (float& value : values) value = std::normal_distribution<float>()(random);
  return shard.PushUnit({.producer = producer, .sequence = sequence, .low = low}, table, keys, values.data())
      .status();
}

inline BuiltDelta Build(Shard& shard) {
  auto built = shard.BuildDelta();
  EXPECT_TRUE(built.ok()) << built.status().ToString();
  return std::move(built).value();
}

inline Status Apply(Shard& shard, const BuiltDelta& delta) {
  capnp::FlatArrayMessageReader reader(delta.words, {.traversalLimitInWords = uint64_t{1} << 40});
  return shard.ApplyDelta(reader.getRoot<proto::Delta>(), delta.checksum);
}

}  // namespace penstock::shard_test
