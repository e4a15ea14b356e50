// Seeding a copy: pieces and deltas, in the order of their sending, bring it exactly what the primary holds,
// by way of memory, log and base.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/shard/shard.h"
#include "tests/unit/server/storage/fold_fixture.h"

namespace penstock {
namespace {

constexpr Incarnation kLife = 7;  // of the copy
constexpr ShardId kShard = 5;
constexpr Key kKeys = 60;

std::vector<TableSpec> Specs() {
  TableSpec adagrad{.id = 1, .name = "a", .dim = 3};
  adagrad.optimizer.kind = OptimizerKind::kAdagrad;
  TableSpec rounds{.id = 2, .name = "b", .dim = 2};
  rounds.optimizer.kind = OptimizerKind::kSgd;
  rounds.accumulate = true;
  return {adagrad, rounds};
}

Shard MakeShard(Incarnation incarnation) {
  return Shard({.cluster = kFoldCluster, .shard = kShard, .incarnation = incarnation});
}

// A primary that is pushed to at random, and its copy, in memory and on a node's disk.
class SeededPair {
 public:
  SeededPair(uint64_t seed, TestNode& node)
      : random_(seed), node_(node), primary_(MakeShard(1)), copy_(MakeShard(kLife)) {
    for (const TableSpec& spec : Specs()) EXPECT_TRUE(primary_.CreateTable(spec).ok());
    EXPECT_TRUE(primary_.BeginEpoch(3, 10).ok());
  }

  void Change() {
    for (uint64_t n = random_() % 4; n > 0; --n) Push();
    if (random_() % 4 == 0) {
      EXPECT_TRUE(primary_.DeleteRows(1, std::vector<Key>{random_() % kKeys}).ok());
    }
    if (random_() % 6 == 0 && primary_.open_round(2) != 0) {
      EXPECT_TRUE(primary_.CommitRound(2, primary_.open_round(2), 4, 1).ok());
    }
    if (random_() % 2 == 0) Log();
  }
  // The next delta, which goes to the copy once its seed has begun.
  void Log() {
    auto built = primary_.BuildDelta();
    ASSERT_TRUE(built.ok());
    if (pieces_ > 0) Send(*std::move(built));
  }
  // The rows of every table in small pieces, with changes in between.
  void Seed() {
    primary_.BeginSeed();
    for (const TableId table : primary_.TableIds()) {
      Shard::RowCursor cursor;
      for (bool done = false; !done;) {
        SeedPiece piece{.number = ++pieces_};
        done = *primary_.CollectRows(table, &cursor, 1 + random_() % 300, &piece);
        auto built = primary_.BuildPiece(piece);
        ASSERT_TRUE(built.ok());
        ASSERT_NO_FATAL_FAILURE(Send(*std::move(built)));
        ASSERT_NO_FATAL_FAILURE(Change());
        if (random_() % 5 == 0) Fold();
      }
    }
  }
  void FinishSeed() {
    ASSERT_NO_FATAL_FAILURE(Log());
    auto built = primary_.BuildLastPiece(++pieces_);
    ASSERT_TRUE(built.ok());
    ASSERT_NO_FATAL_FAILURE(Send(*std::move(built)));
    primary_.EndSeed();
  }
  void Fold() { ASSERT_STATUS_OK(node_.FoldAll().status()); }
  // The copy as a restart finds it.
  Shard Restarted() {
    EXPECT_TRUE(node_.Open().ok());
    Shard shard = MakeShard(kLife);
    auto metas = node_.base().LoadMeta();
    EXPECT_TRUE(metas.ok());
    std::map<ShardId, ShardFolded> folded;
    for (const StoredMeta& meta : *metas) {
      folded[kShard] = FoldedOf(meta.reader());
      EXPECT_TRUE(shard.LoadMeta(meta.reader()).ok());
    }
    PosixFileLayer files;
    const auto replayed =
        Replay(files, node_.log_dir(), kFoldCluster, folded,
               [&](ShardId, Incarnation incarnation, const proto::Delta::Reader& delta, uint32_t checksum) {
                 EXPECT_EQ(incarnation, kLife);
                 return shard.ApplyDelta(delta, checksum);
               });
    EXPECT_TRUE(replayed.ok()) << replayed.status().ToString();
    EXPECT_TRUE(replayed->damaged.empty()) << replayed->damaged.begin()->second;
    if (!metas->empty()) {
      EXPECT_TRUE(node_.base()
                      .ForEachRow(kLife,
                                  [&](const BaseRow& row) {
                                    return shard.LoadRow(row.table, row.key, row.lsn,
                                                         {row.push_count, row.flags}, row.floats);
                                  })
                      .ok());
    }
    return shard;
  }
  Shard& primary() { return primary_; }
  Shard& copy() { return copy_; }
  // Of producer 1: sequences pushed so far.
  Sequence sequences() const { return sequence_; }
  uint64_t pieces() const { return pieces_; }

 private:
  void Push() {
    const TableId table = 1 + random_() % 2;
    const uint32_t dim = table == 1 ? 3 : 2;
    std::vector<Key> keys(1 + random_() % 8);
    for (Key& key : keys) key = random_() % kKeys;
    const std::vector<float> values(keys.size() * dim, 0.5f);
    const uint64_t round = table == 1 ? 0 : primary_.committed_round(2) + 1;
    const auto pushed = primary_.PushUnit({.producer = 1, .sequence = sequence_++, .round = round}, table,
                                          keys, values.data());
    ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
  }
  void Send(BuiltDelta built) {
    DeltaWords words(kj::mv(built.words));
    capnp::FlatArrayMessageReader message(words.ptr());
    ASSERT_STATUS_OK(copy_.ApplyDelta(message.getRoot<proto::Delta>(), built.checksum));
    LogRecord record;
    record.sections.push_back({kShard, kLife, words, built.checksum});
    ASSERT_STATUS_OK(node_.log().Append({&record, 1}));
  }

