// The log under loss of power: what was acknowledged after a sync is there, the rest wholly or not at all,
// and nothing counts as damage.
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <random>

#include "server/storage/segment_reader.h"
#include "tests/unit/server/storage/log_fixture.h"
#include "tests/unit/server/storage/power_cut_file_layer.h"

namespace penstock {
namespace {

constexpr char kCutDir[] = "/data/log";
constexpr uint64_t kSeeds = 100;
constexpr int kLives = 4;  // each ends with a cut

// Three shards, their log, and what was promised about them.
class Cluster {
 public:
  explicit Cluster(uint64_t seed) : random_(seed), files_(seed * 7919) {}

  void Live() {
    auto log = OpenLog(files_, kCutDir, tail_, 24 << 10, 3);
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    log_ = std::move(*log);
    const int steps = static_cast<int>(random_() % 60);
    for (int step = 0; step < steps; ++step) {
      switch (random_() % 12) {
        case 0:
          Sync();
          break;
        case 1:
          EXPECT_TRUE(log_->Seal().ok());
          break;
        case 2:
          Fold();
          break;
        case 3:
          FailAndRecover();
          break;
        default:
          Append();
          break;
      }
    }
    if (random_() % 2 == 0) Append();
  }

  void CutAndReplay() {
    log_.reset();
    files_.PowerCut();
    Replayed replayed = ReplayAll(files_, kCutDir, folded_, random_() % 2 == 0 ? &synced_ : nullptr);
    ASSERT_TRUE(replayed.report.ok()) << replayed.report.status().ToString();
    for (const auto& [shard, reason] : replayed.report->damaged)
      ADD_FAILURE() << "shard " << shard << ": " << reason;
    EXPECT_TRUE(replayed.report->damaged_places.empty());
    for (const auto& [shard, lsn] : synced_) {
      if (lsn == 0) continue;
      ASSERT_TRUE(replayed.report->shards.contains(shard));
      EXPECT_GE(replayed.report->shards.at(shard).lsn, lsn) << "shard " << shard;
    }
    for (const auto& [shard, deltas] : replayed.deltas) {
      for (const auto& [lsn, checksum] : deltas)
        EXPECT_EQ(checksum, shards_[shard].made.at(lsn)) << "shard " << shard;
    }
    // Replay synced what it kept; each shard goes on from there in a new epoch, above every lsn it ever had.
    tail_ = replayed.report->tail;
    for (DeltaMaker& shard : shards_) {
      const ShardFolded last = replayed.report->shards.contains(shard.shard())
                                   ? replayed.report->shards[shard.shard()]
                                   : ShardFolded{};
      synced_[shard.shard()] = last.lsn;
      highest_[shard.shard()] =
          std::max(highest_[shard.shard()], shard.made.empty() ? 0 : shard.made.rbegin()->first);
      shard.lsn = last.lsn;
      shard.checksum = last.checksum;
      ++shard.epoch;
      begin_epoch_[shard.shard()] = true;
      total_replayed_ += replayed.deltas[shard.shard()].size();
    }
  }

  uint64_t total_replayed() const { return total_replayed_; }
  uint64_t total_failures() const { return total_failures_; }

 private:
  LogSection NextOf(DeltaMaker& shard) {
    const size_t padding = random_() % (random_() % 5 == 0 ? 12000 : 300);
    if (!begin_epoch_[shard.shard()]) return shard.Next(padding);
    begin_epoch_[shard.shard()] = false;
    return shard.Follow(highest_[shard.shard()] + 1, shard.lsn, shard.checksum, padding);
  }

  void Append() {
    std::vector<LogRecord> records(1 + random_() % 2);
    for (LogRecord& record : records) {
      for (DeltaMaker& shard : shards_) {
        if (random_() % 2 == 0) record.sections.push_back(NextOf(shard));
      }
    }
    EXPECT_TRUE(log_->Append(records).ok());
  }

