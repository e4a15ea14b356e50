// Replay: torn tails, damage, missing files, and which deltas follow which.
#include "server/storage/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "server/storage/segment_reader.h"
#include "tests/unit/server/storage/log_fixture.h"
#include "tests/unit/server/storage/power_cut_file_layer.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr char kDir[] = "/data/log";
std::string PathOf(uint64_t number) { return std::string(kDir) + "/" + SegmentFileName(number); }

std::string Flipped(const std::vector<char>& bytes, uint64_t at) {
  return std::string(1, static_cast<char>(bytes[at] ^ 0x40));
}

// Shards 1 and 2 in one segment; the last record's place is [begin, end).
struct SmallLog {
  PowerCutFileLayer files{1};
  std::unique_ptr<DeltaLog> log;
  DeltaMaker a{1}, b{2}, c{3};
  uint64_t begin = 0, end = 0;

  SmallLog() { log = std::move(*OpenLog(files, kDir)); }
  void Append(LogRecord record) {
    begin = files.Contents(PathOf(1)).size();
    EXPECT_TRUE(AppendOne(*log, std::move(record)).ok());
    end = files.Contents(PathOf(1)).size();
  }
};

TEST(ReplayTest, ATailTornAtAnyByteIsCutOff) {
  uint64_t begin = 0, end = 1;
  for (uint64_t cut = 0; cut < 2 * (end - begin); ++cut) {
    SmallLog small;
    small.Append(MakeRecord(small.a.Next(), small.b.Next()));
    ASSERT_TRUE(small.log->Sync().ok());
    small.Append(MakeRecord(small.b.Next()));
    const auto kept_a = small.a.made, kept_b = small.b.made;
    small.Append(MakeRecord(small.a.Next(), small.b.Next()));
    begin = small.begin, end = small.end;
    const uint64_t at = begin + cut / 2;
    SCOPED_TRACE((cut % 2 ? "garbage from " : "cut at ") + std::to_string(at));
    if (cut % 2 == 0) {
      ASSERT_TRUE((*small.files.Open(PathOf(1)))->Truncate(at).ok());
    } else {
      // Other than what stood there at least in the first byte.
      small.files.Overwrite(PathOf(1), at,
                            Flipped(small.files.Contents(PathOf(1)), at) + std::string(end - at - 1, '\x5a'));
    }
    Replayed replayed = ReplayAll(small.files, kDir);
    ASSERT_TRUE(replayed.report.ok()) << replayed.report.status().ToString();
    EXPECT_TRUE(replayed.report->damaged.empty());
    EXPECT_EQ(replayed.deltas.at(1), kept_a);
    EXPECT_EQ(replayed.deltas.at(2), kept_b);
    EXPECT_EQ(replayed.report->discarded_bytes, cut % 2 == 0 ? at - begin : end - begin);
    // The log goes on, and what was cut off does not come back.
    auto log = OpenLog(small.files, kDir, replayed.report->tail);
    ASSERT_TRUE(log.ok());
    DeltaMaker next(1);
    next.epoch = 2;
    ASSERT_TRUE(AppendOne(**log, MakeRecord(next.Follow(7, 1, kept_a.at(1)))).ok());
    replayed = ReplayAll(small.files, kDir);
    EXPECT_EQ(replayed.Last(1), 7u);
    EXPECT_EQ(replayed.deltas.at(2), kept_b);
    EXPECT_TRUE(replayed.report->damaged.empty());
  }
}

TEST(ReplayTest, AHeaderTornAtTheTailIsRemoved) {
  for (uint64_t size = 0; size < sizeof(SegmentHeader); size += 3) {
    SmallLog small;
    small.Append(MakeRecord(small.a.Next()));
    ASSERT_TRUE(small.log->Seal().ok());
    ASSERT_TRUE((*small.files.Open(PathOf(2)))->Truncate(size).ok());
    const Replayed replayed = ReplayAll(small.files, kDir);
    ASSERT_TRUE(replayed.report.ok());
    EXPECT_EQ(replayed.deltas.at(1), small.a.made);
    EXPECT_TRUE(replayed.report->damaged.empty());
    EXPECT_THAT(*small.files.List(kDir), ElementsAre(SegmentFileName(1)));
    EXPECT_EQ(replayed.report->tail.next_segment, 3u);
  }
}