  std::mt19937_64 random_;
  TestNode& node_;
  Shard primary_, copy_;
  Sequence sequence_ = 0;
  uint64_t pieces_ = 0;
};

TEST(SeedTest, BringsWhatThePrimaryHolds) {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    PosixFileLayer files;
    TestFolder folder;
    TestNode node(folder.path(), files);
    ASSERT_STATUS_OK(node.Open());
    SeededPair pair(seed, node);
    for (int i = 0; i < 30; ++i) ASSERT_NO_FATAL_FAILURE(pair.Change());
    ASSERT_NO_FATAL_FAILURE(pair.Seed());
    EXPECT_GT(pair.pieces(), 5u);
    EXPECT_EQ(pair.copy().pieces(), pair.pieces()) << "not complete yet";
    ASSERT_NO_FATAL_FAILURE(pair.FinishSeed());
    EXPECT_EQ(pair.copy().pieces(), 0u);
    EXPECT_EQ(pair.copy().last_lsn(), pair.primary().last_lsn());
    EXPECT_EQ(pair.copy().last_checksum(), pair.primary().last_checksum());
    EXPECT_EQ(pair.copy().Hash(), pair.primary().Hash());
    for (int i = 0; i < 20; ++i) {
      ASSERT_NO_FATAL_FAILURE(pair.Change());
      if (i % 7 == 3) pair.Fold();
    }
    ASSERT_NO_FATAL_FAILURE(pair.Log());
    EXPECT_EQ(pair.copy().Hash(), pair.primary().Hash());
    Shard restarted = pair.Restarted();
    EXPECT_EQ(restarted.pieces(), 0u);
    EXPECT_EQ(restarted.last_lsn(), pair.primary().last_lsn());
    EXPECT_EQ(restarted.Hash(), pair.primary().Hash());
    // Promoted, each knows every unit that was applied.
    for (Shard* shard : {&pair.copy(), &restarted}) {
      for (const TableSpec& spec : Specs()) ASSERT_STATUS_OK(shard->CreateTable(spec));
      ASSERT_STATUS_OK(shard->BeginEpoch(9, shard->last_lsn() + 5));
      for (Sequence sequence = 0; sequence < pair.sequences(); ++sequence) {
        int known = 0;
        for (const TableId table : {1, 2}) {
          const std::vector<float> none;
          const uint64_t round = table == 1 ? 0 : shard->committed_round(2) + 1;
          const auto again =
              shard->PushUnit({.producer = 1, .sequence = sequence, .round = round}, table, {}, none.data());
          ASSERT_TRUE(again.ok()) << again.status().ToString();
          known += again->duplicate;
        }
        ASSERT_EQ(known, 1) << "sequence " << sequence;
      }
    }
  }
}

TEST(SeedTest, AnUnfinishedSeedIsNoCopy) {
  PosixFileLayer files;
  TestFolder folder;
  TestNode node(folder.path(), files);
  ASSERT_STATUS_OK(node.Open());
  SeededPair pair(1, node);
  for (int i = 0; i < 30; ++i) ASSERT_NO_FATAL_FAILURE(pair.Change());
  ASSERT_NO_FATAL_FAILURE(pair.Seed());
  EXPECT_EQ(pair.Restarted().pieces(), pair.pieces());
  pair.Fold();
  EXPECT_EQ(pair.Restarted().pieces(), pair.pieces()) << "from the base alone";
}

TEST(SeedTest, PiecesFollowEachOther) {
  PosixFileLayer files;
  TestFolder folder;
  TestNode node(folder.path(), files);
  ASSERT_STATUS_OK(node.Open());
  SeededPair pair(2, node);
  for (int i = 0; i < 10; ++i) ASSERT_NO_FATAL_FAILURE(pair.Change());
  const auto apply = [](Shard& shard, const BuiltDelta& built) {
    capnp::FlatArrayMessageReader message(built.words);
    return shard.ApplyDelta(message.getRoot<proto::Delta>(), built.checksum).code();
  };
  const auto first = pair.primary().BuildPiece({.number = 1, .table = 1});
  const auto second = pair.primary().BuildPiece({.number = 2, .table = 1});
  const auto third = pair.primary().BuildPiece({.number = 3, .table = 1});
  Shard copy = MakeShard(kLife);
  EXPECT_EQ(apply(copy, *second), Code::kDataLoss) << "it begins with the first";
  EXPECT_EQ(apply(copy, *first), Code::kOk);
  EXPECT_EQ(apply(copy, *first), Code::kDataLoss) << "twice";
  EXPECT_EQ(apply(copy, *third), Code::kDataLoss) << "a gap";
  ASSERT_NO_FATAL_FAILURE(pair.Log());
  const auto late = pair.primary().BuildPiece({.number = 2, .table = 1});
  EXPECT_EQ(apply(copy, *late), Code::kDataLoss) << "a delta before it is missing";
  EXPECT_EQ(apply(copy, *second), Code::kOk);
}

}  // namespace
}  // namespace penstock
