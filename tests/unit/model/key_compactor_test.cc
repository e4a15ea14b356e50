// Distinct keys and positions of a minibatch.
#include "model/key_compactor.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace penstock {
namespace {

TEST(KeyCompactor, GivesPositionsInTheOrderFirstSeen) {
  KeyCompactor compactor;
  std::vector<Key> keys;
  compactor.Begin(&keys);
  EXPECT_EQ(compactor.Add(7), 0u);
  EXPECT_EQ(compactor.Add(0), 1u);
  EXPECT_EQ(compactor.Add(7), 0u);
  EXPECT_EQ(compactor.Add(~0ULL), 2u);
  EXPECT_EQ(keys, (std::vector<Key>{7, 0, ~0ULL}));
}

TEST(KeyCompactor, ForgetsThePreviousList) {
  KeyCompactor compactor;
  std::vector<Key> keys;
  compactor.Begin(&keys);
  compactor.Add(7);
  compactor.Begin(&keys);
  EXPECT_TRUE(keys.empty());
  EXPECT_EQ(compactor.Add(9), 0u);
  EXPECT_EQ(compactor.Add(7), 1u);
}

TEST(KeyCompactor, AgreesWithAMapOverManyListsAndGrowth) {
  constexpr uint32_t kSeed = 3;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937_64 random(kSeed);
  KeyCompactor compactor;
  std::vector<Key> keys;
  for (int list = 0; list < 50; ++list) {
    compactor.Begin(&keys);  // at first it grows
    std::map<Key, uint32_t> expected;
    for (int i = 0; i < 3000; ++i) {
      const Key key = random() % 1500 * 0x1000000000ULL;
      const auto [entry, fresh] = expected.try_emplace(key, static_cast<uint32_t>(expected.size()));
      ASSERT_EQ(compactor.Add(key), entry->second);
    }
    ASSERT_EQ(keys.size(), expected.size());
    for (const auto& [key, position] : expected) ASSERT_EQ(keys[position], key);
  }
}

TEST(KeyCompactor, ManyAtOnceAreAsOneByOne) {
  std::mt19937_64 random(4);
  KeyCompactor one, all;
  std::vector<Key> one_keys, all_keys;
  for (int list = 0; list < 50; ++list) {
    one.Begin(&one_keys);
    all.Begin(&all_keys);
    for (const size_t count : {0, 1, 15, 16, 17, 1000, 3, 5000}) {
      std::vector<Key> keys(count);
      for (Key& key : keys) key = random() % 4000;
      std::vector<uint32_t> positions(count);
      all.AddAll(keys, 13, positions.data());
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(positions[i], one.Add(13 + keys[i]));
      ASSERT_EQ(all_keys, one_keys);
    }
  }
}

}  // namespace
}  // namespace penstock