// Whatever byte of a synced record is changed: at most the shard whose delta it lies in is lost, and it is
// named.
TEST(ReplayTest, DamageInTheMiddleTouchesOneShard) {
  uint64_t begin = 0, end = 1;
  int unharmed = 0, quarantined = 0;
  for (uint64_t i = 0; i < end - begin; ++i) {
    SmallLog small;
    small.Append(MakeRecord(small.a.Next(), small.b.Next(), small.c.Next()));
    small.Append(MakeRecord(small.a.Next(), small.b.Next()));
    begin = small.begin, end = small.end;
    ASSERT_TRUE(small.log->Sync().ok());
    small.Append(MakeRecord(small.c.Next()));
    small.Append(MakeRecord(small.a.Next(), small.b.Next(), small.c.Next()));
    SCOPED_TRACE("byte " + std::to_string(i) + " of the record");
    small.files.Overwrite(PathOf(1), begin + i, Flipped(small.files.Contents(PathOf(1)), begin + i));

    const Replayed replayed = ReplayAll(small.files, kDir);
    ASSERT_TRUE(replayed.report.ok());
    EXPECT_EQ(replayed.deltas.at(3), small.c.made);
    EXPECT_FALSE(replayed.report->damaged.contains(3));
    ASSERT_LE(replayed.report->damaged.size(), 1u);
    for (DeltaMaker* shard : {&small.a, &small.b}) {
      if (replayed.report->damaged.contains(shard->shard())) {
        EXPECT_EQ(replayed.Last(shard->shard()), 1u);
        ++quarantined;
      } else {
        EXPECT_EQ(replayed.deltas.at(shard->shard()), shard->made);
        ++unharmed;
      }
    }
    // The fold sees the same deltas behind the damage.
    const SegmentInfo& info = replayed.report->tail.segments.at(0);
    uint64_t seen = 0;
    const auto count = [&](const LoggedDelta&) {
      ++seen;
      return Status::Ok();
    };
    EXPECT_TRUE(ForEachDelta(small.files, kDir, info, count).ok());
    EXPECT_EQ(seen, 9 - replayed.report->damaged.size());
    SegmentInfo unaware = info;
    unaware.damaged = false;
    if (info.damaged) {
      EXPECT_EQ(ForEachDelta(small.files, kDir, unaware, count).code(), Code::kDataLoss);
    }
  }
  EXPECT_GT(unharmed, 100);
  EXPECT_GT(quarantined, 100);
}

TEST(ReplayTest, AWholeRecordGoneNamesAllThatMayHaveBeenInIt) {
  SmallLog small;
  DeltaMaker idle(4);
  small.Append(MakeRecord(small.a.Next(), small.b.Next(), small.c.Next(), idle.Next()));
  small.Append(MakeRecord(small.a.Next()));
  const uint64_t begin = small.begin, end = small.end;
  small.Append(MakeRecord(small.a.Next(), small.b.Next()));
  ASSERT_TRUE(small.log->Sync().ok());
  small.Append(MakeRecord(small.c.Next()));
  small.files.Overwrite(PathOf(1), begin, std::string(end - begin, '\0'));
  const Replayed replayed = ReplayAll(small.files, kDir);
  ASSERT_TRUE(replayed.report.ok());
  // a's chain has a gap. b and c go on without one. Of the idle shard nothing shows that it had no delta
  // there.
  EXPECT_EQ(replayed.deltas.at(2), small.b.made);
  EXPECT_EQ(replayed.deltas.at(3), small.c.made);
  ASSERT_EQ(replayed.report->damaged.size(), 2u);
  EXPECT_THAT(replayed.report->damaged.at(1), HasSubstr("delta 3"));
  EXPECT_THAT(replayed.report->damaged.at(4), HasSubstr(SegmentFileName(1)));
}

TEST(ReplayTest, AnAcceptedLossStaysAccepted) {
  SmallLog small;
  small.Append(MakeRecord(small.a.Next(), small.b.Next()));
  small.Append(MakeRecord(small.a.Next()));
  const uint64_t last_byte = small.end - 1;
  small.Append(MakeRecord(small.a.Next(), small.b.Next()));
  ASSERT_TRUE(small.log->Sync().ok());
  small.Append(MakeRecord(small.b.Next()));
  small.files.Overwrite(PathOf(1), last_byte, Flipped(small.files.Contents(PathOf(1)), last_byte));
  Replayed replayed = ReplayAll(small.files, kDir);
  ASSERT_TRUE(replayed.report.ok());
  EXPECT_EQ(replayed.report->damaged.size(), 1u);
  // An operator accepts it: a new epoch goes on from the last delta that was replayed.
  auto log = OpenLog(small.files, kDir, replayed.report->tail);
  ASSERT_TRUE(log.ok());
  small.a.epoch = 2;
  ASSERT_TRUE(AppendOne(**log, MakeRecord(small.a.Follow(10, 1, small.a.made[1]))).ok());
  ASSERT_TRUE(AppendOne(**log, MakeRecord(small.a.Next())).ok());
  replayed = ReplayAll(small.files, kDir);
  ASSERT_TRUE(replayed.report.ok());
  EXPECT_TRUE(replayed.report->damaged.empty());
  EXPECT_FALSE(replayed.report->damaged_places.empty());
  EXPECT_THAT(replayed.deltas.at(1),
              ElementsAre(Pair(1, small.a.made[1]), Pair(10, small.a.made[10]), Pair(11, small.a.made[11])));
}

