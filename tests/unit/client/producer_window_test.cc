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

// By a primary that has led since this epoch, and knows nothing of those before.
UnitPosition At(ShardId shard, Epoch epoch, Lsn lsn, Lsn logged) {
  return {shard, epoch, lsn, logged, {.since = epoch}};
}
UnitPosition Seen(ShardId shard, Epoch epoch, Lsn logged, const HeldBefore& held) {
  return {shard, epoch, 0, logged, held};
}

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
  window.Observe(At(1, 1, 0, 8));
  EXPECT_EQ(window.recorded(), 10u);
  window.Observe(At(1, 1, 0, 9));
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
  window.Observe(At(4, 2, 0, 100));
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
  window.Observe(At(4, 2, 0, 0));
  EXPECT_FALSE(window.rewound());
  EXPECT_EQ(window.recorded(), 1u);
}

TEST(ProducerWindow, AnAnswerThatTheNewEpochOvertookRewinds) {
  ProducerWindow window(ProducerKind::kJob, 0);
  ASSERT_TRUE(window.Begin(0).ok());
  ASSERT_TRUE(window.Begin(1).ok());
  window.Observe(At(4, 3, 0, 50));
  window.Finish(0, {At(4, 2, 7, 7)});
  EXPECT_FALSE(window.rewound()) << "it was logged in its own epoch";
  EXPECT_EQ(window.recorded(), 1u);
  window.Finish(1, {At(4, 2, 8, 7)});
  EXPECT_TRUE(window.rewound());
  EXPECT_EQ(window.recorded(), 1u);
}

// Sequences 0, 1, 2 of shard 4 in epoch 5, at lsns 10, 11, 12; 10 is logged.
ProducerWindow ThreeUnits() {
  ProducerWindow window(ProducerKind::kJob, 0);
  for (Sequence s = 0; s < 3; ++s) {
    EXPECT_TRUE(window.Begin(s).ok());
    window.Finish(s, {At(4, 5, 10 + s, 10)});
  }
  EXPECT_EQ(window.recorded(), 1u);
  return window;
}

TEST(ProducerWindow, AnEpochOfTheSamePrimaryRewindsNobody) {
  ProducerWindow window = ThreeUnits();
  window.Observe(Seen(4, 7, 10, {.since = 3, .from = 1, .to = 2, .up_to = 4}));
  EXPECT_FALSE(window.rewound());
  EXPECT_EQ(window.recorded(), 1u);
  EXPECT_TRUE(window.Begin(3).ok());
  window.Observe(Seen(4, 7, 11, {.since = 3}));
  EXPECT_EQ(window.recorded(), 2u) << "units go on waiting for their log";
  window.Observe(Seen(4, 7, 12, {.since = 3}));
  window.Finish(3, {At(4, 7, 13, 13)});
  EXPECT_EQ(window.recorded(), 4u);
}

TEST(ProducerWindow, APromotedBackupRewindsWhatItDoesNotHold) {
  ProducerWindow window = ThreeUnits();
  window.Observe(Seen(4, 6, 10, {.since = 6, .from = 2, .to = 5, .up_to = 12}));
  EXPECT_FALSE(window.rewound());
  window.Observe(Seen(4, 7, 10, {.since = 7, .from = 6, .to = 6, .up_to = 11}));
  EXPECT_TRUE(window.rewound()) << "12 was held in epoch 6 and is lost now";
  EXPECT_EQ(*window.Rewind(), 1u);
}

TEST(ProducerWindow, AnEpochThatThePastWasNotHeardOfRewinds) {
  for (const HeldBefore& held :
       {HeldBefore{.since = 6}, HeldBefore{.since = 8, .from = 6, .to = 7, .up_to = 99},
        HeldBefore{.since = 8, .from = 3, .to = 4, .up_to = 99}}) {
    ProducerWindow window = ThreeUnits();
    window.Observe(Seen(4, 8, 50, held));
    EXPECT_TRUE(window.rewound()) << held.since;
    EXPECT_EQ(window.recorded(), 1u);
  }
}

