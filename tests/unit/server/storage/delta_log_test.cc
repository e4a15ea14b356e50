// DeltaLog: round trip, segments, and the way out of failed writes and syncs.
#include "server/storage/delta_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <future>

#include "server/storage/segment_reader.h"
#include "tests/unit/server/storage/log_fixture.h"
#include "tests/unit/server/storage/power_cut_file_layer.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

constexpr char kDir[] = "/data/log";

TEST(DeltaLogTest, RoundTripThroughSeveralSegmentsOnDisk) {
  TempDir temp;
  PosixFileLayer files;
  const std::string dir = temp.path() + "/log";
  DeltaMaker a(1), b(2), big(3);
  {
    auto log = OpenLog(files, dir, {}, 64 << 10);
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    for (int i = 0; i < 300; ++i) {
      std::vector<LogRecord> records;
      records.push_back(MakeRecord(a.Next(100 + i), b.Next(10)));
      records.push_back(MakeRecord(big.Next(2000)));
      ASSERT_TRUE((*log)->Append(records).ok());
    }
    EXPECT_GT((*log)->Sealed().size(), 8u);
    ASSERT_TRUE((*log)->Sync().ok());

    std::map<ShardId, std::map<Lsn, uint32_t>> seen;
    for (const SegmentInfo& info : (*log)->Sealed()) {
      ASSERT_LE(info.bytes, 64u << 10);
      ASSERT_TRUE(ForEachDelta(files, dir, info, [&](const LoggedDelta& delta) {
                    capnp::FlatArrayMessageReader message(delta.words);
                    seen[delta.shard][message.getRoot<proto::Delta>().getLsn()] = delta.checksum;
                    return Status::Ok();
                  }).ok());
    }
    EXPECT_GT(seen[1].size(), 200u);
    for (const auto& [lsn, checksum] : seen[3]) EXPECT_EQ(checksum, big.made.at(lsn));
  }
  const Replayed replayed = ReplayAll(files, dir);
  ASSERT_TRUE(replayed.report.ok()) << replayed.report.status().ToString();
  EXPECT_EQ(replayed.deltas.at(1), a.made);
  EXPECT_EQ(replayed.deltas.at(2), b.made);
  EXPECT_EQ(replayed.deltas.at(3), big.made);
  EXPECT_TRUE(replayed.report->damaged.empty());
  EXPECT_EQ(replayed.report->discarded_bytes, 0u);
  EXPECT_EQ(replayed.report->tail.next_window, 601u);
  EXPECT_EQ(replayed.report->shards.at(3).checksum, big.checksum);

  // And on from there, in a new segment.
  auto log = OpenLog(files, dir, replayed.report->tail);
  ASSERT_TRUE(log.ok());
  ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next())).ok());
  EXPECT_EQ(ReplayAll(files, dir).deltas.at(1), a.made);
}

TEST(DeltaLogTest, ARecordLargerThanASegmentAndThanTheReadersBuffer) {
  PowerCutFileLayer files(1);
  auto log = OpenLog(files, kDir, {}, 1 << 10);
  ASSERT_TRUE(log.ok());
  DeltaMaker a(1), b(2);
  LogRecord large;
  large.sections.push_back(a.Next(9 << 20));
  large.sections.push_back(b.Next(5 << 20));
  large.sections.push_back(a.Next(8));
  ASSERT_TRUE(AppendOne(**log, std::move(large)).ok());
  ASSERT_TRUE(AppendOne(**log, MakeRecord(b.Next())).ok());
  const Replayed replayed = ReplayAll(files, kDir);
  EXPECT_EQ(replayed.deltas.at(1), a.made);
  EXPECT_EQ(replayed.deltas.at(2), b.made);
}

TEST(DeltaLogTest, AnEmptyDeltaIsRefusedAndFailsNothing) {
  PowerCutFileLayer files(1);
  auto log = OpenLog(files, kDir);
  ASSERT_TRUE(log.ok());
  EXPECT_EQ(AppendOne(**log, MakeRecord(LogSection{5, 1, nullptr})).code(), Code::kInvalidArgument);
  EXPECT_FALSE((*log)->failed());
}

