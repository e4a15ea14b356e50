// Which pushes admit a key: the draws, the counts and their bound.
#include "server/shard/admission.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

TEST(AdmissionDrawsTest, IsAFunctionOfItsArgumentsWithTheProbabilityAsked) {
  const AdmissionSpec rule{.probability = 0.25f};
  const int draws = 100000;
  int drawn = 0, by_sequence = 0, by_producer = 0, by_seed = 0;
  for (int i = 0; i < draws; ++i) {
    const bool here = AdmissionDraws(rule, 7, 3, 100, i);
    EXPECT_EQ(here, AdmissionDraws(rule, 7, 3, 100, i));
    drawn += here;
    by_sequence += here && AdmissionDraws(rule, 7, 3, 101, i);
    by_producer += here && AdmissionDraws(rule, 7, 4, 100, i);
    by_seed += here && AdmissionDraws(rule, 8, 3, 100, i);
  }
  // Five standard deviations.
  EXPECT_NEAR(drawn, draws / 4.0, 700);
  for (const int both : {by_sequence, by_producer, by_seed}) EXPECT_NEAR(both, draws / 16.0, 400);
  EXPECT_TRUE(AdmissionDraws({}, 7, 3, 100, 0));
}

TEST(AdmissionCountsTest, CountsEachKeyWhileThereIsRoom) {
  AdmissionCounts counts(1);
  EXPECT_EQ(counts.Count(5), 0u);
  EXPECT_EQ(counts.ResidentBytes(), 0u);
  const Key keys = 5000;
  for (int round = 1; round <= 3; ++round) {
    for (Key key = 0; key < keys; ++key) EXPECT_EQ(counts.Add(key), static_cast<uint32_t>(round)) << key;
  }
  EXPECT_EQ(counts.keys(), keys);
  counts.Remove(17);
  counts.Remove(1 << 30);
  EXPECT_EQ(counts.Count(17), 0u);
  EXPECT_EQ(counts.Count(18), 3u);
  EXPECT_EQ(counts.keys(), keys - 1);
}

TEST(AdmissionCountsTest, IsBoundedAndForgetsWhatWasPushedLeast) {
  AdmissionCounts counts(1);
  const Key frequent = 1000;
  for (int round = 0; round < 5; ++round) {
    for (Key key = 0; key < frequent; ++key) counts.Add(key);
  }
  for (Key key = frequent; key < 1000000; ++key) counts.Add(key);
  EXPECT_LE(counts.ResidentBytes(), AdmissionCounts::kMaxBytes);
  EXPECT_LE(counts.keys(), AdmissionCounts::kMaxBytes / 8);
  for (Key key = 0; key < frequent; ++key) EXPECT_EQ(counts.Count(key), 5u) << key;
}

}  // namespace
}  // namespace penstock
