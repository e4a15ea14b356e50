// How much of a server's rows goes to new copies in a time, and how pushes are held back for one.
#include "server/replica/seed_pace.h"

#include <gtest/gtest.h>

#include <random>

#include "server/replica/push_delay.h"

namespace penstock {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// What goes in a minute where it is asked every 50 ms, and after each piece.
uint64_t SentInAMinute(SeedPace& pace, uint64_t from_ms, uint64_t piece) {
  uint64_t sent = 0;
  for (uint64_t now = from_ms; now < from_ms + 60'000; now += 50) {
    while (pace.May(now)) {
      pace.Sent(piece, now);
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
  for (; pace.May(3'600'000); ++at_once) pace.Sent(kMiB, 3'600'000);
  EXPECT_LE(at_once, 3u);
}

TEST(SeedPaceTest, NoBoundIsNone) {
  SeedPace pace(0);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(pace.May(1));
    pace.Sent(kMiB, 1);
  }
}

TEST(PushDelayTest, GrowsUntilTheCopyCatchesUpAndSaysSoOnce) {
  PushDelay delay;
  uint64_t now = 1000;
  EXPECT_EQ(delay.Update(false, now), PushDelay::Change::kNone);
  EXPECT_EQ(delay.Update(true, now += 50), PushDelay::Change::kBegins);
  EXPECT_EQ(delay.ms(), 1u);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(delay.Update(true, now += 50), PushDelay::Change::kNone);
  EXPECT_EQ(delay.ms(), PushDelay::kMostMs) << "within two seconds";
  for (int i = 0; i < 10; ++i) EXPECT_EQ(delay.Update(false, now += 50), PushDelay::Change::kNone);
  EXPECT_EQ(delay.ms(), 0u);
  EXPECT_EQ(delay.Update(true, now += 50), PushDelay::Change::kNone) << "it has not ended yet";
  EXPECT_EQ(delay.Update(false, now += PushDelay::kQuietMs), PushDelay::Change::kEnds);
  EXPECT_EQ(delay.most_ms(), PushDelay::kMostMs);
}

TEST(PushDelayTest, IsUpdatedByTimeNotByHowOftenItIsAsked) {
  PushDelay delay;
  for (int i = 0; i < 100; ++i) delay.Update(true, 1000);
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
    EXPECT_LT(behind, 0.5) << rate;
    EXPECT_GT(done, 0.7 * 60) << rate << ": it takes more than that";
  }
}

}  // namespace
}  // namespace penstock