TEST(ReplayTest, WhatWasReportedSyncedMustBeThere) {
  for (const bool synced : {true, false}) {
    SCOPED_TRACE(synced ? "reported as synced" : "not reported");
    SmallLog small;
    small.Append(MakeRecord(small.a.Next(), small.b.Next()));
    small.Append(MakeRecord(small.a.Next(), small.b.Next()));
    small.files.Overwrite(PathOf(1), small.end - 1, Flipped(small.files.Contents(PathOf(1)), small.end - 1));
    const std::map<ShardId, Lsn> reported = {{1, 1}, {2, synced ? 2 : 1}};
    const Replayed replayed = ReplayAll(small.files, kDir, {}, &reported);
    ASSERT_TRUE(replayed.report.ok());
    // The end of the log is a torn tail, unless the report says that it had been synced. Then what is whole
    // of it counts.
    EXPECT_EQ(replayed.report->damaged.contains(2), synced);
    EXPECT_FALSE(replayed.report->damaged.contains(1));
    EXPECT_EQ(replayed.Last(1), synced ? 2u : 1u);
    EXPECT_EQ(replayed.Last(2), 1u);
  }
}

// The scheduler is asked in doubt alone.
TEST(ReplayTest, OfAWholeLogNobodyIsAsked) {
  SmallLog small;
  small.Append(MakeRecord(small.a.Next()));
  int asked = 0;
  const SyncedReport ask = [&] {
    ++asked;
    return std::map<ShardId, ReportedShard>{};
  };
  const auto apply = [](auto&&...) { return Status::Ok(); };
  ASSERT_TRUE(Replay(small.files, kDir, kTestCluster, {}, apply, "", ask).ok());
  EXPECT_EQ(asked, 0);
  small.files.Overwrite(PathOf(1), small.end - 1, Flipped(small.files.Contents(PathOf(1)), small.end - 1));
  ASSERT_TRUE(Replay(small.files, kDir, kTestCluster, {}, apply, "", ask).ok());
  EXPECT_EQ(asked, 1);
}

// Three segments that were never synced; one bit of a record in the first one flips.
struct UnsyncedLog : SmallLog {
  uint64_t flipped = 0;  // where that record begins
  UnsyncedLog() {
    Append(MakeRecord(a.Next(), b.Next()));
    Append(MakeRecord(a.Next(), c.Next()));
    flipped = begin;
    const uint64_t last_byte = end - 1;  // of the delta of c
    Append(MakeRecord(a.Next(), b.Next(), c.Next()));
    for (int i = 0; i < 2; ++i) {
      EXPECT_TRUE(log->Seal().ok());
      EXPECT_TRUE(AppendOne(*log, MakeRecord(a.Next(), b.Next())).ok());
    }
    files.Overwrite(PathOf(1), last_byte, Flipped(files.Contents(PathOf(1)), last_byte));
    log.reset();
  }
};

TEST(ReplayTest, AfterAKillAFlippedBitCostsOneShard) {
  UnsyncedLog small;
  const Replayed replayed = ReplayAll(small.files, kDir);
  ASSERT_TRUE(replayed.report.ok()) << replayed.report.status().ToString();
  // What was written in this boot of the machine is there: the bit was not torn by anything.
  EXPECT_EQ(replayed.deltas.at(1), small.a.made);
  EXPECT_EQ(replayed.deltas.at(2), small.b.made);
  EXPECT_THAT(replayed.report->damaged, ElementsAre(Pair(3, HasSubstr("delta 2"))));
  EXPECT_EQ(replayed.report->damaged_places.size(), 1u);
  EXPECT_EQ(replayed.report->discarded_bytes, 0u);
  EXPECT_TRUE(replayed.report->put_aside.empty());
}