TEST(DeltaLogTest, SealedBytesAndRemoval) {
  PowerCutFileLayer files(1);
  auto log = OpenLog(files, kDir);
  ASSERT_TRUE(log.ok());
  DeltaMaker a(1);
  ASSERT_TRUE((*log)->Seal().ok());  // nothing in it: stays open
  EXPECT_TRUE((*log)->Sealed().empty());
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next())).ok());
    ASSERT_TRUE((*log)->Seal().ok());
  }
  auto sealed = (*log)->Sealed();
  ASSERT_EQ(sealed.size(), 4u);
  const uint64_t bytes = (*log)->Bytes();
  EXPECT_EQ((*log)->Remove(sealed[1].number).code(), Code::kFailedPrecondition);
  EXPECT_EQ((*log)->Remove(99).code(), Code::kNotFound);
  ASSERT_TRUE((*log)->Remove(sealed[0].number).ok());
  EXPECT_EQ((*log)->Bytes(), bytes - sealed[0].bytes);

  // Set aside: out of the limit, out of the order of removal, and still replayed.
  ASSERT_TRUE((*log)->SetAside(sealed[1].number).ok());
  EXPECT_EQ((*log)->Bytes(), bytes - sealed[0].bytes - sealed[1].bytes);
  ASSERT_TRUE((*log)->Remove(sealed[2].number).ok());
  ASSERT_TRUE((*log)->Sync().ok());
  ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next())).ok());
  const std::map<ShardId, ShardFolded> folded = {
      {1, {.incarnation = 1, .epoch = 1, .lsn = 1, .checksum = a.made[1]}}};
  const Replayed replayed = ReplayAll(files, kDir, folded);
  ASSERT_TRUE(replayed.report.ok());
  EXPECT_EQ(replayed.Last(1), 2u);  // 3 was removed though nothing holds it: 4 and 5 must not be taken
  EXPECT_TRUE(replayed.report->damaged.contains(1));
  EXPECT_TRUE(replayed.report->tail.segments[0].aside);
  EXPECT_TRUE(replayed.report->damaged_places.empty());
}

TEST(DeltaLogTest, AnAppendDoesNotWaitForASlowSync) {
  PowerCutFileLayer files(1);
  auto log = OpenLog(files, kDir);
  ASSERT_TRUE(log.ok());
  DeltaMaker a(1);
  ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next())).ok());
  const Position first_end = [&] {
    std::promise<void> syncing, go_on;
    std::shared_future<void> wait = go_on.get_future().share();
    files.FailWith([&, wait](const std::string& operation, const std::string&) {
      if (operation == "sync") {
        syncing.set_value();
        wait.wait();
      }
      return 0;
    });
    std::future<Status> sync = std::async(std::launch::async, [&] { return (*log)->Sync(); });
    syncing.get_future().wait();
    const Position before = (*log)->synced();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(AppendOne(**log, MakeRecord(a.Next())).ok());
    EXPECT_TRUE((*log)->Seal().ok());
    EXPECT_EQ((*log)->synced(), before);
    go_on.set_value();
    EXPECT_TRUE(sync.get().ok());
    files.FailWith(nullptr);
    return (*log)->synced();
  }();
  // The sync covers what was appended before it, and no more.
  EXPECT_LT(first_end.offset, (*log)->Sealed().at(0).bytes);
  ASSERT_TRUE((*log)->Sync().ok());
  EXPECT_GT((*log)->synced().segment, first_end.segment);
}

// Fails the named operation once it is armed, for files whose path contains `where`.
struct Breaker {
  explicit Breaker(PowerCutFileLayer& files, std::string operation, int error) {
    files.FailWith([=, this](const std::string& name, const std::string&) {
      return on && name == operation ? error : 0;
    });
  }
  std::atomic<bool> on{false};
};

class FailureTest : public ::testing::TestWithParam<const char*> {};

