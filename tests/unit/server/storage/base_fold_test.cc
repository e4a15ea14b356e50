// The base and the fold: round trips, damage, fold as a pure function, and kills at each of its steps.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>

#include "common/base/fault.h"
#include "server/marks.h"
#include "server/storage/base_writer.h"
#include "tests/unit/server/storage/fold_fixture.h"

namespace penstock {
namespace {

namespace fs = std::filesystem;

// --- The base.

kj::Array<capnp::word> MetaOf(ShardId shard, Lsn lsn, uint64_t cluster = kFoldCluster) {
  capnp::MallocMessageBuilder message;
  auto meta = message.initRoot<proto::ShardMeta>();
  meta.setFormat(proto::DELTA_FORMAT);
  meta.setCluster(cluster);
  meta.setShard(shard);
  meta.setIncarnation(shard + 100);
  meta.setLsn(lsn);
  return capnp::messageToFlatArray(message);
}

Status PutRows(BaseStore& base, Incarnation incarnation, Key keys, Lsn lsn, float value) {
  BaseWriter writer(base);
  for (Key key = 0; key < keys; ++key) {
    const float floats[3] = {value, static_cast<float>(key), 0.5f};
    PENSTOCK_RETURN_IF_ERROR(writer.PutRow(incarnation, {.table = 1,
                                                         .key = key << 40 | key,
                                                         .lsn = lsn,
                                                         .push_count = static_cast<uint32_t>(key),
                                                         .flags = 9,
                                                         .layout = kRowLayout,
                                                         .floats = floats}));
  }
  const auto words = MetaOf(static_cast<ShardId>(incarnation - 100), lsn);
  PENSTOCK_RETURN_IF_ERROR(writer.PutMeta(static_cast<ShardId>(incarnation - 100), words));
  PENSTOCK_RETURN_IF_ERROR(writer.Finish());
  return writer.Commit();
}

TEST(BaseStoreTest, CompactionGivesBackTheSpaceOfDeletedRows) {
  TestFolder folder;
  auto base = BaseStore::Open(folder.path() + "/base", {.cluster = kFoldCluster});
  ASSERT_STATUS_OK(base.status());
  ASSERT_STATUS_OK(PutRows(**base, 105, 20000, 7, 1.0f));
  const uint64_t before = (*base)->DiskBytes();
  {
    BaseWriter writer(**base);
    for (Key key = 0; key < 10000; ++key)
      ASSERT_STATUS_OK(writer.DeleteRow(105, 1, (key * 2) << 40 | key * 2));
    ASSERT_STATUS_OK(writer.Finish());
    ASSERT_STATUS_OK(writer.Commit());
  }
  auto entries = (*base)->CountEntries();
  ASSERT_STATUS_OK(entries.status());
  EXPECT_EQ(entries->all, 30000u);
  EXPECT_EQ(entries->deletions, 10000u);
  std::atomic<bool> cancel{false};
  ASSERT_STATUS_OK((*base)->Compact(cancel));
  entries = (*base)->CountEntries();
  ASSERT_STATUS_OK(entries.status());
  EXPECT_EQ(entries->all, 10000u);
  EXPECT_EQ(entries->deletions, 0u);
  EXPECT_LT((*base)->DiskBytes(), before * 6 / 10);
  EXPECT_EQ((*base)->Get(105, 1, 0).status().code(), Code::kNotFound);
  EXPECT_TRUE((*base)->Get(105, 1, Key{1} << 40 | 1).ok());
}

TEST(BaseStoreTest, RowsAndMetaComeBackAfterReopen) {
  TestFolder folder;
  const std::string dir = folder.path() + "/base";
  {
    auto base = BaseStore::Open(dir, {.cluster = kFoldCluster});
    ASSERT_STATUS_OK(base.status());
    ASSERT_STATUS_OK(PutRows(**base, 105, 1000, 7, 1.0f));
    ASSERT_STATUS_OK(PutRows(**base, 106, 10, 8, 2.0f));
    ASSERT_STATUS_OK(PutRows(**base, 105, 500, 9, 3.0f));  // over the first
  }
  auto base = BaseStore::Open(dir, {.cluster = kFoldCluster});
  ASSERT_STATUS_OK(base.status());
  Key expected = 0;
  ASSERT_STATUS_OK((*base)->ForEachRow(105, [&](const BaseRow& row) {
    const bool newer = expected < 500;
    EXPECT_EQ(row.key, expected << 40 | expected);
    EXPECT_EQ(row.lsn, newer ? 9u : 7u);
    EXPECT_EQ(row.push_count, expected);
    EXPECT_EQ(row.flags, 9u);
    EXPECT_EQ(row.layout, kRowLayout);
    EXPECT_EQ(row.floats.size(), 3u);
    EXPECT_EQ(row.floats[0], newer ? 3.0f : 1.0f);
    ++expected;
    return Status::Ok();
  }));
  EXPECT_EQ(expected, 1000u);
  const auto found = (*base)->Get(106, 1, Key{4} << 40 | 4);
  ASSERT_STATUS_OK(found.status());
  EXPECT_EQ(found->floats[0], 2.0f);
  EXPECT_EQ(found->row.lsn, 8u);
  EXPECT_EQ((*base)->Get(106, 1, 5).status().code(), Code::kNotFound);
  const auto metas = (*base)->LoadMeta();
  ASSERT_STATUS_OK(metas.status());
  ASSERT_EQ(metas->size(), 2u);
  EXPECT_EQ((*metas)[0].reader().getShard(), 5u);
  EXPECT_EQ((*metas)[0].reader().getLsn(), 9u);
  EXPECT_EQ((*metas)[1].reader().getShard(), 6u);
}

TEST(BaseStoreTest, ManyRowsAreReadAtOnceAndTablesScannedInPieces) {
  TestFolder folder;
  auto base = BaseStore::Open(folder.path() + "/base", {.cluster = kFoldCluster});
  ASSERT_STATUS_OK(base.status());
  ASSERT_STATUS_OK(PutRows(**base, 105, 1000, 7, 1.0f));
  ASSERT_STATUS_OK(PutRows(**base, 106, 10, 8, 2.0f));
  ASSERT_STATUS_OK(PutRows(**base, 105, 500, 9, 3.0f));
  std::vector<RowPlace> places;
  for (const Incarnation incarnation : {105, 106}) {
    for (Key key = 0; key < 1200; ++key) places.push_back({incarnation, 1, key << 40 | key});
  }
  const auto rows = (*base)->GetRows(places);
  ASSERT_STATUS_OK(rows.status());
  ASSERT_EQ(rows->size(), places.size());
  for (size_t i = 0; i < places.size(); ++i) {
    const bool first = places[i].incarnation == 105;
    const Key key = places[i].key & 0xffff;
    ASSERT_EQ(rows->found(i), key < (first ? 1000u : 10u));
    if (!rows->found(i)) continue;
    EXPECT_EQ(rows->row(i).key, places[i].key);
    EXPECT_EQ(rows->row(i).push_count, key);
    ASSERT_EQ(rows->row(i).floats.size(), 3u);
    EXPECT_EQ(rows->row(i).floats[0], first ? (key < 500 ? 3.0f : 1.0f) : 2.0f);
  }
  EXPECT_EQ((*base)->GetRows({})->size(), 0u);
  Key expected = 0;
  for (Key next = 0;;) {
    const auto part = (*base)->Scan(105, 1, next, 300);
    ASSERT_STATUS_OK(part.status());
    for (size_t i = 0; i < part->size(); ++i, ++expected)
      EXPECT_EQ(part->row(i).key, expected << 40 | expected);
    if (part->size() < 300) break;
    next = part->row(part->size() - 1).key + 1;
  }
  EXPECT_EQ(expected, 1000u);
  EXPECT_EQ((*base)->Scan(105, 2, 0, 300)->size(), 0u);
}

TEST(BaseStoreTest, RemovalsSpareRowsOfTheSameWriter) {
  TestFolder folder;
  auto base = BaseStore::Open(folder.path() + "/base", {.cluster = kFoldCluster});
  ASSERT_STATUS_OK(base.status());
  ASSERT_STATUS_OK(PutRows(**base, 105, 100, 7, 1.0f));
  ASSERT_STATUS_OK(PutRows(**base, 106, 100, 7, 1.0f));
  ASSERT_STATUS_OK(PutRows(**base, ~uint64_t{0}, 3, 7, 1.0f));
  BaseWriter writer(**base);
  const float floats[1] = {4};
  ASSERT_STATUS_OK(writer.RemoveTable(105, 1));
  ASSERT_STATUS_OK(writer.RemoveIncarnation(106));
  ASSERT_STATUS_OK(writer.PutRow(105, {.table = 1, .key = 3, .lsn = 9, .floats = floats}));
  ASSERT_STATUS_OK(writer.PutRow(105, {.table = 2, .key = 3, .lsn = 9, .floats = floats}));
  ASSERT_STATUS_OK(writer.Finish());
  ASSERT_STATUS_OK(writer.Commit());
  const auto count = [&](Incarnation incarnation) {
    int rows = 0;
    EXPECT_TRUE((*base)->ForEachRow(incarnation, [&](const BaseRow&) { return ++rows, Status::Ok(); }).ok());
    return rows;
  };
  EXPECT_EQ(count(105), 2);
  EXPECT_EQ(count(106), 0);
  EXPECT_EQ(count(~uint64_t{0}), 3) << "the last incarnation there can be has an end too";
}

TEST(BaseStoreTest, WritesNothingBeforeCommit) {
  TestFolder folder;
  const std::string dir = folder.path() + "/base";
  auto base = BaseStore::Open(dir, {.cluster = kFoldCluster});
  ASSERT_STATUS_OK(base.status());
  {
    BaseWriter writer(**base);
    ASSERT_STATUS_OK(writer.DeleteRow(1, 1, 1));
    ASSERT_STATUS_OK(writer.Finish());
    EXPECT_FALSE(fs::is_empty(dir + ".ingest"));
  }
  EXPECT_TRUE(fs::is_empty(dir + ".ingest")) << "a writer that is given up leaves nothing";
  std::ofstream(dir + ".ingest/rows.sst") << "left by a crash";
  base = Internal("closed");
  base = BaseStore::Open(dir, {.cluster = kFoldCluster});
  ASSERT_STATUS_OK(base.status());
  EXPECT_TRUE(fs::is_empty(dir + ".ingest"));
}

TEST(BaseStoreTest, RefusesAnotherClusterAndASecondOwner) {
  TestFolder folder;
  const std::string dir = folder.path() + "/base";
  auto base = BaseStore::Open(dir, {.cluster = kFoldCluster});
  ASSERT_STATUS_OK(base.status());
  const Status twice = BaseStore::Open(dir, {.cluster = kFoldCluster}).status();
  EXPECT_EQ(twice.code(), Code::kFailedPrecondition) << twice.ToString();
  base = Internal("closed");
  const Status other = BaseStore::Open(dir, {.cluster = 78}).status();
  EXPECT_EQ(other.code(), Code::kPermissionDenied) << other.ToString();
  EXPECT_NE(other.message().find(dir), std::string::npos) << other.ToString();
}

std::vector<fs::path> SstFiles(const std::string& dir) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(dir)) {
    if (entry.path().extension() == ".sst") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void FlipByte(const fs::path& path, uint64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(offset);
  const char was = static_cast<char>(file.get());
  file.seekp(offset);
  file.put(static_cast<char>(was ^ 0x55));
}

// Reads all that there is: the first error, or Ok with everything as it was written.
Status ReadEverything(const std::string& dir, uint64_t rows) {
  PENSTOCK_ASSIGN_OR_RETURN(auto base, BaseStore::Open(dir, {.cluster = kFoldCluster}));
  PENSTOCK_ASSIGN_OR_RETURN(const auto metas, base->LoadMeta());
  if (metas.size() != 1 || metas[0].reader().getLsn() != 7) return Internal("silently another meta");
  uint64_t seen = 0;
  PENSTOCK_RETURN_IF_ERROR(base->ForEachRow(105, [&](const BaseRow& row) {
    const bool same = row.key == (seen << 40 | seen) && row.floats.size() == 3 && row.floats[0] == 1.0f &&
                      row.floats[1] == seen;
    ++seen;
    return same ? Status::Ok() : Internal("silently another row");
  }));
  return seen == rows ? base->VerifyChecksums() : Internal("silently fewer rows");
}

TEST(BaseStoreTest, FlippedBytesAreDetected) {
  TestFolder folder;
  const std::string dir = folder.path() + "/base";
  constexpr Key kRows = 2000;
  {
    auto base = BaseStore::Open(dir, {.cluster = kFoldCluster});
    ASSERT_STATUS_OK(base.status());
    ASSERT_STATUS_OK(PutRows(**base, 105, kRows, 7, 1.0f));
  }
  ASSERT_STATUS_OK(ReadEverything(dir, kRows));
  const uint64_t seed = 1;
  std::mt19937_64 random(seed);
  int detected = 0;
  for (const fs::path& file : SstFiles(dir)) {
    for (int i = 0; i < 20; ++i) {
      const uint64_t offset = random() % fs::file_size(file);
      FlipByte(file, offset);
      const Status read = ReadEverything(dir, kRows);
      // A byte of padding or of an unused property may be anything; but never is something else read.
      EXPECT_NE(read.code(), Code::kInternal)
          << read.ToString() << ", " << file << " at " << offset << ", seed " << seed;
      if (read.code() == Code::kDataLoss) {
        ++detected;
        EXPECT_NE(read.message().find(dir), std::string::npos) << read.ToString();
      }
      FlipByte(file, offset);
    }
  }
  EXPECT_GE(detected, 50) << "of 60, seed " << seed;
  ASSERT_STATUS_OK(ReadEverything(dir, kRows));
}

TEST(BaseStoreTest, AMissingFileIsDataLoss) {
  TestFolder folder;
  const std::string dir = folder.path() + "/base";
  {
    auto base = BaseStore::Open(dir, {.cluster = kFoldCluster});
    ASSERT_STATUS_OK(base.status());
    ASSERT_STATUS_OK(PutRows(**base, 105, 2000, 7, 1.0f));
  }
  const fs::path lost = SstFiles(dir).back();
  fs::remove(lost);
  const Status read = ReadEverything(dir, 2000);
  EXPECT_EQ(read.code(), Code::kDataLoss) << read.ToString();
  EXPECT_NE(read.message().find(lost.parent_path() / lost.stem()), std::string::npos) << read.ToString();
}

// --- The fold as a function: base = fold(base, segments).

FoldOptions RandomOptions(std::mt19937_64& random) {
  FoldOptions options;
  options.image_buffer_bytes = 1 + random() % 6000;
  if (random() % 3 == 0) options.index_limit_bytes = 1 + random() % 4000;
  return options;
}

// Nothing of lives and tables that are over is left in the base.
void ExpectNoRemains(TestNode& node, const Model& model, uint64_t seed) {
  std::set<Incarnation> alive;
  for (const auto& [id, shard] : model.shards) alive.insert(shard.incarnation);
  for (Incarnation incarnation = 1; incarnation < 60; ++incarnation) {
    if (alive.contains(incarnation)) continue;
    ASSERT_STATUS_OK(node.base().ForEachRow(incarnation, [&](const BaseRow& row) {
      return Internal("a row of incarnation " + std::to_string(incarnation) + ", seed " +
                      std::to_string(seed));
    }));
  }
}

TEST(FoldTest, BaseAndRestOfLogEqualReplayOfEverything) {
  PosixFileLayer files;
  uint64_t folds = 0, partial = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    TestFolder folder;
    TestNode node(folder.path(), files);
    DeltaSource source(seed);
    std::mt19937_64 random(seed * 31);
    ASSERT_STATUS_OK(node.Open());
    for (int cut = 0; cut < 6; ++cut) {
      ASSERT_STATUS_OK(node.Write(source, 1 + random() % 40));
      if (random() % 4 != 0) {
        const size_t sealed = node.log().Sealed().size();
        auto report = node.FoldAll(RandomOptions(random));
        ASSERT_STATUS_OK(report.status());
        ASSERT_STATUS_OK(report->removal);
        EXPECT_TRUE(report->broken.empty()) << report->broken.begin()->second;
        EXPECT_EQ(report->set_aside, 0u);
        ++folds;
        partial += report->removed < sealed;
        if (node.log().Sealed().empty()) {
          const auto base = node.LoadBase();
          ASSERT_STATUS_OK(base.status());
          ASSERT_EQ(Difference(*base, source.model()), "");
          ExpectNoRemains(node, source.model(), seed);
        }
      }
      ASSERT_STATUS_OK(node.Open());
      ASSERT_EQ(Difference(node.recovered(), source.model()), "");
    }
  }
  EXPECT_GT(partial, 5u) << "of " << folds << " folds some must have ended early, by the limit of the index";
}

TEST(FoldTest, FoldingAgainChangesNothing) {
  PosixFileLayer files;
  TestFolder folder;
  TestNode node(folder.path(), files);
  DeltaSource source(5);
  ASSERT_STATUS_OK(node.Open());
  ASSERT_STATUS_OK(node.Write(source, 60));
  ASSERT_STATUS_OK(node.log().Seal());
  fs::copy(node.log_dir(), folder.path() + "/copy");
  ASSERT_STATUS_OK(node.FoldAll().status());
  node.Close();
  // The segments are back, as if none had been removed.
  fs::remove_all(node.log_dir());
  fs::rename(folder.path() + "/copy", node.log_dir());
  ASSERT_STATUS_OK(node.Open());
  EXPECT_EQ(node.replayed().deltas, 0u);
  ASSERT_EQ(Difference(node.recovered(), source.model()), "");
  const auto report = node.FoldAll();
  ASSERT_STATUS_OK(report.status());
  EXPECT_TRUE(report->folded.empty());
  EXPECT_EQ(report->rows, 0u);
  EXPECT_GT(report->removed, 0u);
  const auto base = node.LoadBase();
  ASSERT_STATUS_OK(base.status());
  ASSERT_EQ(Difference(*base, source.model()), "");
}

TEST(FoldTest, SegmentsOfQuarantinedShardsAreSetAsideAndFoldedLater) {
  PosixFileLayer files;
  TestFolder folder;
  TestNode node(folder.path(), files);
  DeltaSource source(9);
  ASSERT_STATUS_OK(node.Open());
  for (int i = 0; i < 3; ++i) {
    ASSERT_STATUS_OK(node.Write(source, 30));
    const auto report = node.FoldAll({}, {{2, UINT64_MAX}});
    ASSERT_STATUS_OK(report.status());
    ASSERT_STATUS_OK(report->removal);
    EXPECT_GT(report->set_aside, 0u);
    const auto base = node.LoadBase();
    ASSERT_STATUS_OK(base.status());
    EXPECT_FALSE(base->shards.contains(2));
    Model others = source.model();
    others.shards.erase(2);
    ASSERT_EQ(Difference(*base, others), "");
    ASSERT_STATUS_OK(node.Open());
    ASSERT_EQ(Difference(node.recovered(), source.model()), "") << "replay still has the quarantined shard";
  }
  const auto report = node.FoldAll();
  ASSERT_STATUS_OK(report.status());
  ASSERT_STATUS_OK(report->removal);
  EXPECT_EQ(report->set_aside, 0u);
  ASSERT_EQ(report->folded.size(), 1u);
  EXPECT_EQ(report->folded[0].first, 2u);
  EXPECT_TRUE(node.log().Sealed().empty());
  const auto base = node.LoadBase();
  ASSERT_STATUS_OK(base.status());
  ASSERT_EQ(Difference(*base, source.model()), "");
}

TEST(FoldTest, AGapHoldsOneShardBackAndNotTheOthers) {
  PosixFileLayer files;
  TestFolder folder;
  TestNode node(folder.path(), files);
  DeltaSource source(3, {.shards = 3, .keys = 30, .new_lives = false});
  ASSERT_STATUS_OK(node.Open());
  ASSERT_STATUS_OK(node.Write(source, 20));
  const auto append = [&](LogSection section) {
    LogRecord record;
    record.sections.push_back(std::move(section));
    return node.log().Append({&record, 1});
  };
  LogSection section = source.Next();
  for (; section.shard != 1; section = source.Next()) ASSERT_STATUS_OK(append(std::move(section)));
  // That one is never logged. Then what follows it, but none that repeats everything: that would mend the
  // gap.
  for (int behind = 0; behind < 2;) {
    section = source.Next();
    if (section.shard == 1) {
      capnp::FlatArrayMessageReader message(section.delta.ptr());
      if (message.getRoot<proto::Delta>().getFirstOfEpoch()) continue;
      ++behind;
    }
    ASSERT_STATUS_OK(append(std::move(section)));
  }
  const auto report = node.FoldAll();
  ASSERT_STATUS_OK(report.status());
  ASSERT_TRUE(report->broken.contains(1));
  EXPECT_NE(report->broken.at(1).find("follows"), std::string::npos) << report->broken.at(1);
  EXPECT_GE(report->set_aside, 1u);
  EXPECT_GE(report->removed, 1u) << "the first segments hold nothing from behind the gap";
  const auto base = node.LoadBase();
  ASSERT_STATUS_OK(base.status());
  Model want = source.model();
  want.shards[1] = base->shards.at(1);
  EXPECT_EQ(Difference(*base, want), "");
  EXPECT_LT(base->shards.at(1).lsn, source.model().shards.at(1).lsn);
}

// Behind the gap the shard goes on in a later segment of the same fold: nothing of it is wanted any more.
TEST(FoldTest, BehindALossThatWasAcceptedNothingStaysAside) {
  PosixFileLayer files;
  TestFolder folder;
  TestNode node(folder.path(), files);
  DeltaSource source(3, {.shards = 3, .keys = 30, .new_lives = false});
  ASSERT_STATUS_OK(node.Open());
  ASSERT_STATUS_OK(node.Write(source, 20));
  const auto append = [&](LogSection section) {
    LogRecord record;
    record.sections.push_back(std::move(section));
    return node.log().Append({&record, 1});
  };
  Lsn kept = 0;
  LogSection section = source.Next();
  while (section.shard != 1) {
    ASSERT_STATUS_OK(append(std::move(section)));
    kept = source.model().shards.contains(1) ? source.model().shards.at(1).lsn : 0;
    section = source.Next();
  }
  ASSERT_GT(kept, 0u);
  // That one is lost. What follows it cannot be folded before one comes that goes on from what is left.
  bool behind = false, goes_on = false;
  while (!goes_on) {
    section = source.Next();
    if (section.shard == 1) {
      capnp::FlatArrayMessageReader message(section.delta.ptr());
      const auto delta = message.getRoot<proto::Delta>();
      const bool mends = delta.getFirstOfEpoch() && delta.getPreviousLsn() <= kept;
      if (mends && !behind) continue;  // lost too
      goes_on = mends;
      behind = true;
    }
    ASSERT_STATUS_OK(append(std::move(section)));
  }
  const auto report = node.FoldAll();
  ASSERT_STATUS_OK(report.status());
  ASSERT_STATUS_OK(report->removal);
  EXPECT_TRUE(report->broken.empty());
  EXPECT_EQ(report->set_aside, 0u);
  EXPECT_TRUE(node.log().Sealed().empty());
  const auto base = node.LoadBase();
  ASSERT_STATUS_OK(base.status());
  EXPECT_EQ(Difference(*base, source.model()), "");
}

// A damaged copy is seeded again: its first life is not wanted any more when the next one is there.
TEST(FoldTest, WhatWasSetAsideGoesWithTheNextLife) {
  PosixFileLayer files;
  TestFolder folder;
  TestNode node(folder.path(), files);
  DeltaSource source(9);
  ASSERT_STATUS_OK(node.Open());
  ASSERT_STATUS_OK(node.Write(source, 30));
  const Incarnation damaged = source.model().shards.at(2).incarnation;
  const QuarantinedLives quarantined = {{2, damaged}};
  auto report = node.FoldAll({}, quarantined);
  ASSERT_STATUS_OK(report.status());
  EXPECT_GT(report->set_aside, 0u);
  while (source.model().shards.at(2).incarnation == damaged) ASSERT_STATUS_OK(node.Write(source, 1));
  for (const char* fold : {"with the next life", "and once more"}) {
    SCOPED_TRACE(fold);
    report = node.FoldAll({}, quarantined);
    ASSERT_STATUS_OK(report.status());
    ASSERT_STATUS_OK(report->removal);
    EXPECT_EQ(report->set_aside, 0u);
    EXPECT_TRUE(node.log().Sealed().empty());
  }
  const auto base = node.LoadBase();
  ASSERT_STATUS_OK(base.status());
  EXPECT_EQ(Difference(*base, source.model()), "");
}

TEST(FoldTest, AFailureBeforeTheIngestChangesNothing) {
  PosixFileLayer files;
  for (const char* point : {"fold.read", "fold.sst.before", "fold.sst.after", "fold.ingest.before"}) {
    SCOPED_TRACE(point);
    TestFolder folder;
    TestNode node(folder.path(), files);
    DeltaSource source(11);
    ASSERT_STATUS_OK(node.Open());
    ASSERT_STATUS_OK(node.Write(source, 30));
    ASSERT_STATUS_OK(node.FoldAll().status());
    const auto before = node.LoadBase();
    ASSERT_STATUS_OK(before.status());
    ASSERT_STATUS_OK(node.Write(source, 30));
    ArmFault(point, [](uint64_t) { return Overloaded("the disk is full"); });
    EXPECT_EQ(node.FoldAll().status().code(), Code::kOverloaded);
    DisarmAll();
    const auto after = node.LoadBase();
    ASSERT_STATUS_OK(after.status());
    ASSERT_EQ(Difference(*after, *before), "");
    ASSERT_STATUS_OK(node.FoldAll().status());
    const auto base = node.LoadBase();
    ASSERT_STATUS_OK(base.status());
    ASSERT_EQ(Difference(*base, source.model()), "");
  }
}

// --- kill -9. Children do everything that touches RocksDB, whose threads do not survive a fork; so these
// tests come first (a suite named *DeathTest), before this process has any.

constexpr const char* kPoints[] = {"fold.read",          "fold.sst.before",   "fold.sst.after",
                                   "fold.ingest.before", "fold.ingest.after", "fold.remove.before",
                                   "fold.remove.after"};

void Check(const Status& status, const char* what) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s: %s\n", what, status.ToString().c_str());
  _exit(1);
}

