// RowTable against std::unordered_map, its growth, and what its memory costs.
#include "server/shard/row_table.h"

#include <gtest/gtest.h>

#include <random>
#include <unordered_map>

namespace penstock {
namespace {

RowNumber FindOrInsert(RowTable& table, Key key) {
  const RowNumber found = table.Find(key);
  if (found != kNoRow) return found;
  EXPECT_TRUE(table.Reserve(1).ok());
  return table.Insert(key);
}

// Keys that are alike in different ways: dense, strided, and random.
Key DrawKey(std::mt19937_64& random, uint64_t range) {
  const uint64_t k = random() % range;
  switch (random() % 3) {
    case 0:
      return k;
    case 1:
      return k << 32;
    default:
      return k * 0x9e3779b97f4a7c15ULL;
  }
}

TEST(RowTableTest, AgreesWithUnorderedMapOverRandomOperations) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    RowTable table(7, 3, 1);
    std::unordered_map<Key, float> expected;
    std::unordered_map<Key, RowNumber> numbers;
    size_t most = 0;
    for (int step = 0; step < 60'000; ++step) {
      const Key key = DrawKey(random, 8000);
      switch (random() % 4) {
        case 0:
        case 1: {
          const RowNumber row = FindOrInsert(table, key);
          table.Revive(row);
          const auto [known, is_new] = numbers.emplace(key, row);
          ASSERT_EQ(known->second, row) << "the number of a row changed";
          table.Values(row)[2] = static_cast<float>(step);
          table.Slots(row)[0] = static_cast<float>(-step);
          expected[key] = static_cast<float>(step);
          break;
        }
        case 2: {
          const RowNumber row = table.Find(key);
          ASSERT_EQ(row != kNoRow, numbers.contains(key));
          if (row == kNoRow) break;
          ASSERT_EQ(table.Header(row)->key, key);
          ASSERT_EQ(table.Header(row)->deleted(), !expected.contains(key));
          if (!expected.contains(key)) break;
          ASSERT_EQ(table.Values(row)[2], expected[key]);
          ASSERT_EQ(table.Slots(row)[0], -expected[key]);
          break;
        }
        default: {
          const RowNumber row = table.Find(key);
          if (row == kNoRow) break;
          if (random() % 2 != 0) {
            table.MarkDeleted(row);
          } else {
            table.Erase(row);
            numbers.erase(key);
          }
          expected.erase(key);
        }
      }
      ASSERT_EQ(table.live_rows(), expected.size());
      ASSERT_EQ(table.used_rows(), numbers.size());
      most = std::max(most, numbers.size());
      ASSERT_EQ(table.size(), most) << "the numbers of erased rows are used before new ones";
    }
  }
}

// Erasing from a full stretch of the index must leave every other entry of it findable.
TEST(RowTableTest, ErasingLeavesTheOthersFindable) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    RowTable table(1, 1, 0);
    std::vector<Key> keys(96);  // 3/4 of 128 positions: as full as an index gets, with wrapped stretches
    for (Key& key : keys) FindOrInsert(table, key = random());
    while (!keys.empty()) {
      std::swap(keys[random() % keys.size()], keys.back());
      table.Erase(table.Find(keys.back()));
      ASSERT_EQ(table.Find(keys.back()), kNoRow);
      keys.pop_back();
      for (const Key key : keys) {
        const RowNumber row = table.Find(key);
        ASSERT_NE(row, kNoRow);
        ASSERT_EQ(table.Header(row)->key, key);
      }
    }
    EXPECT_EQ(table.used_rows(), 0u);
    EXPECT_EQ(table.free_rows(), 96u);
  }
}

TEST(RowTableTest, AnErasedRowIsInsertedAgainZeroed) {
  RowTable table(1, 2, 1, /*accumulates=*/true);
  const RowNumber row = FindOrInsert(table, 5);
  std::fill_n(table.Values(row), table.all_floats(), 3.0f);
  table.Header(row)->push_count = 9;
  table.Header(row)->lsn = 4;
  table.Erase(row);
  EXPECT_TRUE(table.Header(row)->free());
  EXPECT_EQ(table.live_rows(), 0u);
  ASSERT_EQ(FindOrInsert(table, 6), row);
  for (uint32_t i = 0; i < table.all_floats(); ++i) EXPECT_EQ(table.Values(row)[i], 0);
  EXPECT_EQ(table.Header(row)->key, 6u);
  EXPECT_EQ(table.Header(row)->lsn, 0u);
  EXPECT_EQ(table.Header(row)->push_count, 0u);
  EXPECT_EQ(table.Header(row)->flags, 0u);
}

