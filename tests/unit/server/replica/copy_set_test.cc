// What a primary makes of its backups' answers.
#include "server/replica/copy_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock {
namespace {

using testing::HasSubstr;
using Stage = CopySet::Stage;

constexpr uint64_t kNow = 1000;

TailDelta Delta(Lsn lsn) {
  return {.lsn = lsn, .checksum = static_cast<uint32_t>(lsn * 11), .words = kj::heapArray<capnp::word>(4)};
}
BackupGrant BackupOf(NodeId node, bool in_sync, Incarnation incarnation = 7) {
  return {.node = node,
          .name = "server-" + std::to_string(node),
          .incarnation = incarnation,
          .endpoint = "host:" + std::to_string(node),
          .in_sync = in_sync};
}
ReplicaStanding At(Lsn lsn, Lsn logged) {
  return {.complete = true, .point = {lsn, static_cast<uint32_t>(lsn * 11)}, .logged = logged};
}

class CopySetTest : public testing::Test {
 protected:
  CopySetTest() : set_(3, DeltaTail({10, 110})) {}
  void Want(const std::vector<BackupGrant>& backups, uint32_t min_copies = 1) {
    set_.Want(5, min_copies, backups, kNow);
  }
  void Add(Lsn lsn) { set_.Add(Delta(lsn), kNow); }
  CopySet::Copy& Copy(NodeId node) {
    for (auto& copy : set_.copies()) {
      if (copy.grant.node == node) return copy;
    }
    ADD_FAILURE() << "no copy on " << node;
    abort();
  }
  std::vector<Lsn> Sent(NodeId node) {
    std::vector<Lsn> lsns;
    while (const auto next = set_.Next(Copy(node))) lsns.push_back(next->piece ? 0 : next->delta.lsn);
    return lsns;
  }

  CopySet set_;
};

TEST_F(CopySetTest, CountsWhatEveryCopyInSyncHasLogged) {
  Want({BackupOf(2, true), BackupOf(3, true), BackupOf(4, false)});
  for (NodeId node : {2, 3, 4}) EXPECT_FALSE(set_.Attached(Copy(node), At(10, 10), kNow));
  Add(11);
  Add(12);
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{11, 12}));
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{}));
  EXPECT_EQ(set_.Logged(12), 10u);
  set_.Confirmed(Copy(2), 12, false, kNow);
  EXPECT_EQ(set_.Logged(12), 10u);
  set_.Confirmed(Copy(3), 11, true, kNow);
  EXPECT_EQ(set_.Logged(12), 11u) << "the one that is not in sync does not count";
  EXPECT_EQ(set_.Synced(12), 0u) << "server-2 has synced nothing";
  EXPECT_THAT(set_.Missing(12), HasSubstr("server-3"));
  set_.Confirmed(Copy(3), 12, false, kNow);
  EXPECT_EQ(set_.Logged(12), 12u);
  EXPECT_EQ(set_.Logged(11), 11u) << "and what the primary has not logged itself does not";
}

// Nobody has told it to sync what it had logged before it was attached.
TEST_F(CopySetTest, OwesASyncOfWhatWasLoggedBefore) {
  Add(11);
  Want({BackupOf(2, true)});
  set_.Attached(Copy(2), At(11, 11), kNow);
  EXPECT_EQ(set_.Logged(11), 11u);
  EXPECT_TRUE(set_.OwesSync(11));
  Add(12);
  EXPECT_FALSE(set_.OwesSync(12)) << "not even logged";
  set_.Confirmed(Copy(2), 12, true, kNow);
  EXPECT_FALSE(set_.OwesSync(11));
  EXPECT_FALSE(set_.OwesSync(12));
}

