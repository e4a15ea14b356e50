// A minibatch is a pure function of its coordinates; these tests also pin the function itself.
#include "data/minibatch_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace penstock {
namespace {

std::vector<uint32_t> Everything(const MinibatchPlan& plan) {
  std::vector<uint32_t> all;
  for (uint64_t k = 0; k < plan.count(); ++k) {
    const auto part = plan.Indices(k);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

TEST(MinibatchPlan, CutsAPermutation) {
  for (size_t records : {0u, 1u, 63u, 64u, 65u, 1000u}) {
    const MinibatchPlan plan(64, true, 1, 2, 3, records);
    EXPECT_EQ(plan.count(), (records + 63) / 64);
    for (uint64_t k = 0; k < plan.count(); ++k) {
      EXPECT_LE(plan.Indices(k).size(), 64u);
      EXPECT_GE(plan.Indices(k).size() + 1, plan.Indices(0).size());
    }
    auto all = Everything(plan);
    ASSERT_EQ(all.size(), records);
    std::sort(all.begin(), all.end());
    for (size_t i = 0; i < records; ++i) ASSERT_EQ(all[i], i);
  }
}

TEST(MinibatchPlan, WithoutShuffleKeepsTheOrder) {
  const MinibatchPlan plan(4, false, 1, 2, 3, 6);
  EXPECT_EQ(Everything(plan), (std::vector<uint32_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(plan.Indices(0).size(), 3u);
}

// A running job's minibatches must not change with the program's version: successors re-run them under the
// same identity.
TEST(MinibatchPlan, IsPinned) {
  EXPECT_EQ(Everything(MinibatchPlan(4, true, 1, 0, 0, 8)), Everything(MinibatchPlan(3, true, 1, 0, 0, 8)));
  EXPECT_EQ(Everything(MinibatchPlan(8, true, 1, 0, 0, 8)), (std::vector<uint32_t>{2, 4, 1, 7, 6, 0, 5, 3}));
}

TEST(MinibatchPlan, DiffersBySeedPassAndPartition) {
  const auto base = Everything(MinibatchPlan(10, true, 1, 0, 0, 100));
  EXPECT_NE(base, Everything(MinibatchPlan(10, true, 2, 0, 0, 100)));
  EXPECT_NE(base, Everything(MinibatchPlan(10, true, 1, 1, 0, 100)));
  EXPECT_NE(base, Everything(MinibatchPlan(10, true, 1, 0, 1, 100)));
  EXPECT_NE(Everything(MinibatchPlan(10, true, 1, 1, 0, 100)),
            Everything(MinibatchPlan(10, true, 1, 0, 1, 100)));
}

TEST(MinibatchPlan, PutsEveryRecordEverywhereAboutEquallyOften) {
  constexpr int kTrials = 20000, kRecords = 10;
  int counts[kRecords][kRecords] = {};
  for (int seed = 0; seed < kTrials; ++seed) {
    const auto order = Everything(MinibatchPlan(100, true, static_cast<uint64_t>(seed), 0, 0, kRecords));
    for (int place = 0; place < kRecords; ++place) ++counts[order[static_cast<size_t>(place)]][place];
  }
  const double mean = double{kTrials} / kRecords, deviation = std::sqrt(mean * (1 - 1.0 / kRecords));
  for (const auto& record : counts) {
    for (int count : record) EXPECT_NEAR(count, mean, 5 * deviation);
  }
}

}  // namespace
}  // namespace penstock