TEST_P(FailureTest, TheLogRefusesUntilEverythingIsLoggedAgain) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    PowerCutFileLayer files(seed);
    auto log = OpenLog(files, kDir);
    ASSERT_TRUE(log.ok());
    DeltaMaker a(1), b(2);
    ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next(), b.Next())).ok());
    ASSERT_TRUE((*log)->Sync().ok());
    ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next(5000), b.Next())).ok());

    Breaker breaker(files, GetParam(), ENOSPC);
    breaker.on = true;
    const bool by_sync = std::string(GetParam()) == "sync";
    const Status failed = by_sync ? (*log)->Sync() : AppendOne(**log, MakeRecord(a.Next(5000)));
    EXPECT_EQ(failed.code(), Code::kOverloaded) << failed.ToString();
    EXPECT_THAT(failed.message(), HasSubstr(kDir));
    EXPECT_THAT(failed.message(), HasSubstr(SegmentFileName(1)));
    EXPECT_TRUE((*log)->failed());
    EXPECT_FALSE((*log)->StartFreshSegment().ok());
    breaker.on = false;
    EXPECT_EQ(AppendOne(**log, MakeRecord(a.Next())).message(), failed.message());
    const Lsn refused = a.lsn;
    EXPECT_EQ((*log)->Sync().message(), failed.message());
    EXPECT_EQ((*log)->Seal().message(), failed.message());

    ASSERT_TRUE((*log)->StartFreshSegment().ok());
    EXPECT_FALSE((*log)->failed());
    EXPECT_EQ((*log)->StartFreshSegment().code(), Code::kFailedPrecondition);
    // Both shards log again what no base holds; b's never comes in half of the runs.
    ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Follow(a.lsn + 5, 0, 0))).ok());
    if (seed % 2 == 0) {
      ASSERT_TRUE(AppendOne(**log, MakeRecord(b.Follow(b.lsn + 5, 0, 0))).ok());
    }
    ASSERT_TRUE((*log)->Sync().ok());
    files.PowerCut();
    const Replayed replayed = ReplayAll(files, kDir);
    ASSERT_TRUE(replayed.report.ok()) << replayed.report.status().ToString();
    EXPECT_TRUE(replayed.report->damaged.empty());
    EXPECT_EQ(replayed.Last(1), a.lsn);
    EXPECT_GE(replayed.Last(2), seed % 2 == 0 ? b.lsn : 1);
    EXPECT_FALSE(replayed.deltas.at(1).contains(refused));
  }
}

INSTANTIATE_TEST_SUITE_P(Operations, FailureTest, ::testing::Values("write", "sync"));

TEST(DeltaLogTest, WhatWasLoggedBeforeAFailedSyncOutlivesAKill) {
  PowerCutFileLayer files(1);
  auto log = OpenLog(files, kDir);
  ASSERT_TRUE(log.ok());
  DeltaMaker a(1);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next())).ok());
  Breaker breaker(files, "sync", EIO);
  breaker.on = true;
  EXPECT_EQ((*log)->Sync().code(), Code::kInternal);
  breaker.on = false;
  ASSERT_TRUE((*log)->StartFreshSegment().ok());
  // Killed here: nothing was logged again yet, and the three deltas were acknowledged as logged.
  const Replayed replayed = ReplayAll(files, kDir);
  ASSERT_TRUE(replayed.report.ok());
  EXPECT_EQ(replayed.deltas.at(1), a.made);
  EXPECT_TRUE(replayed.report->damaged.empty());
  ASSERT_TRUE(OpenLog(files, kDir, replayed.report->tail).ok());
  EXPECT_EQ(ReplayAll(files, kDir).deltas.at(1), a.made);
}

TEST(DeltaLogTest, ASegmentBegunInVainDoesNoHarm) {
  PowerCutFileLayer files(1);
  auto log = OpenLog(files, kDir);
  ASSERT_TRUE(log.ok());
  DeltaMaker a(1);
  ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next())).ok());
  ASSERT_TRUE((*log)->Sync().ok());
  files.FailWith(
      [](const std::string& operation, const std::string&) { return operation == "write" ? EIO : 0; });
  EXPECT_FALSE(AppendOne(**log, MakeRecord(a.Next())).ok());
  // The fresh segment can be written but neither synced nor removed again.
  files.FailWith([](const std::string& operation, const std::string&) {
    return operation == "sync_dir" || operation == "remove" ? EIO : 0;
  });
  EXPECT_FALSE((*log)->StartFreshSegment().ok());
  EXPECT_TRUE((*log)->failed());
  files.FailWith(nullptr);
  ASSERT_TRUE((*log)->StartFreshSegment().ok());
  EXPECT_EQ((*log)->Sealed().size(), 1u);
  ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Follow(9, 1, a.made[1]))).ok());
  EXPECT_EQ(files.List(kDir)->size(), 3u);
  const Replayed replayed = ReplayAll(files, kDir);
  ASSERT_TRUE(replayed.report.ok());
  EXPECT_EQ(replayed.Last(1), 9u);
  EXPECT_TRUE(replayed.report->damaged.empty());
  EXPECT_EQ(files.List(kDir)->size(), 2u);
}