// What is pushed counts, and that it is taken; not what is owed to one that takes nothing.
TEST_F(CopySetTest, PushersAreHeldBackForACopyThatFallsBehind) {
  constexpr uint64_t kMost = 64 << 20;
  const auto add = [&](Lsn lsn, uint64_t bytes) {
    set_.Add({.lsn = lsn,
              .checksum = static_cast<uint32_t>(lsn * 11),
              .words = kj::heapArray<capnp::word>(bytes / sizeof(capnp::word))},
             kNow);
  };
  Want({BackupOf(2, false), BackupOf(3, true)});
  for (NodeId node : {2, 3}) set_.Attached(Copy(node), At(10, 10), kNow);
  add(11, 4 << 20);
  EXPECT_EQ(set_.UpdateDelay(kMost, kNow + 100), PushDelay::Change::kNone);
  EXPECT_TRUE(set_.CaughtUp(Copy(2))) << "but for the latest";
  add(12, 8 << 20);
  add(13, 4 << 20);
  EXPECT_EQ(set_.BehindBytes(Copy(2)), 16u << 20);
  EXPECT_FALSE(set_.CaughtUp(Copy(2))) << "more than the latest two";
  set_.Confirmed(Copy(3), 13, false, kNow + 150);
  const auto behind_for = [&](uint64_t from, uint64_t ms) {
    for (uint64_t now = from; now <= from + ms; now += 50) set_.UpdateDelay(kMost, now);
    return set_.delay().ms();
  };
  EXPECT_EQ(behind_for(kNow + 200, 350), 0u);
  EXPECT_EQ(set_.UpdateDelay(kMost, kNow + 600), PushDelay::Change::kBegins) << "it shall become one in sync";
  EXPECT_EQ(set_.delay().ms(), 1u);
  set_.Confirmed(Copy(2), 11, false, kNow + 650);
  EXPECT_EQ(set_.BehindBytes(Copy(2)), 12u << 20);
  EXPECT_TRUE(set_.CaughtUp(Copy(2)));
  set_.UpdateDelay(kMost, kNow + 700);
  EXPECT_EQ(set_.delay().ms(), 0u);
  // One that is in sync may be further behind.
  add(14, 32 << 20);
  set_.Confirmed(Copy(2), 14, false, kNow + 800);
  EXPECT_EQ(behind_for(kNow + 800, 600), 0u);
  EXPECT_TRUE(set_.CaughtUp(Copy(3)));
  add(15, 40 << 20);
  set_.Confirmed(Copy(2), 15, false, kNow + 1450);
  EXPECT_GT(behind_for(kNow + 1450, 600), 0u);
  EXPECT_EQ(behind_for(kNow + 1450 + 3600, 600), 0u) << "silent: that is not waited for";
}

TEST_F(CopySetTest, AMemberThatLeavesHoldsNothingUp) {
  Want({BackupOf(2, true), BackupOf(3, true)});
  for (NodeId node : {2, 3}) set_.Attached(Copy(node), At(10, 10), kNow);
  Add(11);
  set_.Confirmed(Copy(2), 11, false, kNow);
  EXPECT_EQ(set_.Logged(11), 10u);
  Want({BackupOf(2, true)});
  EXPECT_EQ(set_.Logged(11), 11u);
  // Taken in again as another life, it begins anew.
  Want({BackupOf(2, true), BackupOf(3, false, 8)});
  EXPECT_EQ(Copy(3).stage, Stage::kDetached);
  EXPECT_EQ(Copy(2).logged, 11u);
}

TEST_F(CopySetTest, ResumesWhereTheCopyStands) {
  Want({BackupOf(2, true)});
  for (Lsn lsn = 11; lsn <= 14; ++lsn) Add(lsn);
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{})) << "not attached";
  EXPECT_FALSE(set_.Attached(Copy(2), At(12, 11), kNow));
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{13, 14}));
  EXPECT_EQ(set_.Logged(14), 11u);
  set_.Detached(Copy(2));
  EXPECT_EQ(Copy(2).stage, Stage::kDetached);
  EXPECT_FALSE(set_.Attached(Copy(2), At(13, 13), kNow));
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{14})) << "what was not taken is sent again";
}

TEST_F(CopySetTest, ACopyThatHoldsOtherDeltasFails) {
  Want({BackupOf(2, true), BackupOf(3, true), BackupOf(4, true)});
  Add(11);
  ReplicaStanding other = At(11, 11);
  other.point.checksum ^= 1;
  set_.Attached(Copy(2), other, kNow);
  EXPECT_EQ(Copy(2).stage, Stage::kFailed);
  set_.Attached(Copy(3), At(20, 20), kNow);
  EXPECT_EQ(Copy(3).stage, Stage::kFailed) << "beyond what there is";
  set_.Attached(Copy(4), {}, kNow);
  EXPECT_EQ(Copy(4).stage, Stage::kFailed) << "in sync, and empty";
  EXPECT_EQ(set_.Logged(11), 0u) << "a copy that failed stays in the set until the scheduler takes it out";
  EXPECT_EQ(set_.Writable(kNow).code(), Code::kNotEnoughCopies);
}