// A write that is cut short leaves nothing whole behind its end.
TEST(ReplayTest, AfterAKillABadDeltaBeforeAGoodOneOfTheLastRecordIsDamage) {
  for (const bool killed : {true, false}) {
    SCOPED_TRACE(killed ? "a kill" : "a loss of power");
    SmallLog small;
    small.Append(MakeRecord(small.a.Next(), small.b.Next()));
    const uint64_t first_end = small.end;
    small.Append(MakeRecord(small.a.Next(), small.b.Next()));
    const uint64_t of_a = first_end + sizeof(RecordHead) + 3 * sizeof(SectionHead);
    small.files.Overwrite(PathOf(1), of_a, Flipped(small.files.Contents(PathOf(1)), of_a));
    if (!killed) small.files.SetBoot(2);
    const Replayed replayed = ReplayAll(small.files, kDir);
    ASSERT_TRUE(replayed.report.ok()) << replayed.report.status().ToString();
    EXPECT_EQ(replayed.report->damaged.contains(1), killed);
    EXPECT_FALSE(replayed.report->damaged.contains(2));
    EXPECT_EQ(replayed.Last(1), 1u);
    EXPECT_EQ(replayed.Last(2), killed ? 2u : 1u);
    EXPECT_EQ(replayed.report->put_aside.size(), killed ? 0u : 1u);
  }
}

TEST(ReplayTest, AfterAKillAMissingSegmentIsDamage) {
  UnsyncedLog small;
  small.files.Lose(PathOf(2));
  const Replayed replayed = ReplayAll(small.files, kDir);
  ASSERT_TRUE(replayed.report.ok());
  EXPECT_THAT(replayed.report->damaged_places, testing::Contains(HasSubstr("missing")));
  EXPECT_TRUE(replayed.report->damaged.contains(1));
}

// In another boot, and where nobody knows the boot.
TEST(ReplayTest, AfterALossOfPowerTheRestIsPutAside) {
  for (const bool known : {true, false}) {
    SCOPED_TRACE(known ? "another boot" : "an unknown boot");
    UnsyncedLog small;
    small.files.SetBoot(known ? 2 : 0);
    std::map<uint64_t, std::vector<char>> before;
    for (uint64_t number : {1, 2, 3}) before[number] = small.files.Contents(PathOf(number));
    const std::string aside = "/data/damaged/1";
    std::map<ShardId, Lsn> last;
    const auto apply = [&](ShardId shard, Incarnation, const proto::Delta::Reader& delta, uint32_t) {
      last[shard] = delta.getLsn();
      return Status::Ok();
    };
    const auto report = Replay(small.files, kDir, kTestCluster, {}, apply, aside);
    ASSERT_TRUE(report.ok()) << report.status().ToString();
    EXPECT_TRUE(report->damaged.empty()) << "nobody knows that it was synced";
    EXPECT_THAT(last, ElementsAre(Pair(1, 1), Pair(2, 1)));
    EXPECT_EQ(report->put_aside.size(), 3u);
    const std::string rest = aside + "/" + SegmentFileName(1) + ".from-" + std::to_string(small.flipped);
    EXPECT_THAT(small.files.Contents(rest),
                testing::ElementsAreArray(before[1].begin() + static_cast<ptrdiff_t>(small.flipped),
                                          before[1].end()));
    for (uint64_t number : {2, 3})
      EXPECT_EQ(small.files.Contents(aside + "/" + SegmentFileName(number)), before[number]);
    EXPECT_THAT(*small.files.List(kDir), ElementsAre(SegmentFileName(1)));
    EXPECT_EQ(small.files.Contents(PathOf(1)).size(), small.flipped);
  }
}

