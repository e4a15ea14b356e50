// ProducerWindow and LogTracker: sequences, low, recorded progress, and what a new epoch of a shard does to
// them.
#include "client/producer_window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/log_tracker.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

UnitPosition At(ShardId shard, Epoch epoch, Lsn lsn, Lsn logged) { return {shard, epoch, lsn, logged}; }

TEST(ProducerWindow, LowIsTheLowestUnfinishedOneOfAClient) {
  ProducerWindow window(ProducerKind::kClient, 0);
  EXPECT_EQ(window.low(), 0u);
  for (Sequence s = 0; s < 3; ++s) EXPECT_EQ(*window.BeginNext(), s);
  EXPECT_EQ(window.low(), 0u);
  window.Finish(1, {At(0, 1, 5, 0)});
  EXPECT_EQ(window.low(), 0u);
  window.Fail(0);  // given up
  EXPECT_EQ(window.low(), 2u);
  window.Finish(2, {});
  EXPECT_EQ(window.low(), 3u);
  EXPECT_EQ(window.in_flight(), 0u);
}

TEST(ProducerWindow, RefusesSequencesBeyondTheWindow) {
  ProducerWindow window(ProducerKind::kClient, 0);
  for (uint64_t i = 0; i < ProducerWindow::kMaxWindow; ++i) ASSERT_TRUE(window.BeginNext().ok());
  EXPECT_EQ(window.BeginNext().status().code(), Code::kOverloaded);
  window.Finish(7, {});
  EXPECT_EQ(window.BeginNext().status().code(), Code::kOverloaded) << "the lowest one holds the window";
  window.Finish(0, {});
  EXPECT_EQ(*window.BeginNext(), ProducerWindow::kMaxWindow);
}

TEST(ProducerWindow, AClientCannotChooseSequences) {
  ProducerWindow window(ProducerKind::kClient, 0);
  EXPECT_EQ(window.Begin(4).code(), Code::kInvalidArgument);
}

TEST(ProducerWindow, AJobRecordsWhatIsLogged) {
  ProducerWindow window(ProducerKind::kJob, 10);
  EXPECT_EQ(window.recorded(), 10u);
  ASSERT_TRUE(window.Begin(10).ok());
  ASSERT_TRUE(window.Begin(11).ok());
  window.Finish(11, {At(0, 1, 3, 3)});
  EXPECT_EQ(window.recorded(), 10u);
  window.Finish(10, {At(0, 1, 2, 2), At(1, 1, 9, 4)});
  EXPECT_EQ(window.recorded(), 10u) << "shard 1 has not logged 9 yet";
  EXPECT_EQ(window.low(), 10u);
  window.Observe(1, 1, 8);
  EXPECT_EQ(window.recorded(), 10u);
  window.Observe(1, 1, 9);
  EXPECT_EQ(window.recorded(), 12u);
  EXPECT_EQ(window.low(), 12u);
}

TEST(ProducerWindow, SequencesThatArePassedOverCountAsRecorded) {
  ProducerWindow window(ProducerKind::kJob, 0);
  ASSERT_TRUE(window.Begin(5).ok());
  EXPECT_EQ(window.recorded(), 0u) << "until something comes of it";
  window.Finish(5, {});
  EXPECT_EQ(window.recorded(), 6u);
  EXPECT_EQ(window.Begin(3).code(), Code::kInvalidArgument);
}

TEST(ProducerWindow, AFailedSequenceMayBePushedAgainAndOthersMayNot) {
  ProducerWindow window(ProducerKind::kJob, 0);
  ASSERT_TRUE(window.Begin(0).ok());
  ASSERT_TRUE(window.Begin(1).ok());
  EXPECT_THAT(window.Begin(0).message(), HasSubstr("in flight"));
  window.Finish(1, {At(0, 1, 1, 0)});
  EXPECT_THAT(window.Begin(1).message(), HasSubstr("answered"));
  window.Fail(0);
  EXPECT_EQ(window.recorded(), 0u);
  EXPECT_TRUE(window.Begin(0).ok());
  EXPECT_EQ(window.next(), 2u);
}