TEST_F(CopySetTest, SeedsAnEmptyCopy) {
  Want({BackupOf(2, false)});
  Add(11);
  EXPECT_TRUE(set_.Attached(Copy(2), {}, kNow));
  set_.AddPiece(Copy(2), Delta(11), false);
  Add(12);
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{0, 12}))
      << "its rows may have been looked at before they were written";
  set_.AddPiece(Copy(2), Delta(12), false);
  Add(13);
  set_.AddPiece(Copy(2), Delta(13), true);
  Add(14);
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{0, 13, 0, 14})) << "pieces stand behind the delta they name";
  set_.PieceConfirmed(Copy(2), {.delta = Delta(13), .piece = 3, .last = true});
  EXPECT_EQ(Copy(2).stage, Stage::kFollowing);
}

// Seeded up to piece 3 of lsn 13, of which pieces 1 (of 10) and 2 (of 11) and delta 12 are confirmed.
TEST_F(CopySetTest, AnInterruptedSeedGoesOnBehindWhatTheCopyHolds) {
  const auto begin = [&] {
    Want({});
    Want({BackupOf(2, false)});
    EXPECT_TRUE(set_.Attached(Copy(2), {}, kNow));
    const Lsn lsn = set_.tail().End().lsn;
    set_.AddPiece(Copy(2), Delta(lsn), false);
    Add(lsn + 1);
    set_.AddPiece(Copy(2), Delta(lsn + 1), false);
    Add(lsn + 2);
    Add(lsn + 3);
    set_.AddPiece(Copy(2), Delta(lsn + 3), false);
    EXPECT_EQ(Sent(2), (std::vector<Lsn>{0, lsn + 1, 0, lsn + 2, lsn + 3, 0}));
    set_.PieceConfirmed(Copy(2), {.delta = Delta(lsn + 1), .piece = 2});
    set_.Confirmed(Copy(2), lsn + 2, false, kNow);
    set_.Detached(Copy(2));
    EXPECT_EQ(Copy(2).stage, Stage::kDetached);
    set_.Trim();
    return lsn;
  };
  const auto at = [](uint64_t pieces, Lsn lsn) {
    return ReplicaStanding{.pieces = pieces, .point = At(lsn, lsn).point};
  };
  Lsn lsn = begin();
  EXPECT_FALSE(set_.Attached(Copy(2), at(2, lsn + 2), kNow));
  EXPECT_EQ(Copy(2).stage, Stage::kSeeding) << Copy(2).failure;
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{lsn + 3, 0}));
  set_.Detached(Copy(2));
  EXPECT_FALSE(set_.Attached(Copy(2), at(3, lsn + 3), kNow)) << "what was sent again came";
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{}));
  lsn = begin();
  set_.Attached(Copy(2), at(1, lsn), kNow);
  EXPECT_EQ(Copy(2).stage, Stage::kFailed) << "what it had confirmed was lost";
  begin();
  EXPECT_TRUE(set_.Attached(Copy(2), {}, kNow)) << "it lost all: from the beginning";
  EXPECT_EQ(Copy(2).pieces, 0u);
}

// Nothing is kept for a copy that was never attached; what is pushed while its seed waits is.
TEST_F(CopySetTest, ASeedWhoseFirstPieceGotLostGoesOn) {
  Want({BackupOf(2, false)});
  EXPECT_TRUE(set_.Attached(Copy(2), {}, kNow));
  set_.AddPiece(Copy(2), Delta(10), false);
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{0}));
  set_.Detached(Copy(2));
  Add(11);
  set_.Trim();
  EXPECT_FALSE(set_.Attached(Copy(2), {}, kNow));
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{0, 11}));
}

TEST_F(CopySetTest, APartOfASeedOfAnotherOneFails) {
  Want({BackupOf(3, false)});
  set_.Attached(Copy(3), {.pieces = 4}, kNow);
  EXPECT_EQ(Copy(3).stage, Stage::kFailed);
  EXPECT_TRUE(set_.Writable(kNow).ok()) << "nobody waits for copies that are not in sync";
}

