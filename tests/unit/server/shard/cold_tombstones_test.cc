// What becomes of a cold row's deletion: into a delta, after a failed write into another, and out with the
// fold.
#include "server/shard/cold_tombstones.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST(ColdTombstonesTest, HidesAKeyUntilItsDeletionIsFolded) {
  ColdTombstones gone;
  EXPECT_FALSE(gone.Contains(1));
  gone.Add(1);
  gone.Add(2);
  gone.Add(1);
  EXPECT_THAT(gone.Fresh(), ElementsAre(1, 2));
  gone.Forget(100);
  EXPECT_EQ(gone.size(), 2u) << "they are in no delta yet";
  gone.ClearFresh(7);
  EXPECT_FALSE(gone.HasFresh());
  gone.Add(3);
  gone.ClearFresh(8);
  gone.Replay(4, 6);
  gone.Forget(7);
  EXPECT_FALSE(gone.Contains(1));
  EXPECT_FALSE(gone.Contains(4));
  EXPECT_TRUE(gone.Contains(3));
  gone.Forget(8);
  EXPECT_EQ(gone.size(), 0u);
  EXPECT_EQ(gone.ResidentBytes(), 0u);
}

TEST(ColdTombstonesTest, AKeyThatIsPushedAgainIsNotDeletedAnyMore) {
  ColdTombstones gone;
  gone.Add(1);
  gone.Add(2);
  gone.Remove(1);
  gone.Remove(5);
  EXPECT_THAT(gone.Fresh(), ElementsAre(2));
  EXPECT_FALSE(gone.Contains(1));
}

TEST(ColdTombstonesTest, WhatAFailedWriteLostIsLoggedAgain) {
  ColdTombstones gone;
  gone.Add(1);
  gone.ClearFresh(5);
  gone.Add(2);
  gone.ClearFresh(6);
  gone.Add(3);
  gone.Relog(5);
  EXPECT_THAT(gone.Fresh(), UnorderedElementsAre(2, 3));
  gone.ClearFresh(9);
  EXPECT_THAT(gone.Fresh(), IsEmpty());
  gone.Forget(8);
  EXPECT_TRUE(gone.Contains(2));
  EXPECT_FALSE(gone.Contains(1));
}

}  // namespace
}  // namespace penstock
