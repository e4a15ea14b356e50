// The deltas of a Shard: what they hold, that replaying them gives the same shard, and that damage is
// refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "common/base/crc32c.h"
#include "tests/unit/server/shard/shard_test_util.h"

namespace penstock {
namespace {

using namespace shard_test;  // NOLINT: the helpers of this folder's tests
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<TableSpec> ThreeTables() {
  TableSpec adam = Spec(2, 3, OptimizerKind::kAdam);
  adam.initializer = {.kind = InitializerKind::kUniform, .low = -1, .high = 1};
  adam.durability = Durability::kMemory;
  return {Spec(1, 1), adam, Spec(9, 16, OptimizerKind::kAdagrad)};
}

// A delta is read in place; the reader and its root live together.
struct Opened {
  explicit Opened(const BuiltDelta& delta) : reader(delta.words), root(reader.getRoot<proto::Delta>()) {}
  capnp::FlatArrayMessageReader reader;
  proto::Delta::Reader root;
};

// Which of the sequences below `end` the shard counts as applied.
std::vector<bool> Applied(Shard& shard, ProducerId producer, TableId table, Sequence end) {
  std::vector<bool> applied;
  for (Sequence s = 0; s < end; ++s) {
    const auto pushed = shard.PushUnit({.producer = producer, .sequence = s}, table, {}, nullptr);
    EXPECT_TRUE(pushed.ok()) << pushed.status().ToString();
    applied.push_back(pushed.ok() && pushed->duplicate);
  }
  return applied;
}

TEST(ShardDeltaTest, HoldsTheImagesMarksAndChain) {
  Shard shard = ServingShard({Spec(1, 2, OptimizerKind::kAdagrad), Spec(2, 1)});
  ASSERT_TRUE(Push(shard, 4, 7, 1, {11, 12}, {1, 2, 3, 4}, /*low=*/5).ok());
  EXPECT_EQ(shard.NextLsn(), 1u);
  EXPECT_TRUE(shard.HasUnlogged(1));
  EXPECT_FALSE(shard.HasUnlogged(2));
  const BuiltDelta first = Build(shard);
  EXPECT_EQ(first.checksum, Crc32c(0, first.words.begin(), first.words.size() * sizeof(capnp::word)));
  {
    const Opened delta(first);
    EXPECT_EQ(delta.root.getCluster(), kCluster);
    EXPECT_EQ(delta.root.getShard(), kShardId);
    EXPECT_EQ(delta.root.getEpoch(), 1u);
    EXPECT_EQ(delta.root.getLsn(), 1u);
    EXPECT_EQ(delta.root.getPreviousLsn(), 0u);
    EXPECT_TRUE(delta.root.getFirstOfEpoch());
    ASSERT_EQ(delta.root.getTables().size(), 1u);
    const auto table = delta.root.getTables()[0];
    EXPECT_FALSE(table.getFull());
    const auto images = ReadTableImages(table);
    ASSERT_TRUE(images.ok());
    EXPECT_THAT(images->keys, ElementsAre(11, 12));
    EXPECT_EQ(images->headers[1].push_count, 1u);
    EXPECT_EQ(images->headers[1].flags, 0u) << "dirty is no state of the stored row";
    EXPECT_EQ(images->images.size(), 8u);
    EXPECT_EQ(images->images[6], 9) << "the squared gradient of row 12";
    ASSERT_EQ(table.getMarks().size(), 1u);
    EXPECT_EQ(table.getMarks()[0].getProducer(), 4u);
    EXPECT_EQ(table.getMarks()[0].getLow(), 5u);
  }
  EXPECT_FALSE(shard.HasUnlogged());
  ASSERT_TRUE(Push(shard, 4, 8, 1, {12}, {1, 1}, 5).ok());
  const BuiltDelta second = Build(shard);
  const Opened delta(second);
  EXPECT_EQ(delta.root.getLsn(), 2u);
  EXPECT_EQ(delta.root.getPreviousLsn(), 1u);
  EXPECT_EQ(delta.root.getPreviousChecksum(), first.checksum);
  EXPECT_FALSE(delta.root.getFirstOfEpoch());
  EXPECT_THAT(ReadTableImages(delta.root.getTables()[0])->keys, ElementsAre(12)) << "clean rows stay out";
  ASSERT_TRUE(shard
                  .ForEachRow(1, [](const RowHeader& row, auto,
                                    auto) { EXPECT_EQ(row.lsn, row.key == 12 ? 2u : 1u); })
                  .ok());
}

TEST(ShardDeltaTest, TakesAllOfAChosenTableAndNothingOfTheOthers) {
  Shard shard = ServingShard({Spec(1, 1), Spec(2, 1)});
  ASSERT_TRUE(Push(shard, 4, 7, 1, {1}, {1}).ok());
  ASSERT_TRUE(Push(shard, 4, 7, 2, {1, 2, 3}, {1, 1, 1}).ok());
  const auto built = shard.BuildDelta([](TableId table) { return table == 1; });
  ASSERT_TRUE(built.ok());
  EXPECT_EQ(Opened(*built).root.getTables().size(), 1u);
  EXPECT_FALSE(shard.HasUnlogged(1));
  EXPECT_TRUE(shard.HasUnlogged(2));
  EXPECT_EQ(Push(shard, 4, 7, 1, {1}, {1})->lsn, 1u);
  EXPECT_EQ(Push(shard, 4, 7, 2, {1}, {1})->lsn, 2u) << "still open";
  const BuiltDelta rest = Build(shard);
  EXPECT_EQ(ReadTableImages(Opened(rest).root.getTables()[0])->keys.size(), 3u);
}

TEST(ShardDeltaTest, NothingIsBuiltWithoutAnEpoch) {
  Shard shard = MakeShard();
  ASSERT_TRUE(shard.CreateTable(Spec(1)).ok());
  EXPECT_EQ(shard.BuildDelta().status().code(), Code::kFailedPrecondition);
  ASSERT_TRUE(shard.BeginEpoch(5, 1).ok());
  EXPECT_EQ(shard.BeginEpoch(5, 1).code(), Code::kFailedPrecondition);
  EXPECT_EQ(shard.BeginEpoch(4, 1).code(), Code::kFailedPrecondition);
}

TEST(ShardDeltaTest, OnlyTheFirstDeltaOfAnEpochSkips) {
  Shard a = ServingShard({Spec(1, 1)}), b = MakeShard();
  ASSERT_TRUE(Push(a, 4, 1, 1, {1}, {1}).ok());
  ASSERT_TRUE(Apply(b, Build(a)).ok());
  ASSERT_TRUE(a.BeginEpoch(3, 100).ok());
  EXPECT_EQ(a.NextLsn(), 100u);
  ASSERT_TRUE(Push(a, 4, 2, 1, {1}, {1}).ok());
  const BuiltDelta skip = Build(a);
  EXPECT_EQ(skip.lsn, 100u);
  EXPECT_TRUE(Opened(skip).root.getFirstOfEpoch());
  EXPECT_EQ(Opened(skip).root.getPreviousLsn(), 1u);
  ASSERT_TRUE(Push(a, 4, 3, 1, {1}, {1}).ok());
  const BuiltDelta next = Build(a);
  EXPECT_EQ(next.lsn, 101u);
  EXPECT_FALSE(Opened(next).root.getFirstOfEpoch());
  EXPECT_TRUE(Apply(b, skip).ok());
  EXPECT_TRUE(Apply(b, next).ok());
  EXPECT_EQ(b.epoch(), 3u);
  EXPECT_EQ(b.last_lsn(), 101u);
  EXPECT_EQ(a.Hash(), b.Hash());
}

// --- Replay.

class ReplayTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(ReplayTest, StoppedAnywhereGivesThatMoment) {
  const uint64_t seed = GetParam();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::vector<TableSpec> specs = ThreeTables();
  Shard a = MakeShard(/*max_entry_bytes=*/300);  // a few rows an entry, so that tables are cut
  for (const TableSpec& spec : specs) ASSERT_TRUE(a.CreateTable(spec).ok());
  ASSERT_TRUE(a.BeginEpoch(1, 1).ok());
  Epoch epoch = 1;
  Shard b = MakeShard();
  Sequence sequence = 0;
  for (int window = 0; window < 60; ++window) {
    const int units = random() % 6;
    for (int i = 0; i < units; ++i) {
      const TableId table = specs[random() % 3].id;
      const ProducerId producer = 1 + random() % 3;
      ++sequence;
      ASSERT_TRUE(
          PushRandom(a, random, producer, sequence, table, 200, sequence > 40 ? sequence - 40 : 0).ok());
    }
    if (random() % 3 == 0) {
      ASSERT_TRUE(
          a.DeleteRows(specs[random() % 3].id, std::vector<Key>{random() % 200, random() % 200}).ok());
    }
    if (random() % 10 == 0) {
      ASSERT_TRUE(a.BeginEpoch(++epoch, a.last_lsn() + random() % 5).ok());
    }
    const BuiltDelta delta = Build(a);
    ASSERT_TRUE(Apply(b, delta).ok());
    ASSERT_EQ(a.Hash(), b.Hash()) << "window " << window;
    ASSERT_EQ(a.last_lsn(), b.last_lsn());
    ASSERT_EQ(a.last_checksum(), b.last_checksum());
    ASSERT_FALSE(b.HasUnlogged());
  }
  // The copy takes over: it knows the same units, and answers pulls and pushes alike.
  for (const TableSpec& spec : specs) ASSERT_TRUE(b.CreateTable(spec).ok());
  ASSERT_TRUE(b.BeginEpoch(epoch + 1, 1).ok());
  std::vector<Key> keys(220);
  for (Key key = 0; key < keys.size(); ++key) keys[key] = key;
  for (const TableSpec& spec : specs) {
    EXPECT_EQ(Pull(a, spec.id, keys), Pull(b, spec.id, keys));
    for (const ProducerId producer : {1, 2, 3}) {
      EXPECT_EQ(Applied(a, producer, spec.id, sequence + 10), Applied(b, producer, spec.id, sequence + 10));
    }
  }
  std::mt19937_64 same(seed), again(seed);
  for (Sequence s = sequence + 1000; s < sequence + 1050; ++s) {
    for (const TableSpec& spec : specs) {
      ASSERT_TRUE(PushRandom(a, same, 2, s, spec.id, 200).ok());
      ASSERT_TRUE(PushRandom(b, again, 2, s, spec.id, 200).ok());
    }
  }
  EXPECT_EQ(a.Hash(), b.Hash()) << "optimizer state and push counts came along";
}

INSTANTIATE_TEST_SUITE_P(Seeds, ReplayTest, ::testing::Range<uint64_t>(1, 9));

TEST(ShardDeltaTest, ReplayNeedsNoSpecUntilItServes) {
  Shard a = ServingShard({Spec(1, 2, OptimizerKind::kAdagrad)}), b = MakeShard();
  ASSERT_TRUE(Push(a, 4, 1, 1, {1}, {1, 2}).ok());
  ASSERT_TRUE(Apply(b, Build(a)).ok());
  EXPECT_EQ(b.FindSpec(1), nullptr);
  float out[2];
  EXPECT_EQ(b.PullRows(1, std::vector<Key>{1}, out, nullptr).code(), Code::kNotFound);
  EXPECT_EQ(b.CreateTable(Spec(1, 2, OptimizerKind::kAdd)).code(), Code::kFailedPrecondition)
      << "without slots";
  EXPECT_EQ(b.CreateTable(Spec(1, 3, OptimizerKind::kAdagrad)).code(), Code::kFailedPrecondition);
  ASSERT_TRUE(b.CreateTable(Spec(1, 2, OptimizerKind::kAdagrad)).ok());
  EXPECT_EQ(Pull(b, 1, {1}), Pull(a, 1, {1}));
}

TEST(ShardDeltaTest, DropsAndFloorAreReplayed) {
  Shard a = ServingShard({Spec(1, 1), Spec(2, 1)}), b = MakeShard();
  ASSERT_TRUE(Push(a, 4, 1, 1, {1}, {1}).ok());
  ASSERT_TRUE(Push(a, 4, 1, 2, {1}, {1}).ok());
  ASSERT_TRUE(Apply(b, Build(a)).ok());
  ASSERT_TRUE(a.DropTable(1).ok());
  a.SetForgetFloor(5);
  ASSERT_TRUE(Apply(b, Build(a)).ok());
  EXPECT_FALSE(a.HasUnlogged());
  EXPECT_THAT(b.TableIds(), ElementsAre(2));
  EXPECT_EQ(b.CreateTable(Spec(1, 1)).code(), Code::kFailedPrecondition);
  EXPECT_EQ(b.forget_floor(), 5u);
  ASSERT_TRUE(b.CreateTable(Spec(2, 1)).ok());
  ASSERT_TRUE(b.BeginEpoch(2, 1).ok());
  EXPECT_EQ(Push(b, 4, 2, 2, {1}, {1}).status().code(), Code::kUnknownProducer);
}

TEST(ShardDeltaTest, FinishedProducersAreReplayed) {
  Shard a = ServingShard({Spec(1, 1)}), b = MakeShard();
  ASSERT_TRUE(Push(a, 4, 1, 1, {1}, {1}).ok());
  a.FinishProducers(3, 6);
  EXPECT_TRUE(a.HasUnlogged(1));
  ASSERT_TRUE(Apply(b, Build(a)).ok());
  ASSERT_TRUE(b.CreateTable(Spec(1, 1)).ok());
  ASSERT_TRUE(b.BeginEpoch(2, 1).ok());
  EXPECT_EQ(Push(b, 6, 1, 1, {1}, {1}).status().code(), Code::kUnknownProducer);
  EXPECT_TRUE(Push(b, 7, 1, 1, {1}, {1}).ok());
}

TEST(ShardDeltaTest, CompleteProducersAreReplayed) {
  Shard a = ServingShard({Spec(1, 1)}), b = MakeShard();
  ASSERT_TRUE(Push(a, 4, 1, 1, {1}, {1}).ok());
  ASSERT_TRUE(Apply(b, Build(a)).ok());
  a.CompleteProducers(3, 6);
  EXPECT_TRUE(a.HasUnlogged(1));
  EXPECT_TRUE(Push(a, 4, 2, 1, {1}, {1})->duplicate);
  ASSERT_TRUE(Apply(b, Build(a)).ok());
  ASSERT_TRUE(b.CreateTable(Spec(1, 1)).ok());
  ASSERT_TRUE(b.BeginEpoch(2, 1).ok());
  EXPECT_TRUE(Push(b, 4, 2, 1, {1}, {1})->duplicate);
  EXPECT_TRUE(Push(b, 6, 0, 1, {1}, {1})->duplicate);
  EXPECT_FALSE(Push(b, 7, 1, 1, {1}, {1})->duplicate);
}

TEST(ShardDeltaTest, ReplayRefusesWhatDoesNotFollow) {
  Shard a = ServingShard({Spec(1, 1)});
  std::vector<BuiltDelta> deltas;
  for (Sequence s = 0; s < 4; ++s) {
    ASSERT_TRUE(Push(a, 4, s, 1, {1}, {1}).ok());
    deltas.push_back(Build(a));
  }
  Shard b = MakeShard();
  EXPECT_EQ(Apply(b, deltas[1]).code(), Code::kDataLoss) << "the first is missing";
  ASSERT_TRUE(Apply(b, deltas[0]).ok());
  EXPECT_EQ(Apply(b, deltas[0]).code(), Code::kDataLoss) << "twice";
  EXPECT_EQ(Apply(b, deltas[2]).code(), Code::kDataLoss) << "a gap";
  EXPECT_THAT(Apply(b, deltas[2]).message(), HasSubstr("delta 3 of shard 17"));
  const ContentHash before = b.Hash();
  BuiltDelta forged = Build(a);  // follows delta 4, not delta 1
  EXPECT_EQ(Apply(b, forged).code(), Code::kDataLoss);
  EXPECT_EQ(b.Hash(), before);
  deltas[0].checksum ^= 1;
  Shard c = MakeShard();
  ASSERT_TRUE(Apply(c, deltas[0]).ok());
  EXPECT_EQ(Apply(c, deltas[1]).code(), Code::kDataLoss) << "it follows other bytes";
  Shard other({.cluster = kCluster, .shard = kShardId + 1, .incarnation = kIncarnation});
  EXPECT_EQ(Apply(other, deltas[0]).code(), Code::kDataLoss);
  Shard foreign({.cluster = kCluster + 1, .shard = kShardId, .incarnation = kIncarnation});
  EXPECT_EQ(Apply(foreign, deltas[0]).code(), Code::kDataLoss);
  EXPECT_EQ(Apply(a, forged).code(), Code::kFailedPrecondition) << "a serving shard replays nothing";
}

TEST(ShardDeltaTest, ReplayRefusesAnotherShapeWithNothingApplied) {
  Shard a = ServingShard({Spec(1, 1), Spec(2, 2)}), b = MakeShard();
  ASSERT_TRUE(b.CreateTable(Spec(1, 1)).ok());
  ASSERT_TRUE(b.CreateTable(Spec(2, 3)).ok());
  ASSERT_TRUE(Push(a, 4, 0, 1, {1}, {1}).ok());
  ASSERT_TRUE(Push(a, 4, 0, 2, {1}, {1, 1}).ok());
  EXPECT_EQ(Apply(b, Build(a)).code(), Code::kDataLoss);
  EXPECT_EQ(b.live_rows(), 0u);
  EXPECT_EQ(b.last_lsn(), 0u);
}

TEST(ShardDeltaTest, ADeletedRowIsForgottenOnceItsDeletionIsFolded) {
  Shard a = ServingShard({Spec(1, 1)}), b = MakeShard();
  ASSERT_TRUE(Push(a, 4, 0, 1, {1, 2, 3}, {1, 1, 1}).ok());
  ASSERT_TRUE(Apply(b, Build(a)).ok());
  ASSERT_EQ(a.DeleteRows(1, std::vector<Key>{1, 2}).value(), 2u);
  a.SetFolded(a.last_lsn());
  const size_t before = a.ResidentBytes();
  const BuiltDelta deletion = Build(a);
  ASSERT_TRUE(Apply(b, deletion).ok());
  a.SetFolded(deletion.lsn);
  EXPECT_EQ(a.live_rows(), 1u);
  EXPECT_LE(a.ResidentBytes(), before);
  EXPECT_EQ(Pull(a, 1, {1, 3}), (std::vector<float>{0, 1}));
  // What comes in the place of a forgotten row, and a log that repeats what is not folded.
  ASSERT_TRUE(Push(a, 4, 1, 1, {2, 4}, {5, 6}).ok());
  a.RelogFrom(deletion.lsn, deletion.checksum);
  ASSERT_TRUE(Apply(b, Build(a)).ok());
  EXPECT_EQ(a.Hash(), b.Hash());
  EXPECT_EQ(Pull(a, 1, {1, 2, 3, 4}), (std::vector<float>{0, 5, 1, 6}));
}

TEST(ShardDeltaTest, DamagedBytesNeverCrashReplay) {
  std::mt19937_64 random(1);
  Shard a = ServingShard(ThreeTables());
  for (Sequence s = 0; s < 20; ++s)
    ASSERT_TRUE(PushRandom(a, random, 1, s, ThreeTables()[s % 3].id, 50).ok());
  const BuiltDelta good = Build(a);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    auto words = kj::heapArray<capnp::word>(good.words.size());
    auto bytes = words.asBytes();
    std::memcpy(bytes.begin(), good.words.begin(), bytes.size());
    // Pointers, sizes and small fields are where damage hurts; they stand at the beginning.
    const size_t limit = round % 2 == 0 ? std::min<size_t>(bytes.size(), 400) : bytes.size();
    for (int i = 0; i < 3; ++i)
      bytes[8 + random() % (limit - 8)] ^= static_cast<kj::byte>(1 + random() % 255);
    Shard b = MakeShard();
    try {
      capnp::FlatArrayMessageReader reader(words);
      refused += !b.ApplyDelta(reader.getRoot<proto::Delta>(), good.checksum).ok();
    } catch (const kj::Exception&) {
      ++refused;  // the root itself
    }
  }
  EXPECT_GT(refused, 500);
}

// --- The base.

struct Base {
  capnp::MallocMessageBuilder message;
  struct Row {
    TableId table;
    RowHeader header;
    std::vector<float> floats;
  };
  std::vector<Row> rows;