// What still stands behind the records of a segment whose file held another one before is not taken for its
// own.
TEST(DeltaLogTest, FilesOfRemovedSegmentsAreWrittenOver) {
  PowerCutFileLayer files(1);
  auto log = OpenLog(files, kDir, {}, uint64_t{1} << 20, 2);
  ASSERT_TRUE(log.ok());
  DeltaMaker a(1);
  std::map<ShardId, ShardFolded> folded;
  for (int round = 0; round < 6; ++round) {
    SCOPED_TRACE(round);
    // Fewer than the file held before, so that old records follow.
    for (int i = 0; i < 20 - 3 * round; ++i) ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next(200))).ok());
    const Replayed replayed = ReplayAll(files, kDir, folded);
    ASSERT_TRUE(replayed.report.ok());
    EXPECT_EQ(replayed.Last(1), a.lsn);
    EXPECT_TRUE(replayed.report->damaged.empty());
    log = OpenLog(files, kDir, replayed.report->tail, uint64_t{1} << 20, 2);
    ASSERT_TRUE(log.ok());
    folded[1] = a.Folded();
    for (const SegmentInfo& segment : (*log)->Sealed()) ASSERT_TRUE((*log)->Remove(segment.number).ok());
    EXPECT_LE((*log)->spares(), 2u);
  }
  EXPECT_EQ((*log)->spares(), 2u);
  EXPECT_EQ(files.List(kDir)->size(), 3u);
}

TEST(DeltaLogTest, KeepsSparesAsAskedAndNoneWhenItEnds) {
  TempDir folder;
  PosixFileLayer files;
  const std::string dir = folder.path() + "/log";
  auto log = OpenLog(files, dir, {}, uint64_t{1} << 20, 4);
  ASSERT_TRUE(log.ok());
  DeltaMaker a(1);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next())).ok());
    ASSERT_TRUE((*log)->Seal().ok());
  }
  ASSERT_TRUE((*log)->Sync().ok());
  for (const SegmentInfo& segment : (*log)->Sealed()) ASSERT_TRUE((*log)->Remove(segment.number).ok());
  EXPECT_EQ((*log)->spares(), 4u);
  (*log)->KeepSpares(2);
  EXPECT_EQ((*log)->spares(), 2u);
  const std::map<ShardId, ShardFolded> folded{{1, a.Folded()}};
  ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next())).ok());
  const std::string open_segment = dir + "/" + SegmentFileName(5);
  EXPECT_GE(DiskBytesOf(open_segment), uint64_t{1} << 20) << "what is reserved counts";
  (*log)->Close();
  EXPECT_EQ((*log)->spares(), 0u);
  uint64_t files_left = 0, bytes_left = 0;
  for (const auto& file : std::filesystem::directory_iterator(dir)) {
    ++files_left;
    bytes_left += file.file_size();
  }
  EXPECT_EQ(files_left, 1u) << "the open segment";
  EXPECT_EQ(bytes_left, (*log)->Bytes());
  EXPECT_LT(DiskBytesOf(open_segment), uint64_t{1} << 16) << "without what was reserved";
  const Replayed replayed = ReplayAll(files, dir, folded);
  ASSERT_TRUE(replayed.report.ok());
  EXPECT_EQ(replayed.Last(1), a.lsn);
}

TEST(DeltaLogTest, TheFirstSpareReservesASegment) {
  TempDir folder;
  PosixFileLayer files;
  const std::string dir = folder.path() + "/log";
  auto log = OpenLog(files, dir, {}, uint64_t{1} << 20, 2);
  ASSERT_TRUE(log.ok());
  EXPECT_EQ((*log)->spares(), 1u);
  const uint64_t bytes = DiskBytesOf(dir + "/" + SpareFileName(0));
  EXPECT_GE(bytes, uint64_t{1} << 20);
  EXPECT_LT(bytes, uint64_t{2} << 20);
}

