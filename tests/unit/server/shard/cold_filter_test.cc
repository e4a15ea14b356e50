// ColdFilter: nothing in it is denied, little else is claimed, and what it costs.
#include "server/shard/cold_filter.h"

#include <gtest/gtest.h>

#include <random>

namespace penstock {
namespace {

TEST(ColdFilterTest, HoldsEveryKeyAndClaimsFewOthers) {
  ColdFilter filter;
  EXPECT_TRUE(filter.empty());
  EXPECT_FALSE(filter.MayContain(7));
  std::mt19937_64 in(1), out(2);
  constexpr size_t kKeys = 300'000;
  for (size_t i = 0; i < kKeys; ++i) filter.Add(in());
  EXPECT_FALSE(filter.empty());
  in.seed(1);
  for (size_t i = 0; i < kKeys; ++i) ASSERT_TRUE(filter.MayContain(in()));
  size_t wrong = 0;
  for (size_t i = 0; i < kKeys; ++i) wrong += filter.MayContain(out());
  EXPECT_LT(wrong, kKeys / 40);
  EXPECT_GT(wrong, 0u) << "or else it is no filter";
  EXPECT_LT(filter.ResidentBytes(), kKeys * 4 + 4096);
}

TEST(ColdFilterTest, KeysThatComeAgainCostNothing) {
  ColdFilter filter;
  for (int round = 0; round < 100; ++round) {
    std::mt19937_64 random(1);
    for (int i = 0; i < 1000; ++i) filter.Add(random());
  }
  EXPECT_LT(filter.ResidentBytes(), 4096u);
}

}  // namespace
}  // namespace penstock