TEST(ProducerWindow, ANewEpochBeforeTheLogRewinds) {
  ProducerWindow window(ProducerKind::kJob, 0);
  for (Sequence s = 0; s < 3; ++s) ASSERT_TRUE(window.Begin(s).ok());
  window.Finish(0, {At(4, 1, 1, 1)});
  window.Finish(1, {At(4, 1, 2, 1)});
  EXPECT_EQ(window.recorded(), 1u);
  // The new epoch's lsns are above all that were reported, but not above all that were answered: 2 there may
  // be another delta.
  window.Observe(4, 2, 100);
  EXPECT_TRUE(window.rewound());
  EXPECT_EQ(window.recorded(), 1u);
  EXPECT_EQ(window.Begin(3).code(), Code::kFailedPrecondition);
  EXPECT_EQ(window.Rewind().status().code(), Code::kFailedPrecondition) << "2 is in flight";
  window.Finish(2, {At(4, 2, 101, 101)});
  EXPECT_EQ(*window.Rewind(), 1u);
  EXPECT_FALSE(window.rewound());
  ASSERT_TRUE(window.Begin(1).ok());
  EXPECT_EQ(window.low(), 1u);
  window.Finish(1, {At(4, 2, 102, 102)});
  ASSERT_TRUE(window.Begin(2).ok());
  window.Finish(2, {At(4, 2, 103, 103)});
  EXPECT_EQ(window.recorded(), 3u);
}

TEST(ProducerWindow, ANewEpochAfterTheLogDoesNot) {
  ProducerWindow window(ProducerKind::kJob, 0);
  ASSERT_TRUE(window.Begin(0).ok());
  window.Finish(0, {At(4, 1, 7, 7)});
  window.Observe(4, 2, 0);
  EXPECT_FALSE(window.rewound());
  EXPECT_EQ(window.recorded(), 1u);
}

TEST(ProducerWindow, AnAnswerThatTheNewEpochOvertookRewinds) {
  ProducerWindow window(ProducerKind::kJob, 0);
  ASSERT_TRUE(window.Begin(0).ok());
  ASSERT_TRUE(window.Begin(1).ok());
  window.Observe(4, 3, 50);
  window.Finish(0, {At(4, 2, 7, 7)});
  EXPECT_FALSE(window.rewound()) << "it was logged in its own epoch";
  EXPECT_EQ(window.recorded(), 1u);
  window.Finish(1, {At(4, 2, 8, 7)});
  EXPECT_TRUE(window.rewound());
  EXPECT_EQ(window.recorded(), 1u);
}

TEST(LogTracker, NamesTheShardsWithALag) {
  LogTracker log;
  log.Observe({1, 1, 5, 5});
  log.Observe({2, 1, 5, 3});
  log.Observe({3, 1, 0, 9});
  EXPECT_THAT(log.Unlogged(), ElementsAre(2));
  log.Observe({2, 1, 0, 5});
  EXPECT_THAT(log.Unlogged(), IsEmpty());
  EXPECT_THAT(log.TakeLost(), IsEmpty());
}

TEST(LogTracker, NamesTheShardsThatMayHaveLostSomething) {
  LogTracker log;
  log.Observe({1, 1, 5, 5});
  log.Observe({2, 1, 5, 3});
  for (const ShardId shard : {1u, 2u}) log.Observe({shard, 2, 0, 40});
  EXPECT_THAT(log.TakeLost(), ElementsAre(2));
  EXPECT_THAT(log.TakeLost(), IsEmpty());
  EXPECT_THAT(log.Unlogged(), IsEmpty());
  log.Observe({1, 1, 6, 5});  // an answer from before
  EXPECT_THAT(log.TakeLost(), ElementsAre(1));
}

}  // namespace
}  // namespace penstock
