#include "scheduler/jobs/clock_table.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

constexpr JobId kJob = 3;

TEST(ClockTable, TheMinimumIsThatOfTheSlowestHolder) {
  ClockTable clocks;
  EXPECT_EQ(clocks.Join(kJob, 1, 11), 0u);
  EXPECT_EQ(clocks.Join(kJob, 2, 12), 0u);
  clocks.Advance(kJob, 1, 5);
  EXPECT_EQ(clocks.Minimum(kJob), 0u);
  clocks.Advance(kJob, 2, 2);
  EXPECT_EQ(clocks.Minimum(kJob), 2u);
  clocks.Advance(kJob, 2, 1);
  EXPECT_EQ(clocks.Minimum(kJob), 2u) << "clocks never fall";
  clocks.Advance(kJob, 9, 1);
  EXPECT_EQ(clocks.Minimum(kJob), 2u) << "no such lease";
  EXPECT_EQ(clocks.Minimum(4), 0u);
}

TEST(ClockTable, WhoLeavesHoldsNobodyBack) {
  ClockTable clocks;
  clocks.Join(kJob, 1, 11);
  clocks.Join(kJob, 2, 12);
  clocks.Advance(kJob, 1, 5);
  clocks.Advance(kJob, 2, 2);
  clocks.Leave(kJob, 2);
  EXPECT_EQ(clocks.Minimum(kJob), 5u);
}

TEST(ClockTable, WhoJoinsIsNotBehindTheMinimum) {
  ClockTable clocks;
  clocks.Join(kJob, 1, 11);
  clocks.Advance(kJob, 1, 7);
  EXPECT_EQ(clocks.Join(kJob, 2, 12), 7u);
  EXPECT_EQ(clocks.Minimum(kJob), 7u);
  // Nor behind what it has reached itself.
  clocks.Advance(kJob, 1, 9);
  clocks.Leave(kJob, 1);
  EXPECT_EQ(clocks.Join(kJob, 3, 11), 9u);
  EXPECT_EQ(clocks.Minimum(kJob), 7u);
}

TEST(ClockTable, BetweenHoldersTheMinimumStays) {
  ClockTable clocks;
  clocks.Join(kJob, 1, 11);
  clocks.Join(kJob, 2, 12);
  clocks.Advance(kJob, 1, 3);
  clocks.Advance(kJob, 2, 1);
  clocks.Leave(kJob, 2);
  clocks.Advance(kJob, 1, 8);
  clocks.Leave(kJob, 1);
  EXPECT_EQ(clocks.Minimum(kJob), 8u);
  EXPECT_EQ(clocks.Join(kJob, 3, 12), 8u) << "it would be 7 behind when worker 11 comes back";
}

TEST(ClockTable, AfterARestartTheMinimumIsUnknownUntilAllHaveSaidTheirs) {
  ClockTable clocks;
  clocks.Adopt(kJob, 1, 11);
  clocks.Adopt(kJob, 2, 12);
  clocks.Advance(kJob, 1, 50);
  EXPECT_FALSE(clocks.Known(kJob));
  EXPECT_EQ(clocks.Minimum(kJob), 0u);
  clocks.Advance(kJob, 2, 48);
  EXPECT_TRUE(clocks.Known(kJob));
  EXPECT_EQ(clocks.Minimum(kJob), 48u);
  ClockTable other;
  other.Adopt(kJob, 1, 11);
  other.Adopt(kJob, 2, 12);
  other.Advance(kJob, 1, 50);
  other.Leave(kJob, 2);  // it never reported
  EXPECT_EQ(other.Minimum(kJob), 50u);
}

TEST(ClockTable, LinesShowHoldersAndWhatOthersKeep) {
  ClockTable clocks;
  clocks.Join(kJob, 1, 12);
  clocks.Join(kJob, 2, 11);
  clocks.Advance(kJob, 1, 4);
  clocks.Leave(kJob, 1);
  const auto lines = clocks.Lines(kJob);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].node, 11u);
  EXPECT_TRUE(lines[0].holds);
  EXPECT_EQ(lines[1].node, 12u);
  EXPECT_EQ(lines[1].clock, 4u);
  EXPECT_FALSE(lines[1].holds);
  clocks.Drop(kJob);
  EXPECT_TRUE(clocks.Lines(kJob).empty());
}

}  // namespace
}  // namespace penstock
