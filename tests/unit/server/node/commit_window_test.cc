// Which deltas a core's windows take, when they are written, and what counts as logged.
#include "server/node/commit_window.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

constexpr uint64_t kLagMs = 1000;
constexpr TableId kMemoryTable = 1, kLoggedTable = 2, kSyncedTable = 3;

Durability LevelOfTable(TableId table) { return static_cast<Durability>(table - kMemoryTable); }

std::unique_ptr<Shard> MakeShard(ShardId id, Incarnation incarnation) {
  auto shard = std::make_unique<Shard>(ShardOptions{.cluster = 7, .shard = id, .incarnation = incarnation});
  for (const TableId table : {kMemoryTable, kLoggedTable, kSyncedTable}) {
    TableSpec spec{.id = table, .name = "t" + std::to_string(table), .dim = 1};
    spec.optimizer.kind = OptimizerKind::kAdd;
    spec.durability = LevelOfTable(table);
    EXPECT_TRUE(shard->CreateTable(spec).ok());
  }
  return shard;
}

class CommitWindowTest : public testing::Test {
 protected:
  CommitWindowTest() : slot_(MakeShard(5, 1), "server-1"), window_("server-1: core 0", kLagMs, 1) {
    window_.Hold(slot_);
    window_.Tick(now_ms_, 1);
    Grant({});
  }

  void Grant(std::vector<BackupGrant> backups) {
    slot_.replica.TakeGrant(
        {.shard = 5, .incarnation = 1, .epoch = ++epoch_, .min_lsn = 1, .backups = std::move(backups)},
        now_ms_);
  }
  // A unit of one row of its own; the lsn that it is told.
  Lsn Push(TableId table) {
    const Key key = ++units_;
    const float value = 1;
    const auto outcome =
        slot_.shard->PushUnit({.producer = 1, .sequence = units_}, table, {&key, 1}, &value, SIZE_MAX);
    EXPECT_TRUE(outcome.ok());
    window_.Pushed(slot_, slot_.shard->Serving(table), LevelOfTable(table), *outcome);
    return outcome->lsn;
  }
  void Wait(Durability level, const char* who) {
    window_.Wait(level, [this, who] { told_.push_back(who); });
  }
  CommitWindow::Write Close() {
    auto write = window_.Close(now_ms_);
    EXPECT_TRUE(write.has_value());
    return write ? std::move(*write) : CommitWindow::Write();
  }
  CommitWindow::Actions Perform(CommitWindow::Actions actions) {
    for (auto& waiter : actions.reached) std::move(waiter)();
    actions.reached.clear();
    return actions;
  }
  // The next window, written well.
  void Log() {
    const auto write = Close();
    Perform(window_.OnLogged(write.number, Status::Ok()));
    if (write.sync) Perform(window_.OnSynced(write.number, Status::Ok()));
  }
  void PassTheLag() {
    now_ms_ += kLagMs;
    Perform(window_.Tick(now_ms_, 1));
  }
  std::vector<std::string> Told() { return std::exchange(told_, {}); }

  uint64_t now_ms_ = 1000;
  Epoch epoch_ = 0;
  Sequence units_ = 0;
  ShardSlot slot_;
  CommitWindow window_;
  std::vector<std::string> told_;
};

using Names = std::vector<std::string>;
const Status kFull = Overloaded("no space left on device");

TEST_F(CommitWindowTest, AWindowClosesWhenTheAppendBeforeItHasReturned) {
  EXPECT_FALSE(window_.MayClose());
  EXPECT_EQ(Push(kLoggedTable), 1u);
  Wait(Durability::kLogged, "first");
  const auto first = Close();
  ASSERT_EQ(first.record.sections.size(), 1u);
  EXPECT_FALSE(first.sync);

  EXPECT_EQ(Push(kSyncedTable), 2u);
  Wait(Durability::kSynced, "second");
  EXPECT_FALSE(window_.MayClose());
  EXPECT_EQ(slot_.Logged(), 0u);

  Perform(window_.OnLogged(first.number, Status::Ok()));
  EXPECT_EQ(Told(), Names{"first"});
  EXPECT_EQ(slot_.Logged(), 1u);

  const auto second = Close();
  EXPECT_TRUE(second.sync);
  Perform(window_.OnLogged(second.number, Status::Ok()));
  EXPECT_EQ(Told(), Names{});
  EXPECT_EQ(slot_.replica.synced_here(), 0u);
  Perform(window_.OnSynced(second.number, Status::Ok()));
  EXPECT_EQ(Told(), Names{"second"});
  EXPECT_EQ(slot_.replica.synced_here(), 2u);
  EXPECT_TRUE(window_.Quiet());
}