// Of a version that did not write down the boot.
TEST(ReplayTest, ASegmentOfTheFormatBeforeIsRead) {
  for (const uint32_t format : {kOldestSegmentFormat, kOldestSegmentFormat - 1, kSegmentFormat + 1}) {
    SCOPED_TRACE("format " + std::to_string(format));
    UnsyncedLog small;
    for (uint64_t number : {1, 2, 3}) {
      SegmentHeader header;
      std::memcpy(&header, small.files.Contents(PathOf(number)).data(), sizeof(header));
      header.format = format;
      header.boot = 0;
      Seal(header);
      small.files.Overwrite(PathOf(number), 0, std::string(reinterpret_cast<char*>(&header), sizeof(header)));
    }
    const Replayed replayed = ReplayAll(small.files, kDir);
    if (format != kOldestSegmentFormat) {
      EXPECT_EQ(replayed.report.status().code(), Code::kFailedPrecondition);
      EXPECT_THAT(replayed.report.status().message(), HasSubstr("has format " + std::to_string(format)));
      EXPECT_THAT(replayed.report.status().message(), HasSubstr("reads 2 to 3"));
      continue;
    }
    ASSERT_TRUE(replayed.report.ok()) << replayed.report.status().ToString();
    EXPECT_TRUE(replayed.report->damaged.empty());
    EXPECT_EQ(replayed.Last(1), 1u);
    // It is gone on with in the present format.
    auto log = OpenLog(small.files, kDir, replayed.report->tail);
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    DeltaMaker next(1);
    next.epoch = 2;
    ASSERT_TRUE(AppendOne(**log, MakeRecord(next.Follow(9, 1, small.a.made.at(1)))).ok());
    EXPECT_EQ(ReplayAll(small.files, kDir).Last(1), 9u);
  }
}

TEST(ReplayTest, AMissingSegmentIsDamage) {
  SmallLog small;
  for (int i = 0; i < 3; ++i) {
    small.Append(MakeRecord(small.a.Next()));
    ASSERT_TRUE(AppendOne(*small.log, MakeRecord(small.b.Next())).ok());
    ASSERT_TRUE(small.log->Seal().ok());
  }
  ASSERT_TRUE(small.log->Sync().ok());
  ASSERT_TRUE(AppendOne(*small.log, MakeRecord(small.b.Next())).ok());
  small.files.Lose(PathOf(2));
  // The base holds what a had there.
  const std::map<ShardId, ShardFolded> folded = {
      {1, {.incarnation = 1, .epoch = 1, .lsn = 2, .checksum = small.a.made[2]}}};
  const Replayed replayed = ReplayAll(small.files, kDir, folded);
  ASSERT_TRUE(replayed.report.ok());
  EXPECT_THAT(replayed.report->damaged_places, ElementsAre(HasSubstr("missing")));
  EXPECT_FALSE(replayed.report->damaged.contains(1));
  EXPECT_EQ(replayed.Last(1), 3u);
  EXPECT_TRUE(replayed.report->damaged.contains(2));
  EXPECT_EQ(replayed.Last(2), 1u);
}

TEST(ReplayTest, ADamagedHeaderCostsNothing) {
  SmallLog small;
  small.Append(MakeRecord(small.a.Next()));
  ASSERT_TRUE(small.log->Seal().ok());
  ASSERT_TRUE(AppendOne(*small.log, MakeRecord(small.a.Next())).ok());
  ASSERT_TRUE(small.log->Seal().ok());
  ASSERT_TRUE(small.log->Sync().ok());
  ASSERT_TRUE(AppendOne(*small.log, MakeRecord(small.a.Next())).ok());
  small.files.Overwrite(PathOf(2), 17, Flipped(small.files.Contents(PathOf(2)), 17));
  const Replayed replayed = ReplayAll(small.files, kDir);
  ASSERT_TRUE(replayed.report.ok());
  EXPECT_EQ(replayed.deltas.at(1), small.a.made);
  EXPECT_TRUE(replayed.report->damaged.empty());
  EXPECT_THAT(replayed.report->damaged_places, ElementsAre(HasSubstr("header")));
}

TEST(ReplayTest, AnotherClustersLogIsRefused) {
  SmallLog small;
  small.Append(MakeRecord(small.a.Next()));
  const auto before = small.files.Contents(PathOf(1));
  const auto report = Replay(small.files, kDir, kTestCluster + 1, {}, [](auto&&...) { return Status::Ok(); });
  EXPECT_EQ(report.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(report.status().message(), HasSubstr(PathOf(1)));
  EXPECT_EQ(small.files.Contents(PathOf(1)), before);
}

TEST(ReplayTest, AnEmptyOrMissingDirectory) {
  PowerCutFileLayer files(1);
  const Replayed replayed = ReplayAll(files, "/nowhere");
  ASSERT_TRUE(replayed.report.ok()) << replayed.report.status().ToString();
  EXPECT_EQ(replayed.report->tail.next_segment, 1u);
}

TEST(ReplayTest, ADeltaOfAnotherClusterIsDamage) {
  SmallLog small;
  small.a.cluster = 5;
  small.Append(MakeRecord(small.a.Next(), small.b.Next()));
  const Replayed replayed = ReplayAll(small.files, kDir);
  ASSERT_EQ(replayed.report->damaged.size(), 1u);
  EXPECT_THAT(replayed.report->damaged.at(1), HasSubstr("cluster 5"));
  EXPECT_EQ(replayed.Last(2), 1u);
}

TEST(ReplayTest, ARefusedDeltaEndsItsShardAlone) {
  SmallLog small;
  for (int i = 0; i < 3; ++i) small.Append(MakeRecord(small.a.Next(), small.b.Next()));
  const auto refuse = [](Code code) {
    return [code](ShardId shard, Incarnation, const proto::Delta::Reader& delta, uint32_t) {
      return shard == 1 && delta.getLsn() == 2 ? Status(code, "no such table") : Status::Ok();
    };
  };
  const auto report = Replay(small.files, kDir, kTestCluster, {}, refuse(Code::kDataLoss));
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->damaged, ElementsAre(Pair(1, "no such table")));
  EXPECT_EQ(report->shards.at(1).lsn, 1u);
  EXPECT_EQ(report->shards.at(2).lsn, 3u);
  EXPECT_EQ(Replay(small.files, kDir, kTestCluster, {}, refuse(Code::kInternal)).status().code(),
            Code::kInternal);
}

