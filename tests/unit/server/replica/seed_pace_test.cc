// How much of a server's rows goes to new copies in a time, and how pushes are held back for one.
#include "server/replica/seed_pace.h"

#include <gtest/gtest.h>

#include <map>

#include "server/replica/push_delay.h"

namespace penstock {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// What goes in a minute where it is asked every 50 ms, and after each piece.
uint64_t SentInAMinute(SeedPace& pace, uint64_t from_ms, uint64_t piece) {
  uint64_t sent = 0;
  for (uint64_t now = from_ms; now < from_ms + 60'000; now += 50) {
    while (pace.May(0, now)) {
      pace.Sent(0, piece, now);
      sent += piece;
    }
  }
  return sent;
}

TEST(SeedPaceTest, KeepsToItsBoundWhateverThePieces) {
  for (const uint64_t piece : {kMiB / 7, kMiB, 5 * kMiB}) {
    SeedPace pace(10 * kMiB);
    const auto sent = static_cast<double>(SentInAMinute(pace, 1000, piece)) / (600.0 * kMiB);
    EXPECT_GT(sent, 0.98) << piece;
    EXPECT_LT(sent, 1.02) << piece;
  }
}

TEST(SeedPaceTest, ATimeInWhichNothingWasSentIsNotMadeUpFor) {
  SeedPace pace(10 * kMiB);
  SentInAMinute(pace, 1000, kMiB);
  uint64_t at_once = 0;
  for (; pace.May(0, 3'600'000); ++at_once) pace.Sent(0, kMiB, 3'600'000);
  EXPECT_LE(at_once, 3u);
}

TEST(SeedPaceTest, NoBoundIsNone) {
  SeedPace pace(0);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(pace.May(0, 1));
    pace.Sent(0, kMiB, 1);
  }
}

// One core asks every millisecond, as its answers come, the other only now and then.
TEST(SeedPaceTest, CoresTakeTurns) {
  SeedPace pace(10 * kMiB);
  std::map<uint32_t, uint64_t> sent;
  const auto ask = [&](uint32_t core, uint64_t now) {
    if (!pace.May(core, now)) return;
    pace.Sent(core, kMiB, now);
    sent[core] += kMiB;
  };
  for (uint64_t now = 1000; now < 61'000; ++now) {
    ask(0, now);
    if (now % 50 == 0) ask(1, now);
  }
  EXPECT_GT(sent[0] + sent[1], 590 * kMiB);
  EXPECT_LT(sent[0] + sent[1], 610 * kMiB);
  EXPECT_GT(sent[1], 150 * kMiB);
}

TEST(PushDelayTest, GrowsUntilTheCopyCatchesUpAndSaysSoOnce) {
  PushDelay delay;
  uint64_t now = 1000;
  const auto update = [&](bool behind) { return delay.Update(behind, now += 50); };
  EXPECT_EQ(update(false), PushDelay::Change::kNone);
  // A large delta is on its way.
  for (int i = 0; i < 7; ++i) EXPECT_EQ(update(true), PushDelay::Change::kNone);
  EXPECT_EQ(update(false), PushDelay::Change::kNone);
  EXPECT_EQ(delay.ms(), 0u);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(update(true), PushDelay::Change::kNone);
  EXPECT_EQ(update(true), PushDelay::Change::kBegins);
  EXPECT_EQ(delay.ms(), 1u);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(update(true), PushDelay::Change::kNone);
  EXPECT_EQ(delay.ms(), PushDelay::kMostMs) << "within some seconds";
  for (int i = 0; i < 12; ++i) EXPECT_EQ(update(false), PushDelay::Change::kNone);
  EXPECT_EQ(delay.ms(), 0u);
  EXPECT_EQ(update(true), PushDelay::Change::kNone) << "it has not ended yet";
  now += PushDelay::kQuietMs;
  EXPECT_EQ(update(false), PushDelay::Change::kEnds);
  EXPECT_EQ(delay.most_ms(), PushDelay::kMostMs);
}

TEST(PushDelayTest, IsUpdatedByTimeNotByHowOftenItIsAsked) {
  PushDelay delay;
  for (int i = 0; i < 100; ++i) delay.Update(true, 1000);
  for (int i = 0; i < 100; ++i) delay.Update(true, 1000 + PushDelay::kPatienceMs);
  EXPECT_EQ(delay.ms(), 1u);
}

// A copy that takes a part of what is pushed, whose pushers have some calls open at a time: it catches up,
// and they are held back no more than that takes.
TEST(PushDelayTest, AnyRateConverges) {
  for (const double rate : {1.1, 2.0, 10.0}) {
    PushDelay delay;
    double behind = 0;  // in what the copy takes in a second
    double done = 0;
    for (uint64_t now = 1000; now < 61'000; now += 50) {
      // Calls of 5 ms, which then take that and the delay.
      const double pushed = rate * 5 / (5 + static_cast<double>(delay.ms())) * 0.05;
      behind = std::max(0.0, behind + pushed - 0.05);
      done += pushed;
      delay.Update(behind > 0.2, now);
    }
    EXPECT_LT(behind, 1.5) << rate;
    EXPECT_GT(done, 0.6 * 60) << rate << ": it takes more than that";
  }
}

}  // namespace
}  // namespace penstock
