#include "server/node/push_clocks.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

TEST(PushClocks, ALeadCountsWhenTheSlowerGoesOn) {
  PushClocks clocks;
  clocks.Push(1, 1);
  clocks.Push(2, 1);
  for (uint64_t clock = 2; clock <= 5; ++clock) clocks.Push(1, clock);
  EXPECT_EQ(clocks.workers().at(1).lead, 0u) << "worker 2 may have left";
  clocks.Push(2, 2);
  EXPECT_EQ(clocks.workers().at(1).lead, 4u);
  EXPECT_EQ(clocks.workers().at(2).lead, 0u);
  clocks.Push(2, 3);
  EXPECT_EQ(clocks.workers().at(1).lead, 4u);
}

TEST(PushClocks, WhoWasAwayHeldNobodyBack) {
  PushClocks clocks;
  clocks.Push(1, 1);
  clocks.Push(2, 1);
  for (uint64_t clock = 2; clock <= 9; ++clock) clocks.Push(1, clock);
  clocks.Push(2, 10);  // it came back at the minimum
  EXPECT_EQ(clocks.workers().at(1).lead, 0u);
  EXPECT_EQ(clocks.workers().at(2).clock, 10u);
  clocks.Push(1, 10);
  EXPECT_EQ(clocks.workers().at(2).lead, 1u) << "ahead of worker 1, which went on";
}

TEST(PushClocks, PiecesAndRepeatsChangeNothing) {
  PushClocks clocks;
  clocks.Push(1, 3);
  clocks.Push(2, 3);
  clocks.Push(1, 4);
  clocks.Push(1, 4);
  clocks.Push(1, 2);
  EXPECT_EQ(clocks.workers().at(1).clock, 4u);
  clocks.Push(2, 3);
  EXPECT_EQ(clocks.workers().at(1).lead, 0u);
  clocks.Push(2, 4);
  EXPECT_EQ(clocks.workers().at(1).lead, 1u);
}

TEST(PushClocks, WorkersThatAreMadeUpTakeNoMoreRoom) {
  PushClocks clocks;
  for (NodeId worker = 1; worker <= 10'000; ++worker) clocks.Push(worker, worker);
  EXPECT_EQ(clocks.workers().size(), PushClocks::kMostWorkers);
  clocks.Push(1, 20'000);
  EXPECT_EQ(clocks.workers().at(1).clock, 20'000u) << "those that are known go on";
}

}  // namespace
}  // namespace penstock