TEST(RowTableTest, TombstonesGoOnceTheirDeletionIsFolded) {
  RowTable table(1, 1, 0);
  for (Key key = 0; key < 5; ++key) FindOrInsert(table, key);
  for (Key key = 0; key < 4; ++key) {
    table.MarkDeleted(table.Find(key));
    table.MarkDirty(table.Find(key));
  }
  table.EraseTombstones(100);
  EXPECT_EQ(table.deleted_rows(), 4u) << "their deletion is in no delta yet";
  table.ClearDirty(7);
  table.Revive(table.Find(1));
  table.Revive(table.Find(2));
  table.MarkDeleted(table.Find(2));  // twice on the list
  table.MarkDirty(table.Find(3));
  table.EraseTombstones(6);
  EXPECT_EQ(table.deleted_rows(), 3u) << "delta 7 is not folded";
  table.EraseTombstones(7);
  EXPECT_EQ(table.Find(0), kNoRow);
  EXPECT_NE(table.Find(1), kNoRow);
  EXPECT_EQ(table.Find(2), kNoRow);
  EXPECT_NE(table.Find(3), kNoRow) << "it changed since";
  EXPECT_EQ(table.live_rows(), 2u);
  EXPECT_EQ(table.free_rows(), 2u);
  EXPECT_EQ(table.deleted_rows(), 1u);
}

TEST(RowTableTest, CompactingKeepsEveryRowAndGivesMemoryBack) {
  std::mt19937_64 random(3);
  RowTable table(1, 64, 0);
  constexpr Key kRows = 60'000;
  for (Key key = 0; key < kRows; ++key) *table.Values(FindOrInsert(table, key)) = static_cast<float>(key);
  for (int round = 0; round < 3; ++round) {
    std::vector<Key> left;
    for (Key key = 0; key < kRows; ++key) {
      const RowNumber row = table.Find(key);
      if (row == kNoRow) continue;
      if (random() % 3 != 0) {
        table.Erase(row);
      } else {
        left.push_back(key);
      }
    }
    table.MarkDirty(table.Find(left.back()));
    table.MarkDeleted(table.Find(left.front()));
    std::vector<RowNumber> before;
    for (const Key key : left) before.push_back(table.Find(key));
    const size_t bytes = table.ResidentBytes();
    const RowTable::Moves moves = table.Compact();
    EXPECT_EQ(table.size(), left.size());
    EXPECT_EQ(table.free_rows(), 0u);
    EXPECT_LT(table.ResidentBytes(), bytes / 2);
    for (size_t i = 0; i < left.size(); ++i) {
      const RowNumber row = table.Find(left[i]);
      ASSERT_EQ(row, moves.Of(before[i]));
      ASSERT_EQ(*table.Values(row), i == 0 ? 0 : static_cast<float>(left[i]));
    }
    ASSERT_EQ(table.dirty(), std::vector<RowNumber>{table.Find(left.back())});
    table.ClearDirty(1);
    table.EraseTombstones(1);
    EXPECT_EQ(table.deleted_rows(), 0u);
    EXPECT_EQ(table.Find(left.front()), kNoRow);
  }
  const RowNumber row = FindOrInsert(table, kRows);
  for (uint32_t i = 0; i < 64; ++i) ASSERT_EQ(table.Values(row)[i], 0) << "where another row was";
}

TEST(RowTableTest, BatchLookupFindsWhatSingleLookupFinds) {
  std::mt19937_64 random(11);
  RowTable table(1, 2, 0);
  std::vector<Key> keys(1001);
  std::vector<RowNumber> rows(keys.size());
  for (Key& key : keys) key = random() % 3000;
  EXPECT_EQ(table.FindBatch(keys, rows.data()), keys.size()) << "an empty table holds nothing";
  for (int i = 0; i < 2000; ++i)
    FindOrInsert(table, random() % 3000);  // an index that is nearly as full as it gets
  size_t missing = 0;
  const size_t reported = table.FindBatch(keys, rows.data());
  for (size_t i = 0; i < keys.size(); ++i) {
    ASSERT_EQ(rows[i], table.Find(keys[i])) << keys[i];
    missing += rows[i] == kNoRow;
  }
  EXPECT_EQ(reported, missing);
  EXPECT_GT(missing, 0u);
  size_t visited = 0;
  table.VisitBatch(keys, [&](size_t i, RowHeader* header) {
    EXPECT_EQ(i, visited++);
    EXPECT_EQ(header, rows[i] == kNoRow ? nullptr : table.Header(rows[i]));
  });
  EXPECT_EQ(visited, keys.size());
}

// Mix64 backwards, so that keys can be made for a hash.
uint64_t Unmix64(uint64_t x) {
  const auto inverse = [](uint64_t odd) {
    uint64_t y = odd;
    for (int i = 0; i < 5; ++i) y *= 2 - odd * y;
    return y;
  };
  const auto unshift = [](uint64_t y, int bits) {
    uint64_t z = y;
    for (int i = bits; i < 64; i += bits) z = y ^ z >> bits;
    return z;
  };
  x = unshift(x, 31) * inverse(0x94d049bb133111ebULL);
  x = unshift(x, 27) * inverse(0xbf58476d1ce4e5b9ULL);
  return unshift(x, 30);
}

