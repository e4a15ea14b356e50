// How long the log may become.
#include "server/node/fold_policy.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

constexpr uint64_t kMiB = 1 << 20, kGiB = 1 << 30;

class FoldPolicyTest : public testing::Test {
 protected:
  uint64_t At() const { return FoldAt(bounds_, facts_); }

  FoldBounds bounds_{.log_limit_bytes = 64 * kGiB,
                     .segment_bytes = 16 * kMiB,
                     .memory_budget_bytes = 16 * kGiB,
                     .recovery_seconds = 10};
  FoldFacts facts_{.free_bytes = 1000 * kGiB, .replay_speed = kGiB};
};

TEST_F(FoldPolicyTest, ASmallModelHasASmallLog) {
  EXPECT_EQ(At(), 64 * kMiB);
  facts_.live_bytes = 400'000;
  EXPECT_EQ(At(), 64 * kMiB);
  facts_.live_bytes = kGiB;
  EXPECT_EQ(At(), 2 * kGiB);
}

TEST_F(FoldPolicyTest, AStartReplaysItInTime) {
  facts_.live_bytes = 6 * kGiB;
  EXPECT_EQ(At(), 10 * kGiB);
  facts_.replay_speed = 200 * kMiB;
  EXPECT_EQ(At(), 2000 * kMiB);
  facts_.replay_speed = 0;
  EXPECT_EQ(At(), 1000 * kMiB);
  bounds_.recovery_seconds = 1;
  EXPECT_EQ(At(), 100 * kMiB);
}

TEST_F(FoldPolicyTest, RowsCanLeaveMemory) {
  facts_.live_bytes = 8 * kGiB;
  EXPECT_EQ(At(), 8 * kGiB) << "what is free of the budget";
  facts_.live_bytes = 15 * kGiB;
  EXPECT_EQ(At(), 4 * kGiB) << "a quarter of it";
  facts_.live_bytes = 20 * kGiB;
  EXPECT_EQ(At(), 4 * kGiB);
}

TEST_F(FoldPolicyTest, ASmallDiskHasASmallLog) {
  facts_.live_bytes = kGiB;
  facts_.free_bytes = 3 * kGiB;
  facts_.log_bytes = kGiB;
  EXPECT_EQ(At(), kGiB / 2);
  facts_ = {.free_bytes = 0};
  EXPECT_EQ(At(), 16 * kMiB) << "at least a segment";
}

TEST_F(FoldPolicyTest, TheOperatorsBoundsHold) {
  facts_.live_bytes = 2 * kGiB;
  bounds_.fold_bytes = 32 * kMiB;
  EXPECT_EQ(At(), 32 * kMiB);
  bounds_.fold_bytes = 3 * kGiB;
  facts_.free_bytes = 0;
  facts_.live_bytes = 0;
  EXPECT_EQ(At(), 3 * kGiB) << "in place of what follows from live rows and disk";
  facts_.live_bytes = 15 * kGiB;
  bounds_.fold_bytes = 12 * kGiB;
  EXPECT_EQ(At(), 4 * kGiB) << "rows can leave memory";
  facts_ = {.live_bytes = 2 * kGiB, .free_bytes = 1000 * kGiB, .replay_speed = kGiB};
  bounds_.fold_bytes = 0;
  bounds_.log_limit_bytes = kGiB;
  EXPECT_EQ(At(), kGiB / 2) << "pushes are refused at the limit";
}

}  // namespace
}  // namespace penstock
