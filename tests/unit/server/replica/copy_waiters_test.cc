// What those are told who wait for copies.
#include "server/replica/copy_waiters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/replica/replica_fixture.h"

namespace penstock {
namespace {

using replica_test::Backup;
using testing::HasSubstr;

constexpr ShardId kWaitedShard = 3;
constexpr uint64_t kWaitNow = 1000, kWaitMs = 500;

class CopyWaitersTest : public testing::Test {
 protected:
  CopyWaitersTest() { Serve(5, {Backup(2, true), Backup(3, true)}); }

  void Serve(Epoch epoch, std::vector<BackupGrant> backups, Incarnation incarnation = 7) {
    replica_ = &shards_.Serve(kWaitedShard, incarnation, epoch, std::move(backups));
  }
  // A delta that the primary has and its copies still lack.
  DeltaRef Change() {
    const TailDelta delta = shards_.Change(kWaitedShard, {1});
    if (replica_->copies() != nullptr) replica_->copies()->Add(delta, kWaitNow);
    return replica_->DeltaAt(delta.lsn);
  }
  void Confirm(NodeId node, Lsn lsn, bool synced = false) {
    replica_->copies()->Confirmed(*replica_->copies()->Find(node, 7), lsn, synced, kWaitNow);
  }
  void Wait(const DeltaRef& delta, Durability level = Durability::kLogged) {
    std::vector<DeltaRef> deltas{delta};
    ASSERT_FALSE(waiters_.Look(&deltas, level));
    waiters_.Add(std::move(deltas), level, kWaitNow, [this](Status status) { told_.push_back(status); });
  }
  void Check(uint64_t now_ms = kWaitNow) {
    waiters_.Check(now_ms, [](CopyWaiters::Done done, Status status) { done(std::move(status)); });
  }

  replica_test::TestShards shards_;
  ShardReplica* replica_ = nullptr;
  CopyWaiters waiters_{shards_, "server-1", kWaitMs};
  std::vector<Status> told_;
};

TEST_F(CopyWaitersTest, TellsWhenEveryCopyInSyncHasIt) {
  const DeltaRef delta = Change();
  Wait(delta);
  Confirm(2, delta.lsn);
  Check();
  EXPECT_TRUE(told_.empty());
  Confirm(3, delta.lsn);
  Check();
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_TRUE(told_[0].ok()) << told_[0].ToString();
  Check();
  EXPECT_EQ(told_.size(), 1u);
}

TEST_F(CopyWaitersTest, SyncedIsMoreThanLogged) {
  const DeltaRef delta = Change();
  Wait(delta, Durability::kSynced);
  for (const NodeId node : {2, 3}) Confirm(node, delta.lsn, node == 2);
  Check();
  EXPECT_TRUE(told_.empty());
  EXPECT_EQ(waiters_.Owed(), (std::set<ShardId>{kWaitedShard}));
  Confirm(3, delta.lsn, true);
  EXPECT_TRUE(waiters_.Owed().empty());
  Check();
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_TRUE(told_[0].ok());
}

TEST_F(CopyWaitersTest, NamesWhoHasNotConfirmed) {
  const DeltaRef delta = Change();
  Wait(delta);
  Confirm(2, delta.lsn);
  Check(kWaitNow + kWaitMs - 1);
  EXPECT_TRUE(told_.empty());
  Check(kWaitNow + kWaitMs);
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].code(), Code::kOutcomeUnknown);
  EXPECT_THAT(told_[0].message(), HasSubstr("not confirmed by server-3 (node 3) within 500 ms"));
}

// The shard has left and come back, and what it holds now does not have what was applied before.
TEST_F(CopyWaitersTest, AnotherLifeOfTheShardDoesNotComplete) {
  const DeltaRef delta = Change();
  Wait(delta);
  Serve(6, {}, 8);
  Check();
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].code(), Code::kWrongEpoch);
  EXPECT_THAT(told_[0].message(), HasSubstr("the shard has begun another life here"));
}

TEST_F(CopyWaitersTest, ConfirmationsInAnotherLifeDoNotComplete) {
  const DeltaRef delta = Change();
  Wait(delta);
  Serve(6, {Backup(2, true)}, 8);
  while (Change().lsn < delta.lsn + 1) {
  }
  Confirm(2, delta.lsn + 1);
  Check();
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].code(), Code::kWrongEpoch);
}

// What the new set of copies has is for those to say who ask again in its epoch.
TEST_F(CopyWaitersTest, AnotherEpochDoesNotComplete) {
  const DeltaRef delta = Change();
  Wait(delta);
  Confirm(2, delta.lsn);
  Serve(6, {Backup(2, true)});
  Check();
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].code(), Code::kWrongEpoch);
  EXPECT_THAT(
      told_[0].message(),
      HasSubstr("shard 3: what was applied in epoch 5 may not be on all copies: the shard is in epoch 6"));
  std::vector<DeltaRef> again{replica_->DeltaAt(delta.lsn)};
  const auto said = waiters_.Look(&again, Durability::kLogged);
  ASSERT_TRUE(said);
  EXPECT_TRUE(said->ok());
}

TEST_F(CopyWaitersTest, AShardThatIsNotServedAnyMore) {
  Wait(Change());
  replica_->Release();
  Check();
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].code(), Code::kWrongEpoch);
  EXPECT_THAT(told_[0].message(), HasSubstr("is not served here any more"));
}

TEST_F(CopyWaitersTest, AtTheEndAllAreTold) {
  Wait(Change());
  Wait(Change());
  waiters_.EndAll(OutcomeUnknown("it ends"),
                  [](CopyWaiters::Done done, Status status) { done(std::move(status)); });
  ASSERT_EQ(told_.size(), 2u);
  EXPECT_EQ(told_[1].message(), "it ends");
}

}  // namespace
}  // namespace penstock