// Hashes whose lower half is 0 look like empty entries of the index, and such of one lower half like each
// other.
TEST(RowTableTest, HashesThatLookAlikeAreToldApart) {
  constexpr TableId kTable = 5;
  RowTable table(kTable, 1, 0);
  const auto key_of = [](uint64_t hash) {
    const Key key = Unmix64(hash) - (uint64_t{kTable} + 1) * 0x9e3779b97f4a7c15ULL;
    EXPECT_EQ(RowHash(key, kTable), hash);
    return key;
  };
  std::vector<Key> keys;
  for (uint64_t low : {0u, 1u, 7u, 0xffffffffu})
    for (uint64_t high = 1; high <= 9; ++high) keys.push_back(key_of(high << 32 | low));
  std::vector<RowNumber> rows(keys.size());
  for (size_t in = 0; in < keys.size(); ++in) {
    EXPECT_EQ(table.FindBatch(keys, rows.data()), keys.size() - in);
    for (size_t i = 0; i < keys.size(); ++i) {
      ASSERT_EQ(rows[i], i < in ? static_cast<RowNumber>(i) : kNoRow) << i << " of " << in;
      ASSERT_EQ(table.Find(keys[i]), rows[i]);
    }
    ASSERT_EQ(FindOrInsert(table, keys[in]), in);
  }
}

TEST(RowTableTest, RowsNeverMoveWhileTheTableGrows) {
  RowTable table(1, 1, 0);
  std::vector<float*> addresses;
  for (Key key = 0; key < 300'000; ++key) {
    ASSERT_TRUE(table.Reserve(1).ok());
    const RowNumber row = table.Insert(key);
    ASSERT_EQ(row, key);
    addresses.push_back(table.Values(row));
    *addresses.back() = static_cast<float>(key);
  }
  for (Key key = 0; key < 300'000; ++key) {
    const RowNumber row = table.Find(key);
    ASSERT_EQ(row, key);
    ASSERT_EQ(table.Values(row), addresses[key]);
    ASSERT_EQ(*table.Values(row), static_cast<float>(key));
  }
  EXPECT_EQ(table.Find(300'000), kNoRow);
}

TEST(RowTableTest, RowsAreDistinctBlocksForEveryShape) {
  for (const auto& [dim, slots] : std::vector<std::pair<uint32_t, uint32_t>>{
           {1, 0}, {1, 2}, {3, 3}, {16, 16}, {1024, 2048}, {65536, 0}}) {
    RowTable table(1, dim, slots);
    const Key rows = dim > 10'000 ? 9 : 70;
    for (Key key = 0; key < rows; ++key) {
      ASSERT_TRUE(table.Reserve(1).ok());
      const RowNumber row = table.Insert(key);
      for (uint32_t i = 0; i < dim + slots; ++i) {
        ASSERT_EQ(table.Values(row)[i], 0) << "a new row is zeroed";
        table.Values(row)[i] = static_cast<float>(key + 1);
      }
    }
    for (Key key = 0; key < rows; ++key) {
      for (uint32_t i = 0; i < dim + slots; ++i)
        ASSERT_EQ(table.Values(table.Find(key))[i], static_cast<float>(key + 1));
      ASSERT_EQ(table.Header(table.Find(key))->key, key);
    }
  }
}

TEST(RowTableTest, DirtyListHoldsEachRowOnceAndIsStamped) {
  RowTable table(1, 1, 0);
  for (Key key = 0; key < 100; ++key) FindOrInsert(table, key);
  for (int round = 0; round < 3; ++round) {
    for (RowNumber row = 0; row < 100; row += 2) table.MarkDirty(row);
  }
  EXPECT_EQ(table.dirty().size(), 50u);
  table.ClearDirty(9);
  EXPECT_TRUE(table.dirty().empty());
  for (RowNumber row = 0; row < 100; ++row) {
    EXPECT_EQ(table.Header(row)->lsn, row % 2 == 0 ? 9u : 0u);
    EXPECT_FALSE(table.Header(row)->dirty());
  }
}

TEST(RowTableTest, ReservingMoreRowsThanNumbersIsRefused) {
  RowTable table(1, 1, 0);
  EXPECT_EQ(table.Reserve(size_t{1} << 32).code(), Code::kOverloaded);
  EXPECT_EQ(table.Reserve(SIZE_MAX).code(), Code::kOverloaded);
}

TEST(RowTableTest, ASmallTableIsTinyAndALargeOneHasLittleOverhead) {
  RowTable empty(1, 64, 128);
  EXPECT_EQ(empty.ResidentBytes(), 0u);
  RowTable tiny(1, 16, 16);
  ASSERT_TRUE(tiny.Reserve(1).ok());
  tiny.Insert(5);
  EXPECT_LE(tiny.ResidentBytes(), 8192u);

  RowTable large(1, 16, 16);
  constexpr size_t kRows = 1'250'000;  // an eighth of 10 million: the index is as full
  for (Key key = 0; key < kRows; ++key) {
    ASSERT_TRUE(large.Reserve(1).ok());
    large.MarkDirty(large.Insert(key));
  }
  const double payload = 1.0 * kRows * 32 * sizeof(float);
  EXPECT_LE(large.ResidentBytes() / payload, 1.40) << "with every row dirty";
  large.ClearDirty(1);
  EXPECT_LE(large.ResidentBytes() / payload, 1.35);
  EXPECT_GE(large.ResidentBytes() / payload, 1 + 24.0 / 128) << "at least the headers must be counted";
}

}  // namespace
}  // namespace penstock