TEST(DeltaChainTest, WhatMayFollow) {
  const ShardFolded base = {.incarnation = 2, .epoch = 3, .lsn = 10, .checksum = 0xabc};
  using Verdict = DeltaChain::Verdict;
  const struct {
    const char* what;
    Incarnation incarnation;
    Epoch epoch;
    Lsn lsn, previous;
    uint32_t previous_checksum;
    bool first;
    Verdict verdict;
  } kTable[] = {
      {"the next", 2, 3, 11, 10, 0xabc, false, Verdict::kTake},
      {"folded", 2, 3, 10, 9, 1, false, Verdict::kSkip},
      {"folded long ago", 2, 1, 3, 2, 1, true, Verdict::kSkip},
      {"another predecessor", 2, 3, 11, 10, 0xdef, false, Verdict::kGap},
      {"a gap", 2, 3, 12, 11, 0xabc, false, Verdict::kGap},
      {"skips within an epoch", 2, 3, 12, 10, 0xabc, false, Verdict::kGap},
      {"first of an epoch skips", 2, 4, 50, 10, 0xabc, true, Verdict::kTake},
      {"first of an epoch after a gap", 2, 4, 50, 12, 0xabc, true, Verdict::kGap},
      {"first of an epoch after another delta", 2, 4, 50, 10, 0xdef, true, Verdict::kGap},
      {"repeats from an older base", 2, 3, 50, 7, 0x123, true, Verdict::kTake},
      {"repeats from the beginning", 2, 3, 50, 0, 0, true, Verdict::kTake},
      {"repeats and does not rise", 2, 3, 50, 60, 0, true, Verdict::kGap},
      {"an older epoch", 2, 2, 50, 10, 0xabc, true, Verdict::kGap},
      {"an older incarnation", 1, 9, 50, 49, 1, false, Verdict::kSkip},
      {"a new incarnation", 5, 4, 1, 0, 0, true, Verdict::kTake},
      {"a new incarnation from its middle", 5, 4, 3, 2, 1, false, Verdict::kGap},
  };
  for (const auto& entry : kTable) {
    capnp::MallocMessageBuilder message;
    auto delta = message.initRoot<proto::Delta>();
    delta.setFormat(proto::DELTA_FORMAT);
    delta.setCluster(kTestCluster);
    delta.setShard(9);
    delta.setEpoch(entry.epoch);
    delta.setLsn(entry.lsn);
    delta.setPreviousLsn(entry.previous);
    delta.setPreviousChecksum(entry.previous_checksum);
    delta.setFirstOfEpoch(entry.first);
    DeltaChain chain(9, base);
    EXPECT_EQ(chain.Offer(delta.asReader(), entry.incarnation, 0x777, kTestCluster), entry.verdict)
        << entry.what;
    EXPECT_EQ(chain.broken().empty(), entry.verdict != Verdict::kGap) << entry.what;
    if (entry.verdict == Verdict::kTake) {
      EXPECT_EQ(chain.last().lsn, entry.lsn) << entry.what;
    }
    DeltaChain lenient(9, base);
    EXPECT_EQ(lenient.Offer(delta.asReader(), entry.incarnation, 0x777, kTestCluster, /*may_lack=*/true),
              entry.verdict)
        << entry.what;
    EXPECT_TRUE(lenient.broken().empty()) << entry.what;
  }
}

}  // namespace
}  // namespace penstock
