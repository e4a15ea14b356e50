// CombineRows: each key once, at its first place, with the sum or the last of its rows.
#include "client/combine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

namespace penstock {
namespace {

using ::testing::ElementsAre;

TEST(CombineRows, LeavesDistinctKeysAlone) {
  CombinedRows out;
  EXPECT_FALSE(CombineRows({}, {}, 2, Combining::kSum, &out));
  EXPECT_FALSE(
      CombineRows(std::vector<Key>{3, 0, UINT64_MAX}, std::vector<float>(6), 2, Combining::kSum, &out));
  EXPECT_TRUE(out.keys.empty());
}

TEST(CombineRows, SumsOrKeepsTheLast) {
  const std::vector<Key> keys = {7, 3, 7, 5, 3, 7};
  const std::vector<float> values = {1, 10, 2, 20, 3, 30, 4, 40, 5, 50, 6, 60};
  CombinedRows sums, last;
  ASSERT_TRUE(CombineRows(keys, values, 2, Combining::kSum, &sums));
  EXPECT_THAT(sums.keys, ElementsAre(7, 3, 5));
  EXPECT_THAT(sums.values, ElementsAre(10, 100, 7, 70, 4, 40));
  ASSERT_TRUE(CombineRows(keys, values, 2, Combining::kLast, &last));
  EXPECT_THAT(last.keys, ElementsAre(7, 3, 5));
  EXPECT_THAT(last.values, ElementsAre(6, 60, 5, 50, 4, 40));
}

TEST(CombineRows, AgreesWithAMap) {
  std::mt19937_64 random(1);
  for (const size_t count : {1, 2, 63, 1000, 4096}) {
    for (const uint32_t dim : {1u, 3u, 17u}) {
      std::vector<Key> keys(count);
      std::vector<float> values(count * dim);
      std::map<Key, std::vector<float>> expected;
      for (size_t i = 0; i < count; ++i) {
        keys[i] = random() % (count / 2 + 1);
        auto& row = expected[keys[i]];
        row.resize(dim);
        for (uint32_t d = 0; d < dim; ++d) row[d] += values[i * dim + d] = static_cast<float>(random() % 100);
      }
      CombinedRows out;
      const bool combined = CombineRows(keys, values, dim, Combining::kSum, &out);
      ASSERT_EQ(combined, expected.size() < count);
      if (!combined) continue;
      ASSERT_EQ(out.keys.size(), expected.size());
      ASSERT_EQ(out.values.size(), expected.size() * dim);
      for (size_t i = 0; i < out.keys.size(); ++i) {
        const auto row = std::span(out.values).subspan(i * dim, dim);
        EXPECT_EQ(std::vector<float>(row.begin(), row.end()), expected.at(out.keys[i]));
      }
    }
  }
}

}  // namespace
}  // namespace penstock