void CheckSame(const Model& got, const Model& want, const char* what) {
  const std::string difference = Difference(got, want);
  if (!difference.empty()) Check(Internal(difference), what);
}

// How a child ended.
int InChild(const std::function<void()>& work) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    work();
    _exit(0);
  }
  int state = 0;
  waitpid(child, &state, 0);
  return state;
}

constexpr int kRecordsBefore = 30, kRecordsAfter = 60;

void FoldAndDie(const std::string& folder, uint64_t seed, const char* point, uint64_t at_hit) {
  PosixFileLayer files;
  TestNode node(folder, files);
  DeltaSource source(seed);
  Check(node.Open(), "open");
  Check(node.Write(source, kRecordsBefore), "write");
  Check(node.FoldAll().status(), "first fold");
  Check(node.Write(source, kRecordsAfter), "write");
  ArmFault(point, [=](uint64_t hit) {
    if (hit == at_hit) kill(getpid(), SIGKILL);
    return Status::Ok();
  });
  FoldOptions options;
  options.image_buffer_bytes = 3000;
  Check(node.FoldAll(options).status(), "fold");
}

void Recover(const std::string& folder, uint64_t seed) {
  PosixFileLayer files;
  TestNode node(folder, files);
  DeltaSource source(seed);
  for (int i = 0; i < kRecordsBefore + kRecordsAfter; ++i) source.NextRecord();
  Check(node.Open(), "reopen");
  CheckSame(node.recovered(), source.model(), "after the kill");
  if (!node.replayed().damaged.empty())
    Check(DataLoss(node.replayed().damaged.begin()->second), "after the kill");
  const auto report = node.FoldAll();
  Check(report.status(), "fold again");
  Check(report->removal, "remove");
  const auto base = node.LoadBase();
  Check(base.status(), "read the base");
  CheckSame(*base, source.model(), "after folding again");
  if (!node.log().Sealed().empty()) Check(Internal("segments are left"), "after folding again");
  Check(node.Open(), "reopen once more");
  CheckSame(node.recovered(), source.model(), "after another restart");
}