TEST_F(CommitWindowTest, MemoryTablesAreLoggedWithinTheLagWithCopiesToo) {
  Grant({{.node = 2, .name = "server-2", .incarnation = 7, .endpoint = "host:1", .in_sync = false}});
  ASSERT_NE(slot_.replica.copies(), nullptr);
  const Lsn told = Push(kMemoryTable);
  EXPECT_FALSE(window_.MayClose()) << "what a copy has may wait for the lag";
  Push(kLoggedTable);
  Log();
  EXPECT_TRUE(slot_.shard->HasUnlogged(kMemoryTable));
  EXPECT_EQ(slot_.replica.logged_here(), told);
  EXPECT_EQ(slot_.Logged(), told - 1) << "that delta has left the unit out";

  PassTheLag();
  Log();
  EXPECT_FALSE(slot_.shard->HasUnlogged());
  EXPECT_EQ(slot_.Logged(), told + 1);
}

TEST_F(CommitWindowTest, AFlushAndTheEndOfASeedTakeMemoryTablesAtOnce) {
  window_.TouchMemory(slot_);
  EXPECT_FALSE(window_.MayClose()) << "nothing of them has changed";
  Push(kMemoryTable);
  window_.TouchMemory(slot_);
  Log();
  EXPECT_FALSE(slot_.shard->HasUnlogged());
  Push(kMemoryTable);
  window_.TouchWhole(slot_);
  Log();
  EXPECT_FALSE(slot_.shard->HasUnlogged());
  EXPECT_EQ(slot_.Logged(), 2u);
}

// A told unit may not count as logged before a delta that holds it is, however often writing fails.
TEST_F(CommitWindowTest, AUnitOfAMemoryTableDoesNotCountAsLoggedWhileAppendsFail) {
  const Lsn told = Push(kMemoryTable);
  Push(kLoggedTable);
  Log();
  ASSERT_EQ(slot_.replica.logged_here(), told);
  ASSERT_EQ(slot_.Logged(), told - 1);

  PassTheLag();
  const auto taking = Close();
  Wait(Durability::kLogged, "who waits");
  EXPECT_EQ(slot_.Logged(), told - 1);
  EXPECT_TRUE(Perform(window_.OnLogged(taking.number, kFull)).recover);
  EXPECT_EQ(slot_.Logged(), told - 1);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(window_.Recover(now_ms_).has_value());
    EXPECT_EQ(slot_.Logged(), told - 1) << "recovery " << i << " is not written yet";
    EXPECT_TRUE(Perform(window_.OnRecovered(kFull, 2)).recover);
    EXPECT_EQ(slot_.Logged(), told - 1) << "recovery " << i << " has failed";
  }
  EXPECT_EQ(Told(), Names{});
  ASSERT_TRUE(window_.Recover(now_ms_).has_value());
  EXPECT_FALSE(Perform(window_.OnRecovered(Status::Ok(), 2)).recover);
  EXPECT_EQ(slot_.Logged(), slot_.shard->last_lsn());
  EXPECT_EQ(Told(), Names{"who waits"});
}

// The copy has the window that the unit was told, which left it out; the delta that took it only the primary
// has.
TEST_F(CommitWindowTest, AUnitOfAMemoryTableCountsAsLoggedWhenAllCopiesHaveTheDeltaThatTookIt) {
  Grant({{.node = 2, .name = "server-2", .incarnation = 7, .endpoint = "host:1", .in_sync = true}});
  CopySet* copies = slot_.replica.copies();
  ASSERT_NE(copies, nullptr);
  const auto confirm = [&](Lsn lsn) { copies->Confirmed(*copies->Find(2, 7), lsn, false, now_ms_); };
  const Lsn told = Push(kMemoryTable);
  Push(kLoggedTable);
  Log();
  confirm(told);
  EXPECT_EQ(slot_.Logged(), told - 1);

  PassTheLag();
  Log();
  EXPECT_FALSE(slot_.shard->HasUnlogged());
  EXPECT_EQ(slot_.replica.Logged(), told) << "the copy has not confirmed the next one";
  EXPECT_EQ(slot_.Logged(), told - 1);

  // Another delta takes units before the copy has confirmed the one before.
  Push(kMemoryTable);
  PassTheLag();
  Log();
  confirm(told + 1);
  EXPECT_LT(slot_.Logged(), told + 2);
  confirm(told + 2);
  EXPECT_EQ(slot_.Logged(), told + 2);
}