TEST(ProducerWindow, NothingIsLoggedBeforeItIsKnownWhatIsHeld) {
  ProducerWindow window = ThreeUnits();
  window.Observe(Seen(4, 6, 100, {}));
  EXPECT_FALSE(window.rewound());
  EXPECT_EQ(window.recorded(), 1u);
  window.Observe(Seen(4, 6, 100, {.since = 5}));
  EXPECT_EQ(window.recorded(), 3u);
}

TEST(ProducerWindow, AnAnswerThatAnEpochWithoutLossOvertookWaitsForItsLog) {
  ProducerWindow window(ProducerKind::kJob, 0);
  for (Sequence s = 0; s < 3; ++s) ASSERT_TRUE(window.Begin(s).ok());
  window.Observe(Seen(4, 6, 5, {.since = 6, .from = 3, .to = 5, .up_to = 8}));
  window.Finish(0, {At(4, 5, 4, 0)});
  EXPECT_EQ(window.recorded(), 1u) << "held, and logged by now";
  window.Finish(1, {At(4, 5, 8, 0)});
  EXPECT_EQ(window.recorded(), 1u);
  EXPECT_FALSE(window.rewound());
  window.Observe(Seen(4, 6, 8, {.since = 6}));
  EXPECT_EQ(window.recorded(), 2u);
  window.Finish(2, {At(4, 5, 9, 0)});
  EXPECT_TRUE(window.rewound());
}

TEST(LogTracker, NamesTheShardsWithALag) {
  LogTracker log;
  log.Observe(At(1, 1, 5, 5));
  log.Observe(At(2, 1, 5, 3));
  log.Observe(At(3, 1, 0, 9));
  EXPECT_THAT(log.Unlogged(), ElementsAre(2));
  log.Observe(At(2, 1, 0, 5));
  EXPECT_THAT(log.Unlogged(), IsEmpty());
  EXPECT_THAT(log.TakeLost(), IsEmpty());
}

TEST(LogTracker, NamesTheShardsThatMayHaveLostSomething) {
  LogTracker log;
  log.Observe(At(1, 1, 5, 5));
  log.Observe(At(2, 1, 5, 3));
  for (const ShardId shard : {1u, 2u}) log.Observe(At(shard, 2, 0, 40));
  EXPECT_THAT(log.TakeLost(), ElementsAre(2));
  EXPECT_THAT(log.TakeLost(), IsEmpty());
  EXPECT_THAT(log.Unlogged(), IsEmpty());
  log.Observe(At(1, 1, 6, 5));  // an answer from before
  EXPECT_THAT(log.TakeLost(), ElementsAre(1));
}

TEST(LogTracker, WhatIsHeldIsNotLost) {
  LogTracker log;
  log.Observe(At(1, 1, 5, 3));
  log.Observe(At(2, 1, 5, 3));
  log.Observe(Seen(1, 3, 3, {.since = 1}));
  log.Observe(Seen(2, 3, 3, {.since = 2, .from = 1, .to = 1, .up_to = 5}));
  EXPECT_THAT(log.Unlogged(), ElementsAre(1, 2));
  log.Observe(Seen(1, 4, 9, {}));
  EXPECT_THAT(log.Unlogged(), ElementsAre(1, 2)) << "it is not known what is held in epoch 4";
  log.Observe(Seen(1, 4, 9, {.since = 1}));
  log.Observe(Seen(2, 4, 3, {.since = 4, .from = 2, .to = 3, .up_to = 4}));
  EXPECT_THAT(log.Unlogged(), ElementsAre(2)) << "what is held of it goes on waiting";
  EXPECT_THAT(log.TakeLost(), ElementsAre(2));
  log.Observe(Seen(2, 4, 4, {.since = 4}));
  EXPECT_THAT(log.Unlogged(), IsEmpty());
  EXPECT_THAT(log.TakeLost(), IsEmpty());
}

}  // namespace
}  // namespace penstock