TEST(FoldKillDeathTest, KilledAtEachPointAndFoldedAgain) {
  for (const char* point : kPoints) {
    const bool many_hits = std::string(point) == "fold.read" || std::string(point).starts_with("fold.remove");
    int kills = 0;
    for (uint64_t seed = 1; seed <= 12; ++seed) {
      SCOPED_TRACE(std::string(point) + ", seed " + std::to_string(seed));
      TestFolder folder;
      const int died = InChild([&] { FoldAndDie(folder.path(), seed, point, many_hits ? 1 + seed % 4 : 1); });
      ASSERT_TRUE(WIFSIGNALED(died) || WEXITSTATUS(died) == 0);
      kills += WIFSIGNALED(died) && WTERMSIG(died) == SIGKILL;
      ASSERT_EQ(InChild([&] { Recover(folder.path(), seed); }), 0);
    }
    EXPECT_GE(kills, 10) << point;
  }
}

// --- Speed, for the record.

TEST(FoldTest, SpeedOfAMillionRows) {
  constexpr uint32_t kDim = 16, kRows = 1 << 20, kRowsPerDelta = 1024;
  PosixFileLayer files;
  TestFolder folder;
  TestNode node(folder.path(), files);
  node.set_segment_bytes(256 << 20);
  ASSERT_STATUS_OK(node.Open());
  std::mt19937_64 random(1);
  Lsn lsn = 0;
  uint32_t checksum = 0;
  for (uint32_t i = 0; i < kRows / kRowsPerDelta; ++i) {
    capnp::MallocMessageBuilder message;
    auto delta = message.initRoot<proto::Delta>();
    delta.setFormat(proto::DELTA_FORMAT);
    delta.setCluster(kFoldCluster);
    delta.setShard(0);
    delta.setEpoch(1);
    delta.setPreviousLsn(lsn);
    delta.setPreviousChecksum(checksum);
    delta.setFirstOfEpoch(lsn == 0);
    delta.setLsn(++lsn);
    auto table = delta.initTables(1)[0];
    table.setTable(1);
    table.setLayout(kRowLayout);
    table.setDim(kDim);
    table.setSections(kSectionValues | kSectionSlots);
    auto keys = table.initKeys(kRowsPerDelta * sizeof(Key));
    for (uint32_t k = 0; k < kRowsPerDelta; ++k) reinterpret_cast<Key*>(keys.begin())[k] = random();
    table.initHeaders(kRowsPerDelta * sizeof(ImageHeader));
    auto images = table.initImages(kRowsPerDelta * kDim * sizeof(float));
    for (uint32_t k = 0; k < kRowsPerDelta * kDim; ++k)
      reinterpret_cast<float*>(images.begin())[k] = static_cast<float>(k);
    LogRecord record;
    auto words = capnp::messageToFlatArray(message);
    checksum = Crc32c(0, words.begin(), words.size() * sizeof(capnp::word));
    record.sections.push_back({0, 1, std::move(words), checksum});
    ASSERT_STATUS_OK(node.log().Append({&record, 1}));
  }
  const auto report = node.FoldAll();
  ASSERT_STATUS_OK(report.status());
  EXPECT_EQ(report->rows, kRows);
  std::printf("fold of %llu rows of %u floats: %.2f s, log %.0f MB, base %.0f MB\n",
              static_cast<unsigned long long>(report->rows), kDim, report->seconds, report->log_bytes / 1e6,
              report->base_bytes / 1e6);
  const auto begin = std::chrono::steady_clock::now();
  uint64_t seen = 0;
  ASSERT_STATUS_OK(node.base().ForEachRow(1, [&](const BaseRow&) { return ++seen, Status::Ok(); }));
  EXPECT_EQ(seen, kRows);
  std::printf("read back: %.2f s\n",
              std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
}

}  // namespace
}  // namespace penstock