TEST_F(CopySetTest, RefusesPushesWithTooFewCopies) {
  Want({}, 2);
  const Status few = set_.Writable(kNow);
  EXPECT_EQ(few.code(), Code::kNotEnoughCopies);
  EXPECT_GT(few.retry_after_ms(), 0u);
  Want({BackupOf(2, false)}, 2);
  EXPECT_FALSE(set_.Writable(kNow).ok());
  Want({BackupOf(2, true)}, 2);
  set_.Attached(Copy(2), At(10, 10), kNow);
  EXPECT_TRUE(set_.Writable(kNow).ok());
}

TEST_F(CopySetTest, ASilentCopyIsNamed) {
  Want({BackupOf(2, true)});
  set_.Attached(Copy(2), At(10, 10), kNow);
  EXPECT_TRUE(set_.Writable(kNow + 100000).ok()) << "it owes nothing";
  Add(11);
  EXPECT_TRUE(set_.Writable(kNow + 3000).ok());
  const Status silent = set_.Writable(kNow + 3001);
  EXPECT_EQ(silent.code(), Code::kNotEnoughCopies);
  EXPECT_THAT(silent.message(), HasSubstr("server-2"));
  set_.Confirmed(Copy(2), 11, false, kNow + 3002);
  EXPECT_TRUE(set_.Writable(kNow + 9000).ok());
}

// The scheduler hears both of them, and cannot know that they do not hear each other.
TEST_F(CopySetTest, ASilentCopyIsToLeaveWherePushesGoOnWithoutIt) {
  Want({BackupOf(2, true), BackupOf(3, true), BackupOf(4, false)}, 2);
  for (NodeId node : {2, 3, 4}) set_.Attached(Copy(node), At(10, 10), kNow);
  Add(11);
  set_.Confirmed(Copy(3), 11, false, kNow);
  EXPECT_EQ(set_.WhyNotStay(Copy(2), kNow + 3000), "");
  EXPECT_THAT(set_.WhyNotStay(Copy(2), kNow + 3001), HasSubstr("confirmed nothing"));
  EXPECT_EQ(set_.WhyNotStay(Copy(3), kNow + 3001), "");
  EXPECT_EQ(set_.WhyNotStay(Copy(4), kNow + 3001), "") << "nobody waits for it";
  set_.Detached(Copy(2));
  EXPECT_NE(set_.WhyNotStay(Copy(2), kNow + 3001), "");
  Want({BackupOf(2, true), BackupOf(3, true)}, 3);
  EXPECT_EQ(set_.WhyNotStay(Copy(2), kNow + 3001), "") << "pushes would be refused without it, too";
  set_.Fail(Copy(2), "it is broken");
  EXPECT_EQ(set_.WhyNotStay(Copy(2), kNow), "it is broken");
}

TEST_F(CopySetTest, ACopyWithoutRoomIsToLeaveWherePushesGoOnWithoutIt) {
  Want({BackupOf(2, true), BackupOf(3, true)}, 2);
  for (NodeId node : {2, 3}) set_.Attached(Copy(node), At(10, 10), kNow);
  Add(11);
  for (NodeId node : {2, 3}) set_.Confirmed(Copy(node), 11, false, kNow);
  set_.NoteRoom(Copy(2), true, kNow);
  set_.NoteRoom(Copy(2), true, kNow + 5000);
  EXPECT_TRUE(set_.Writable(kNow + 9999).ok()) << "it confirms what it has logged";
  EXPECT_EQ(set_.Logged(11), 11u);
  EXPECT_EQ(set_.WhyNotStay(Copy(2), kNow + 9999), "");
  EXPECT_THAT(set_.WhyNotStay(Copy(2), kNow + 10000), HasSubstr("no room"));
  EXPECT_EQ(set_.WhyNotStay(Copy(3), kNow + 10000), "");
  Want({BackupOf(3, true)}, 2);
  EXPECT_TRUE(set_.Writable(kNow + 10000).ok());
}