TEST_F(CommitWindowTest, WhoWaitsHearsOfAFailureOnlyWhenAllIsLoggedAgain) {
  Push(kSyncedTable);
  Wait(Durability::kSynced, "before");
  const auto first = Close();
  Perform(window_.OnLogged(first.number, Status::Ok()));
  Push(kLoggedTable);
  Wait(Durability::kLogged, "appending");
  const auto second = Close();

  const auto failed = Perform(window_.OnSynced(first.number, kFull));
  EXPECT_TRUE(failed.failed);
  EXPECT_TRUE(failed.recover);
  EXPECT_FALSE(window_.failure().ok());
  EXPECT_FALSE(window_.MayClose());
  const auto again = Perform(window_.OnLogged(second.number, kFull));
  EXPECT_FALSE(again.failed) << "it has failed before";
  EXPECT_FALSE(again.recover);
  EXPECT_EQ(Told(), Names{});

  const auto recovery = window_.Recover(now_ms_);
  ASSERT_TRUE(recovery.has_value());
  EXPECT_TRUE(recovery->recovery && recovery->sync);
  ASSERT_EQ(recovery->record.sections.size(), 1u);
  Perform(window_.OnRecovered(Status::Ok(), 2));
  EXPECT_EQ(Told(), (Names{"before", "appending"}));
  EXPECT_TRUE(window_.failure().ok());
  EXPECT_EQ(slot_.replica.synced_here(), slot_.shard->last_lsn());
  Push(kLoggedTable);
  EXPECT_EQ(Close().generation, 2u);
}

TEST_F(CommitWindowTest, ALogThatFailedUnderAnotherCoreHasFailed) {
  EXPECT_TRUE(Perform(window_.Tick(now_ms_, 2)).failed);
  EXPECT_FALSE(Perform(window_.Tick(now_ms_, 2)).failed);
  ASSERT_TRUE(window_.Recover(now_ms_).has_value());
  Perform(window_.OnRecovered(Status::Ok(), 2));
  EXPECT_TRUE(window_.Quiet());
}

TEST_F(CommitWindowTest, WhatCopiesTookOfALogThatFailedIsSeededAgain) {
  ShardSlot copy(std::make_unique<Shard>(ShardOptions{.cluster = 7, .shard = 6, .incarnation = 1}),
                 "server-1");
  copy.replica.TakeFollow(1);
  window_.Hold(copy);
  window_.Take(copy, {6, 1, DeltaWords(kj::heapArray<capnp::word>(4)), 0});
  const auto write = Close();
  ASSERT_EQ(write.record.sections.size(), 1u);
  Perform(window_.OnLogged(write.number, kFull));
  EXPECT_NE(copy.replica.damage(), "");
  window_.Drop(copy);
}

// The next life of a shard knows nothing of what the one before has in a window.
TEST_F(CommitWindowTest, AWindowSaysNothingOfAnotherLife) {
  ShardSlot earlier(MakeShard(6, 1), "server-1"), later(MakeShard(6, 2), "server-1");
  window_.Hold(earlier);
  earlier.replica.TakeGrant({.shard = 6, .incarnation = 1, .epoch = 1, .min_lsn = 1}, now_ms_);
  window_.Touch(earlier);
  const auto write = Close();
  window_.Touch(earlier);
  window_.Drop(earlier);
  window_.Hold(later);
  Perform(window_.OnLogged(write.number, Status::Ok()));
  EXPECT_EQ(later.Logged(), 0u);
  EXPECT_EQ(earlier.Logged(), 0u);
  EXPECT_TRUE(window_.Quiet()) << "nothing of the earlier one is left";
}

}  // namespace
}  // namespace penstock
