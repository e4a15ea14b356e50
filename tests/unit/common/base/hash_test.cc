// The place of a key: what proto/data.capnp says to clients that others wrote.
#include "common/base/hash.h"

#include <gtest/gtest.h>

#include <vector>

namespace penstock {
namespace {

// As the schema has it, step by step.
uint32_t ShardBySchema(uint64_t key, uint64_t table, uint32_t bits) {
  uint64_t x = key + (table + 1) * 0x9e3779b97f4a7c15ULL;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
  return static_cast<uint32_t>((x ^ x >> 31) >> (64 - bits));
}

TEST(ShardOf, IsWhatTheSchemaSays) {
  for (const uint32_t bits : {1u, 7u, 16u}) {
    for (Key key = 0; key < 1000; ++key) {
      for (const TableId table : {1u, 5u, 0xffffffffu}) {
        const Key wide = key * 0x123456789abcdefULL;
        ASSERT_EQ(ShardOf(RowHash(wide, table), 1u << bits), ShardBySchema(wide, table, bits));
      }
    }
  }
}

TEST(FirstElsewhere, FindsTheKeyThatIsOfAnotherShard) {
  constexpr uint32_t kShards = 8;
  std::vector<Key> here, elsewhere;
  for (Key key = 0; here.size() < 300; ++key)
    (ShardOf(RowHash(key, 3), kShards) == 5 ? here : elsewhere).push_back(key);
  EXPECT_EQ(FirstElsewhere(here, 3, 5, kShards), here.size());
  EXPECT_EQ(FirstElsewhere({}, 3, 5, kShards), 0u);
  for (const size_t at : {size_t{0}, size_t{17}, here.size() - 1}) {
    auto keys = here;
    keys[at] = elsewhere[at];
    EXPECT_EQ(FirstElsewhere(keys, 3, 5, kShards), at);
  }
  EXPECT_EQ(FirstElsewhere(here, 4, 5, kShards) < here.size(), true) << "another table has other places";
}

}  // namespace
}  // namespace penstock
