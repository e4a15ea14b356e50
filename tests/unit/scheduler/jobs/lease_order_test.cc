// The order of partitions, and whose turn it is.
#include "scheduler/jobs/lease_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

TEST(PartitionOrderTest, IsAPermutationThatDependsOnSeedAndPass) {
  const TrainPolicy policy{.seed = 7, .shuffle = true};
  const auto order = PartitionOrder(policy, 0, 100);
  EXPECT_EQ(PartitionOrder(policy, 0, 100), order) << "the same for every scheduler";
  EXPECT_NE(PartitionOrder(policy, 1, 100), order);
  EXPECT_NE(PartitionOrder({.seed = 8, .shuffle = true}, 0, 100), order);
  auto sorted = order;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, PartitionOrder({.seed = 7, .shuffle = false}, 0, 100));
  EXPECT_TRUE(PartitionOrder(policy, 0, 0).empty());
}

// Journaled jobs must keep their order over versions of the program.
TEST(PartitionOrderTest, DoesNotChange) {
  EXPECT_THAT(PartitionOrder({.seed = 1, .shuffle = true}, 0, 8), ElementsAre(1, 0, 4, 2, 5, 7, 6, 3));
  EXPECT_THAT(PartitionOrder({.seed = 1, .shuffle = true}, 1, 8), ElementsAre(7, 5, 2, 0, 6, 3, 1, 4));
  EXPECT_THAT(PartitionOrder({.seed = 1, .shuffle = false}, 1, 4), ElementsAre(0, 1, 2, 3));
}

TEST(LeaseOrderTest, PassesOverWhatIsDoneUntilAllAreFreeAgain) {
  JobRecord job{.id = 1};
  job.phase = JobPhase::kEvaluateTrain;
  job.partitions.resize(4);
  LeaseOrder order;
  job.partitions[0].state = job.partitions[1].state = job.partitions[3].state = PartitionState::kDone;
  EXPECT_THAT(order.OpenOf(job), ElementsAre(2, 3));
  // Another evaluation after the same pass.
  for (PartitionRecord& partition : job.partitions) partition = {};
  EXPECT_THAT(order.OpenOf(job), ElementsAre(0, 1, 2, 3));
}

TEST(LeaseOrderTest, FollowsPassAndPhase) {
  JobRecord job;
  job.id = 3;
  job.policy = {.seed = 1, .shuffle = true};
  job.partitions.resize(8);
  LeaseOrder order;
  EXPECT_THAT(order.OpenOf(job), ElementsAreArray(PartitionOrder(job.policy, 0, 8)));
  job.pass = 1;
  EXPECT_THAT(order.OpenOf(job), ElementsAreArray(PartitionOrder(job.policy, 1, 8)));
  for (uint32_t i = 0; i < 8; ++i) EXPECT_EQ(order.OpenOf(job)[order.PositionOf(job, i)], i);
  job.phase = JobPhase::kEvaluateTest;
  job.partitions.resize(4);
  EXPECT_THAT(order.OpenOf(job), ElementsAre(0, 1, 2, 3)) << "evaluations go by the data's order";
}

TEST(FairShareTest, TheJobWithTheFewestLeasesIsNext) {
  FairShare share;
  share.Offer(1, 2);
  share.Offer(2, 0);
  share.Offer(3, 1);
  share.Count(9);  // offers nothing
  std::vector<JobId> given;
  for (int i = 0; i < 6; ++i) given.push_back(share.Next());
  EXPECT_THAT(given, ElementsAre(2, 3, 2, 1, 3, 2));
}

TEST(FairShareTest, EqualJobsTakeTurns) {
  FairShare share;
  std::vector<JobId> given;
  for (int i = 0; i < 5; ++i) {  // each lease ends before the next one is asked for
    for (JobId job : {1, 2, 3}) share.Offer(job, 0);
    given.push_back(share.Next());
  }
  EXPECT_THAT(given, ElementsAre(1, 2, 3, 1, 2));
  share.Withdraw(3);
  EXPECT_EQ(share.Next(), 1u);
  share.Withdraw(1);
  share.Withdraw(2);
  EXPECT_TRUE(share.empty());
}

}  // namespace
}  // namespace penstock