  void Sync() {
    ASSERT_TRUE(log_->Sync().ok());
    for (const DeltaMaker& shard : shards_) synced_[shard.shard()] = shard.lsn;
  }

  // Takes the oldest segments into the base: synced first, chained as the fold does.
  void Fold() {
    Sync();
    for (const SegmentInfo& info : log_->Sealed()) {
      std::map<ShardId, DeltaChain> chains;
      for (const DeltaMaker& shard : shards_)
        chains.emplace(shard.shard(), DeltaChain(shard.shard(), folded_[shard.shard()]));
      const Status read = ForEachDelta(files_, kCutDir, info, [&](const LoggedDelta& delta) {
        capnp::FlatArrayMessageReader message(delta.words);
        (void)chains.at(delta.shard)
            .Offer(message.getRoot<proto::Delta>(), delta.incarnation, delta.checksum, kTestCluster);
        return Status::Ok();
      });
      ASSERT_TRUE(read.ok()) << read.ToString();
      for (const auto& [shard, chain] : chains) folded_[shard] = chain.last();
      ASSERT_TRUE(log_->Remove(info.number).ok());
      if (random_() % 2 == 0) return;
    }
  }

  // A write or a sync fails; then every shard logs again what the base does not hold.
  void FailAndRecover() {
    const std::string operation = random_() % 2 == 0 ? "write" : "sync";
    files_.FailWith(
        [operation](const std::string& name, const std::string&) { return name == operation ? EIO : 0; });
    LogRecord record;
    for (DeltaMaker& shard : shards_) record.sections.push_back(NextOf(shard));
    const Status appended = AppendOne(*log_, std::move(record));
    EXPECT_EQ(appended.ok(), operation == "sync");
    if (appended.ok()) {
      EXPECT_FALSE(log_->Sync().ok());
    }
    EXPECT_TRUE(log_->failed());
    files_.FailWith(nullptr);
    ++total_failures_;
    ASSERT_TRUE(log_->StartFreshSegment().ok());
    for (DeltaMaker& shard : shards_) {
      if (random_() % 6 == 0) return ReturnToReplay();  // the power goes before all are logged again
      const ShardFolded& base = folded_[shard.shard()];
      begin_epoch_[shard.shard()] = false;
      LogRecord again;
      again.sections.push_back(
          shard.Follow(std::max(shard.lsn, highest_[shard.shard()]) + 1, base.lsn, base.checksum));
      ASSERT_TRUE(AppendOne(*log_, std::move(again)).ok());
    }
  }

  void ReturnToReplay() {
    CutAndReplay();
    auto log = OpenLog(files_, kCutDir, tail_, 24 << 10, 3);
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    log_ = std::move(*log);
  }

  std::mt19937_64 random_;
  PowerCutFileLayer files_;
  std::unique_ptr<DeltaLog> log_;
  LogTail tail_;
  std::array<DeltaMaker, 3> shards_ = {DeltaMaker(0), DeltaMaker(1), DeltaMaker(2)};
  std::map<ShardId, ShardFolded> folded_;
  std::map<ShardId, Lsn> synced_;   // acknowledged as such
  std::map<ShardId, Lsn> highest_;  // ever made before this life
  std::map<ShardId, bool> begin_epoch_;
  uint64_t total_replayed_ = 0, total_failures_ = 0;
};

TEST(LogPowerCutTest, WhatWasSyncedIsThere) {
  uint64_t replayed = 0, failures = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster cluster(seed);
    for (int life = 0; life < kLives; ++life) {
      SCOPED_TRACE("life " + std::to_string(life));
      cluster.Live();
      if (HasFatalFailure()) return;
      cluster.CutAndReplay();
      if (HasFailure()) return;
    }
    replayed += cluster.total_replayed();
    failures += cluster.total_failures();
  }
  EXPECT_GT(replayed, 1000u);
  EXPECT_GT(failures, 100u);
}

}  // namespace
}  // namespace penstock