// A process that was killed leaves them; the next one may want fewer.
TEST(DeltaLogTest, SparesOfAnEarlierLifeStayAsFarAsTheyAreWanted) {
  PowerCutFileLayer files(1);
  auto log = OpenLog(files, kDir, {}, uint64_t{1} << 20, 5);
  ASSERT_TRUE(log.ok());
  DeltaMaker a(1);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next())).ok());
    ASSERT_TRUE((*log)->Seal().ok());
  }
  ASSERT_TRUE((*log)->Sync().ok());
  for (const SegmentInfo& segment : (*log)->Sealed()) ASSERT_TRUE((*log)->Remove(segment.number).ok());
  ASSERT_EQ((*log)->spares(), 5u);
  const std::map<ShardId, ShardFolded> folded{{1, a.Folded()}};
  for (const uint32_t wanted : {3, 0}) {
    SCOPED_TRACE(wanted);
    const Replayed replayed = ReplayAll(files, kDir, folded);
    ASSERT_TRUE(replayed.report.ok());
    log = OpenLog(files, kDir, replayed.report->tail, uint64_t{1} << 20, wanted);
    ASSERT_TRUE(log.ok());
    const uint64_t left = wanted == 0 ? 0 : wanted - 1;  // one has become the open segment
    EXPECT_EQ((*log)->spares(), left);
    const auto names = *files.List(kDir);
    EXPECT_EQ(std::count_if(names.begin(), names.end(),
                            [](const auto& name) { return ParseSpareFileName(name).has_value(); }),
              left);
  }
}

TEST(DeltaLogTest, AFullDiskGetsTheFilesInReserve) {
  for (const std::string failing : {"write", "sync"}) {
    SCOPED_TRACE(failing);
    PowerCutFileLayer files(1);
    auto log = OpenLog(files, kDir, {}, uint64_t{1} << 20, 2);
    ASSERT_TRUE(log.ok());
    EXPECT_EQ((*log)->spares(), 1u) << "made when the log was opened";
    DeltaMaker a(1);
    files.FailWith(
        [&](const std::string& operation, const std::string&) { return operation == failing ? ENOSPC : 0; });
    const Status appended = AppendOne(**log, MakeRecord(a.Next()));
    EXPECT_EQ((appended.ok() ? (*log)->Sync() : appended).code(), Code::kOverloaded);
    EXPECT_EQ((*log)->spares(), 0u);
    files.FailWith(nullptr);
    ASSERT_TRUE((*log)->StartFreshSegment().ok());
    EXPECT_TRUE(AppendOne(**log, MakeRecord(a.Follow(5, 0, 0))).ok());
    EXPECT_EQ(files.List(kDir)->size(), 2u);
  }
}

// One append may make it.
TEST(DeltaLogTest, ASegmentThatIsLongerIsCutToASpare) {
  constexpr uint64_t kSegment = 1 << 16;
  PowerCutFileLayer files(1);
  auto log = OpenLog(files, kDir, {}, kSegment, 4);
  ASSERT_TRUE(log.ok());
  DeltaMaker a(1);
  for (const size_t padding : {size_t{16}, size_t{2} * kSegment}) {
    ASSERT_TRUE(AppendOne(**log, MakeRecord(a.Next(padding))).ok());
    ASSERT_TRUE((*log)->Seal().ok());
  }
  ASSERT_TRUE((*log)->Sync().ok());
  const auto sealed = (*log)->Sealed();
  ASSERT_EQ(sealed.size(), 2u);
  ASSERT_GT(sealed[1].bytes, kSegment);
  for (const SegmentInfo& segment : sealed) ASSERT_TRUE((*log)->Remove(segment.number).ok());
  EXPECT_EQ((*log)->spares(), 3u) << "with the first one";
  const auto names = *files.List(kDir);
  for (const std::string& name : names) {
    const auto file = files.Open(std::string(kDir) + "/" + name);
    ASSERT_TRUE(file.ok()) << file.status().ToString();
    EXPECT_LE(*(*file)->Size(), kSegment) << name;
  }
}

}  // namespace
}  // namespace penstock