  // What a fold of all of the shard's deltas up to now would hold.
  explicit Base(Shard& shard, const Marks& marks, const TableSpec& spec) {
    auto meta = message.initRoot<proto::ShardMeta>();
    NameShard(meta);
    meta.setEpoch(shard.epoch());
    meta.setLsn(shard.last_lsn());
    meta.setChecksum(shard.last_checksum());
    meta.setForgetFloor(shard.forget_floor());
    auto table = meta.initTables(1)[0];
    table.setTable(spec.id);
    table.setLayout(kRowLayout);
    table.setDim(spec.dim);
    table.setSlots(spec.slots());
    marks.WriteFull(table);
    EXPECT_TRUE(shard
                    .ForEachRow(spec.id,
                                [&](const RowHeader& header, auto values, auto slots) {
                                  Row row{spec.id, header, {values.begin(), values.end()}};
                                  row.floats.insert(row.floats.end(), slots.begin(), slots.end());
                                  rows.push_back(std::move(row));
                                })
                    .ok());
  }
  Status Load(Shard& shard) {
    PENSTOCK_RETURN_IF_ERROR(shard.LoadMeta(message.getRoot<proto::ShardMeta>().asReader()));
    for (const Row& row : rows) {
      PENSTOCK_RETURN_IF_ERROR(
          shard.LoadRow(row.table, row.header.key, row.header.lsn, {row.header.push_count, 0}, row.floats));
    }
    return Status::Ok();
  }
};

TEST(ShardDeltaTest, TheBaseAndTheDeltasAfterItGiveTheShard) {
  const TableSpec spec = Spec(1, 4, OptimizerKind::kAdam);
  std::mt19937_64 random(3);
  Shard a = ServingShard({spec});
  Marks marks;  // as the fold keeps them
  std::vector<BuiltDelta> deltas;
  auto step = [&](Sequence s) {
    ASSERT_TRUE(PushRandom(a, random, 1, s, 1, 60).ok());
    deltas.push_back(Build(a));
  };
  for (Sequence s = 0; s < 10; ++s) {
    step(s);
    marks.Merge(Opened(deltas.back()).root.getTables()[0]);
  }
  Base base(a, marks, spec);
  for (Sequence s = 10; s < 20; ++s) step(s);

  Shard b = MakeShard();
  ASSERT_TRUE(base.Load(b).ok());
  EXPECT_EQ(b.loaded_lsn(), 10u);
  // The log may still hold what is in the base.
  for (const BuiltDelta& delta : deltas) ASSERT_TRUE(Apply(b, delta).ok());
  EXPECT_EQ(a.Hash(), b.Hash());
  ASSERT_TRUE(b.CreateTable(spec).ok());
  ASSERT_TRUE(b.BeginEpoch(2, 1).ok());
  EXPECT_EQ(Applied(b, 1, 1, 25), Applied(a, 1, 1, 25));

  Shard c = MakeShard();
  ASSERT_TRUE(base.Load(c).ok());
  EXPECT_EQ(Apply(c, deltas[11]).code(), Code::kDataLoss) << "delta 11 is missing";
  EXPECT_EQ(c.LoadRow(2, 1, 1, {1, 0}, std::vector<float>(12)).code(), Code::kDataLoss);
  EXPECT_EQ(c.LoadRow(1, 1, 1, {1, 0}, std::vector<float>(11)).code(), Code::kDataLoss);
}

// --- Rule 8.

// What the file holds of the deltas that a failed write leaves in doubt: none, some, or all of them.
class RelogTest : public ::testing::TestWithParam<int> {};

TEST_P(RelogTest, TheShardComesBackWhateverTheLostWriteLeft) {
  const std::vector<TableSpec> specs = ThreeTables();
  std::mt19937_64 random(5);
  Shard a = ServingShard(specs);
  std::vector<BuiltDelta> deltas;
  Sequence sequence = 0;
  auto window = [&] {
    for (int i = 0; i < 6; ++i) ASSERT_TRUE(PushRandom(a, random, 1, ++sequence, specs[i % 3].id, 100).ok());
    deltas.push_back(Build(a));
  };
  for (int i = 0; i < 4; ++i) window();
  const Lsn safe = a.last_lsn();
  const uint32_t safe_checksum = a.last_checksum();
  window();
  ASSERT_TRUE(a.DeleteRows(1, std::vector<Key>{1, 2, 3, 4, 5, 6, 7, 8}).ok());
  window();
  ASSERT_TRUE(a.DropTable(9).ok());
  deltas.push_back(Build(a));
  a.RelogFrom(safe, safe_checksum);
  EXPECT_TRUE(a.HasUnlogged());
  // The choice of tables does not bind a delta that repeats.
  auto again = a.BuildDelta([](TableId table) { return table == 1; });
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->lsn, 8u);
  EXPECT_FALSE(a.HasUnlogged());
  ASSERT_TRUE(PushRandom(a, random, 1, ++sequence, 1, 100).ok());
  const BuiltDelta after = Build(a);
  EXPECT_EQ(Opened(after).root.getPreviousLsn(), again->lsn);

  Shard b = MakeShard();
  for (int i = 0; i < 4 + GetParam(); ++i) ASSERT_TRUE(Apply(b, deltas[i]).ok());
  ASSERT_TRUE(Apply(b, *again).ok());
  ASSERT_TRUE(Apply(b, after).ok());
  EXPECT_EQ(a.Hash(), b.Hash());
  EXPECT_EQ(b.TableIds(), a.TableIds());
  for (const TableSpec& spec : {specs[0], specs[1]}) ASSERT_TRUE(b.CreateTable(spec).ok());
  ASSERT_TRUE(b.BeginEpoch(2, 1).ok());
  for (const TableId table : {1, 2})
    EXPECT_EQ(Applied(b, 1, table, sequence + 5), Applied(a, 1, table, sequence + 5));

  Shard c = MakeShard();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Apply(c, deltas[i]).ok());
  EXPECT_EQ(Apply(c, *again).code(), Code::kDataLoss) << "what it follows is missing";
}

INSTANTIATE_TEST_SUITE_P(DeltasThatSurvived, RelogTest, ::testing::Values(0, 1, 2, 3));

}  // namespace
}  // namespace penstock