TEST_F(CopySetTest, PushesWaitForTheRoomOfACopyThatMustStay) {
  Want({BackupOf(2, true)}, 2);
  ReplicaStanding full = At(10, 10);
  full.no_room = true;
  set_.Attached(Copy(2), full, kNow);
  EXPECT_TRUE(set_.Writable(kNow + 9999).ok());
  const Status refused = set_.Writable(kNow + 10000);
  EXPECT_EQ(refused.code(), Code::kNotEnoughCopies);
  EXPECT_GT(refused.retry_after_ms(), 0u);
  EXPECT_THAT(refused.message(), HasSubstr("server-2 (node 2) has had no room in its memory or log"));
  EXPECT_EQ(set_.WhyNotStay(Copy(2), kNow + 10000), "");
  set_.NoteRoom(Copy(2), false, kNow + 12000);
  EXPECT_TRUE(set_.Writable(kNow + 30000).ok());
}

// Nobody pushes while pushes are refused, so nothing else would bring an answer.
TEST_F(CopySetTest, ACopyWithoutRoomIsAskedAFewTimesASecond) {
  Want({BackupOf(2, true), BackupOf(3, false)});
  set_.Attached(Copy(2), At(10, 10), kNow);
  EXPECT_FALSE(set_.OwesQuestion(kNow + 5000));
  set_.NoteRoom(Copy(2), true, kNow + 5000);
  EXPECT_FALSE(set_.OwesQuestion(kNow + 5199));
  EXPECT_TRUE(set_.OwesQuestion(kNow + 5200));
  EXPECT_FALSE(set_.OwesQuestion(kNow + 5399));
  EXPECT_TRUE(set_.OwesQuestion(kNow + 5400));
  set_.NoteRoom(Copy(2), false, kNow + 7500);
  EXPECT_FALSE(set_.OwesQuestion(kNow + 9000));
  set_.NoteRoom(Copy(2), true, kNow + 9000);
  set_.Detached(Copy(2));
  EXPECT_FALSE(set_.OwesQuestion(kNow + 11000)) << "it is asked when it is attached";
}

// What it was given by an earlier primary is logged later, and nobody is told of that: after a hand-over
// there may be nothing to send it, and no push comes either, while it counts as silent.
TEST_F(CopySetTest, ACopyThatHadNotLoggedAllThatItHeldIsAsked) {
  Want({BackupOf(2, true)});
  set_.Attached(Copy(2), At(10, 8), kNow);
  EXPECT_EQ(set_.Logged(10), 8u);
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{})) << "it holds them";
  EXPECT_TRUE(set_.OwesQuestion(kNow));
  EXPECT_FALSE(set_.OwesQuestion(kNow + 199));
  EXPECT_TRUE(set_.OwesQuestion(kNow + 200));
  Add(11);
  set_.Confirmed(Copy(2), 11, true, kNow + 300);
  EXPECT_FALSE(set_.OwesQuestion(kNow + 5000));
  EXPECT_EQ(set_.Logged(11), 11u);
}

// A copy may hear of the epoch in which it is in sync before its primary does: it refuses what comes in the
// old one.
TEST_F(CopySetTest, KeepsWhatACopyNeedsThatIsAboutToBeInSync) {
  Want({BackupOf(2, false)});
  set_.Attached(Copy(2), At(10, 10), kNow);
  Add(11);
  Sent(2);
  set_.Detached(Copy(2));
  Add(12);
  set_.Trim();
  Want({BackupOf(2, true)});
  set_.Attached(Copy(2), At(10, 10), kNow);
  EXPECT_EQ(Copy(2).stage, Stage::kFollowing) << Copy(2).failure;
  EXPECT_EQ(Sent(2), (std::vector<Lsn>{11, 12}));
}

TEST_F(CopySetTest, KeepsWhatCopiesNeed) {
  Want({BackupOf(2, true), BackupOf(3, true)});
  for (NodeId node : {2, 3}) set_.Attached(Copy(node), At(10, 10), kNow);
  for (Lsn lsn = 11; lsn <= 20; ++lsn) Add(lsn);
  set_.Confirmed(Copy(2), 20, false, kNow);
  set_.Confirmed(Copy(3), 15, false, kNow);
  set_.Trim();
  EXPECT_FALSE(set_.tail().Holds({14, 14 * 11}));
  EXPECT_TRUE(set_.tail().Holds({15, 15 * 11}));
  EXPECT_EQ(set_.Slowest()->grant.node, 3u);
  set_.Fail(Copy(3), "slow");
  set_.Trim();
  EXPECT_TRUE(set_.tail().Holds({20, 20 * 11}));
  EXPECT_EQ(set_.tail().bytes(), 0u);
}

}  // namespace
}  // namespace penstock
