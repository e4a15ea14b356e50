// Admission and expiry in a Shard, and the pure decision that expiry rests on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/shard/shard_test_util.h"

namespace penstock {
namespace {

using namespace shard_test;  // NOLINT: the helpers of this folder's tests
using ::testing::ElementsAre;

TableSpec WithRules(const AdmissionSpec& admission, const ExpirySpec& expiry = {}) {
  TableSpec spec = Spec(1, 2);
  spec.initializer = {.kind = InitializerKind::kConstant, .value = 10};
  spec.admission = admission;
  spec.expiry = expiry;
  return spec;
}

Status PushOnes(Shard& shard, Sequence sequence, std::vector<Key> keys, uint32_t seconds = 0,
                uint32_t pass = 0, size_t growth_bytes = SIZE_MAX) {
  const std::vector<float> ones(keys.size() * 2, 1.0f);
  const auto pushed = shard.PushUnit({.producer = 1, .sequence = sequence, .pass = pass, .seconds = seconds},
                                     1, keys, ones.data(), growth_bytes);
  if (pushed.ok() && pushed->lacks_bytes > 0) return Overloaded("no room");
  return pushed.status();
}

ExpiryTally Expire(Shard& shard, uint32_t seconds, bool dry_run = false, uint32_t grace = 30,
                   size_t limit = 1000) {
  ExpiryTally tally;
  const auto moment = shard.BeginExpiry(1, seconds, grace);
  EXPECT_TRUE(moment.ok()) << moment.status().ToString();
  Shard::RowCursor row;
  for (bool done = false; !done;) {
    const auto slice = shard.ExpireRows(1, *moment, dry_run, limit, &row, &tally);
    EXPECT_TRUE(slice.ok()) << slice.status().ToString();
    done = *slice;
  }
  return tally;
}

// --- Admission.

TEST(ShardAdmissionTest, AKeyGetsItsRowWithThePushThatReachesMinCount) {
  Shard shard = ServingShard({WithRules({.min_count = 3})});
  for (Sequence s = 1; s <= 2; ++s) {
    ASSERT_TRUE(PushOnes(shard, s, {5}).ok());
    EXPECT_THAT(Pull(shard, 1, {5}), ElementsAre(10, 10));
    EXPECT_EQ(shard.live_rows(), 0u);
  }
  ASSERT_TRUE(PushOnes(shard, 3, {5}).ok());
  EXPECT_THAT(Pull(shard, 1, {5}), ElementsAre(11, 11));
  ASSERT_TRUE(PushOnes(shard, 4, {5, 6}).ok());
  EXPECT_THAT(Pull(shard, 1, {5, 6}), ElementsAre(12, 12, 10, 10));
  EXPECT_EQ(shard.live_rows(), 1u);
}

TEST(ShardAdmissionTest, AUnitThatAdmitsNothingIsAppliedAndLogged) {
  Shard shard = ServingShard({WithRules({.min_count = 2})});
  ASSERT_TRUE(PushOnes(shard, 1, {5}).ok());
  EXPECT_TRUE(shard.HasUnlogged(1));
  const auto again = Push(shard, 1, 1, 1, {5}, {1, 1});
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->duplicate) << "it must not be counted twice";
  EXPECT_EQ(shard.live_rows(), 0u);
  Shard restarted = MakeShard();
  ASSERT_TRUE(Apply(restarted, Build(shard)).ok());
  ASSERT_TRUE(restarted.CreateTable(WithRules({.min_count = 2})).ok());
  ASSERT_TRUE(restarted.BeginEpoch(2, 1).ok());
  EXPECT_TRUE(Push(restarted, 1, 1, 1, {5}, {1, 1})->duplicate);
  ASSERT_TRUE(PushOnes(restarted, 2, {5}).ok());
  EXPECT_EQ(restarted.live_rows(), 0u) << "counts are of one memory: the restart forgot the first";
}

TEST(ShardAdmissionTest, ARefusedUnitCountsForNothing) {
  Shard shard = ServingShard({WithRules({.min_count = 2})});
  ASSERT_TRUE(PushOnes(shard, 1, {5}).ok());
  EXPECT_EQ(PushOnes(shard, 2, {5, 6}, 0, 0, /*growth_bytes=*/0).code(), Code::kOverloaded);
  ASSERT_TRUE(PushOnes(shard, 3, {6}, 0, 0, /*growth_bytes=*/0).ok()) << "no row is needed";
  ASSERT_TRUE(PushOnes(shard, 4, {6}).ok());
  EXPECT_EQ(shard.live_rows(), 1u);
  EXPECT_THAT(Pull(shard, 1, {6}), ElementsAre(11, 11));
}

TEST(ShardAdmissionTest, AProbabilityDrawsByPush) {
  const AdmissionSpec rule{.probability = 0.5f};
  Shard shard = ServingShard({WithRules(rule)});
  std::vector<Key> keys;
  for (Key key = 0; key < 100; ++key) keys.push_back(key);
  ASSERT_TRUE(PushOnes(shard, 9, keys).ok());
  size_t rows = 0;
  for (const Key key : keys) {
    const bool drawn = AdmissionDraws(rule, 0, 1, 9, key);
    EXPECT_EQ(Pull(shard, 1, {key})[0], drawn ? 11 : 10) << key;
    rows += drawn;
  }
  EXPECT_EQ(shard.live_rows(), rows);
  EXPECT_GT(rows, 0u);
  EXPECT_LT(rows, 100u);
}

// --- Expiry.

TEST(DecideExpiryTest, Ttl) {
  const ExpirySpec rules{.ttl_seconds = 100};
  const ExpiryMoment moment{.now = 1000, .first_seen = 950};
  EXPECT_EQ(DecideExpiry(rules, moment, 900, {}).rule, ExpiryRule::kTtl);
  const RowExpiry young = DecideExpiry(rules, moment, 901, {});
  EXPECT_EQ(young.rule, ExpiryRule::kNone);
  EXPECT_EQ(young.wait, 1u);
  EXPECT_EQ(DecideExpiry(rules, moment, 0, {}).wait, 50u) << "without a touch: from the first scan";
  EXPECT_EQ(DecideExpiry(rules, moment, 1060, {}).rule, ExpiryRule::kNone) << "the clock was set back";
  const ExpiryMoment wrapped{.now = 50, .first_seen = 50};
  EXPECT_EQ(DecideExpiry(rules, wrapped, kMaxTouch - 49, {}).rule, ExpiryRule::kTtl);
  EXPECT_EQ(DecideExpiry(rules, wrapped, kMaxTouch - 48, {}).rule, ExpiryRule::kNone);
}

TEST(DecideExpiryTest, UnusedPasses) {
  const ExpirySpec rules{.unused_passes = 2};
  EXPECT_EQ(DecideExpiry(rules, {.now = 5}, 3, {}).rule, ExpiryRule::kNone) << "only pass 4 was whole";
  EXPECT_EQ(DecideExpiry(rules, {.now = 5}, 3, {}).wait, 1u);
  EXPECT_EQ(DecideExpiry(rules, {.now = 5}, 2, {}).rule, ExpiryRule::kUnusedPasses);
  EXPECT_EQ(DecideExpiry(rules, {.now = 5}, 6, {}).rule, ExpiryRule::kNone);
}

TEST(DecideExpiryTest, MinNormWaitsForTheGrace) {
  const ExpirySpec rules{.min_norm = 0.5f};
  const float small[] = {0.3f, 0.3f}, large[] = {0.3f, 0.4f};
  const ExpiryMoment moment{.now = 1000, .first_seen = 1000, .grace = 30};
  EXPECT_EQ(DecideExpiry(rules, moment, 970, small).rule, ExpiryRule::kMinNorm);
  EXPECT_EQ(DecideExpiry(rules, moment, 970, large).rule, ExpiryRule::kNone) << "0.5 is not below";
  EXPECT_EQ(DecideExpiry(rules, moment, 970, large).wait, UINT32_MAX);
  EXPECT_EQ(DecideExpiry(rules, moment, 971, small).wait, 1u);
}

TEST(ShardExpiryTest, RowsGoSoLongAfterTheirLastPush) {
  Shard shard = ServingShard({WithRules({}, {.ttl_seconds = 100})});
  ASSERT_TRUE(PushOnes(shard, 1, {1, 2, 3}, 1000).ok());
  ASSERT_TRUE(PushOnes(shard, 2, {2}, 1050).ok());
  Build(shard);
  EXPECT_EQ(Expire(shard, 1099).expired(), 0u);
  const ExpiryTally dry = Expire(shard, 1100, /*dry_run=*/true);
  EXPECT_EQ(dry.ttl, 2u);
  EXPECT_EQ(dry.rows, 3u);
  EXPECT_EQ(dry.wait, 50u);
  EXPECT_EQ(shard.live_rows(), 3u);
  EXPECT_FALSE(shard.HasUnlogged(1)) << "a dry run changes nothing";
  EXPECT_EQ(Expire(shard, 1100, false, 30, /*limit=*/1).ttl, 2u);
  EXPECT_EQ(shard.live_rows(), 1u);
  EXPECT_THAT(Pull(shard, 1, {1, 2, 3}), ElementsAre(10, 10, 12, 12, 10, 10));
  EXPECT_EQ(Expire(shard, 1100).rows, 1u);

  ASSERT_TRUE(PushOnes(shard, 3, {1}, 1200).ok());
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(11, 11)) << "from the initial value";
  EXPECT_EQ(Expire(shard, 1200).ttl, 1u) << "row 2; row 1 is young again";
}

TEST(ShardExpiryTest, TheTouchAndTheDeletionsOutliveARestart) {
  const TableSpec spec = WithRules({}, {.ttl_seconds = 100});
  Shard shard = ServingShard({spec});
  ASSERT_TRUE(PushOnes(shard, 1, {1, 2}, 1000).ok());
  ASSERT_TRUE(PushOnes(shard, 2, {3}, 1060).ok());
  const BuiltDelta pushed = Build(shard);
  Shard restarted = MakeShard();
  ASSERT_TRUE(Apply(restarted, pushed).ok());
  ASSERT_TRUE(restarted.CreateTable(spec).ok());
  EXPECT_EQ(Expire(restarted, 1100, /*dry_run=*/true).ttl, 2u);

  EXPECT_EQ(Expire(shard, 1100).ttl, 2u);
  const BuiltDelta expired = Build(shard);
  {
    capnp::FlatArrayMessageReader reader(expired.words);
    const auto table = reader.getRoot<proto::Delta>().getTables()[0];
    EXPECT_EQ(table.getDeletions().size(), 2 * sizeof(Key));
    EXPECT_EQ(table.getKeys().size(), 0u);
  }
  Shard after = MakeShard();
  ASSERT_TRUE(Apply(after, pushed).ok());
  ASSERT_TRUE(Apply(after, expired).ok());
  EXPECT_EQ(after.Hash(), shard.Hash());
  EXPECT_EQ(after.live_rows(), 1u);
}

// As the base keeps it.
TEST(ShardExpiryTest, ALoadedRowKeepsItsTouch) {
  Shard shard = MakeShard();
  capnp::MallocMessageBuilder message;
  auto meta = message.initRoot<proto::ShardMeta>();
  NameShard(meta);
  meta.setEpoch(1);
  meta.setLsn(4);
  auto table = meta.initTables(1)[0];
  table.setTable(1);
  table.setLayout(kRowLayout);
  table.setDim(2);
  ASSERT_TRUE(shard.LoadMeta(meta).ok());
  const float values[] = {1, 2};
  ASSERT_TRUE(shard.LoadRow(1, 7, 3, {.push_count = 1, .flags = WithTouch(0, 1000)}, values).ok());
  ASSERT_TRUE(shard.LoadRow(1, 8, 3, {.push_count = 1, .flags = WithTouch(0, 1001)}, values).ok());
  ASSERT_TRUE(shard.CreateTable(WithRules({}, {.ttl_seconds = 100})).ok());
  EXPECT_EQ(Expire(shard, 1100, /*dry_run=*/true).ttl, 1u);
}

TEST(ShardExpiryTest, RowsGoAfterWholePassesWithoutAPush) {
  const TableSpec spec = WithRules({}, {.unused_passes = 1});
  Shard shard = ServingShard({spec});
  ASSERT_TRUE(PushOnes(shard, 1, {1, 2}, 0, /*pass=*/1).ok());
  ASSERT_TRUE(PushOnes(shard, 2, {2}, 0, /*pass=*/2).ok());
  EXPECT_EQ(Expire(shard, 1).expired(), 0u) << "pass 2 is under way";
  ASSERT_TRUE(PushOnes(shard, 3, {3}, 0, /*pass=*/3).ok());
  ASSERT_TRUE(PushOnes(shard, 4, {4}, 0, /*pass=*/2).ok()) << "a late one touches the present pass";
  Shard restarted = MakeShard();
  ASSERT_TRUE(Apply(restarted, Build(shard)).ok());
  ASSERT_TRUE(restarted.CreateTable(spec).ok());
  EXPECT_EQ(Expire(restarted, 1, /*dry_run=*/true).unused_passes, 1u) << "the present pass is known again";
  EXPECT_EQ(Expire(shard, 1).unused_passes, 1u);
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(10, 10));
  ASSERT_TRUE(PushOnes(shard, 5, {5}, 0, /*pass=*/4).ok());
  EXPECT_EQ(Expire(shard, 1).unused_passes, 1u) << "row 2";
}

TEST(ShardExpiryTest, SmallRowsGoWhenNobodyPushesThem) {
  TableSpec spec = WithRules({}, {.min_norm = 2});
  spec.initializer = {};
  Shard shard = ServingShard({spec});
  ASSERT_TRUE(PushOnes(shard, 1, {1, 2}, 1000).ok());
  EXPECT_EQ(Expire(shard, 1000).expired(), 0u) << "a row is not judged as it is being made";
  ASSERT_TRUE(PushOnes(shard, 2, {1}, 1020).ok());
  EXPECT_EQ(Expire(shard, 1029).expired(), 0u);
  EXPECT_EQ(Expire(shard, 1050).min_norm, 1u) << "row 1 has a norm of 2.8";
  EXPECT_THAT(Pull(shard, 1, {1, 2}), ElementsAre(2, 2, 0, 0));
}

// --- Rows that only the base has.

// Their images are in the base, and they are not in memory any more.
void EvictAll(Shard& shard) {
  const BuiltDelta delta = Build(shard);
  shard.SetFolded(delta.lsn);
  EXPECT_EQ(shard.EvictRows(1, 1000), shard.live_rows());
}

bool IsCold(const Shard& shard, Key key) {
  std::vector<float> values(2);
  std::vector<uint32_t> cold;
  EXPECT_TRUE(shard.PullRows(1, std::span(&key, 1), values.data(), &cold).ok());
  return !cold.empty();
}

TEST(ShardExpiryTest, ColdRowsAreDeletedWithoutBeingFetched) {
  Shard shard = ServingShard({WithRules({}, {.ttl_seconds = 100})});
  ASSERT_TRUE(PushOnes(shard, 1, {1, 2, 3}, 1000).ok());
  EvictAll(shard);
  ASSERT_TRUE(PushOnes(shard, 2, {4}, 1000).ok());
  const std::vector<std::pair<Key, ExpiryRule>> due = {
      {1, ExpiryRule::kTtl}, {2, ExpiryRule::kTtl}, {4, ExpiryRule::kTtl}};
  ExpiryTally tally;
  ASSERT_TRUE(shard.ExpireColdRows(1, due, /*dry_run=*/true, &tally).ok());
  EXPECT_EQ(tally.ttl, 2u) << "row 4 is in memory";
  EXPECT_EQ(shard.live_rows(), 4u);
  tally = {};
  ASSERT_TRUE(shard.ExpireColdRows(1, due, /*dry_run=*/false, &tally).ok());
  EXPECT_EQ(tally.ttl, 2u);
  EXPECT_EQ(shard.live_rows(), 2u);
  EXPECT_FALSE(IsCold(shard, 1));
  EXPECT_TRUE(IsCold(shard, 3));
  EXPECT_GT(shard.TombstoneBytes(), 0u);
  ASSERT_TRUE(PushOnes(shard, 3, {2}, 1100).ok());
  EXPECT_THAT(Pull(shard, 1, {1, 2}), ElementsAre(10, 10, 11, 11));
  const BuiltDelta delta = Build(shard);
  {
    capnp::FlatArrayMessageReader reader(delta.words);
    const auto table = reader.getRoot<proto::Delta>().getTables()[0];
    EXPECT_EQ(table.getDeletions().size(), sizeof(Key)) << "of row 1; row 2 is there again";
    EXPECT_EQ(table.getKeys().size(), 2 * sizeof(Key));
  }
  EXPECT_FALSE(shard.HasUnlogged(1));
  shard.SetFolded(delta.lsn);
  EXPECT_EQ(shard.TombstoneBytes(), 0u);
}

TEST(ShardExpiryTest, AFetchThatADeletionOvertookBringsNothing) {
  Shard shard = ServingShard({WithRules({}, {.ttl_seconds = 100})});
  ASSERT_TRUE(PushOnes(shard, 1, {1}, 1000).ok());
  EvictAll(shard);
  const Key key = 1;
  const auto fetches = shard.BeginFetch(1, std::span(&key, 1));
  ASSERT_EQ(fetches.size(), 1u);
  ExpiryTally tally;
  ASSERT_TRUE(
      shard.ExpireColdRows(1, std::vector<std::pair<Key, ExpiryRule>>{{1, ExpiryRule::kTtl}}, false, &tally)
          .ok());
  const float values[] = {11, 11};
  ASSERT_TRUE(shard.InstallRow(1, fetches[0], 1, {.push_count = 1, .flags = 0}, values).ok());
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(10, 10));
  EXPECT_EQ(shard.live_rows(), 0u);
}

TEST(ShardExpiryTest, ADeletionInTheLogHidesTheRowOfTheBase) {
  const TableSpec spec = WithRules({}, {.ttl_seconds = 100});
  Shard shard = ServingShard({spec});
  ASSERT_TRUE(PushOnes(shard, 1, {1, 2}, 1000).ok());
  const BuiltDelta folded = Build(shard);
  shard.SetFolded(folded.lsn);
  ASSERT_EQ(shard.EvictRows(1, 10), 2u);
  ExpiryTally tally;
  ASSERT_TRUE(
      shard.ExpireColdRows(1, std::vector<std::pair<Key, ExpiryRule>>{{1, ExpiryRule::kTtl}}, false, &tally)
          .ok());
  const BuiltDelta deleted = Build(shard);

  Shard restarted = MakeShard();
  capnp::MallocMessageBuilder message;
  auto meta = message.initRoot<proto::ShardMeta>();
  NameShard(meta);
  meta.setEpoch(1);
  meta.setLsn(folded.lsn);
  meta.setChecksum(folded.checksum);
  auto table = meta.initTables(1)[0];
  table.setTable(1);
  table.setLayout(kRowLayout);
  table.setDim(2);
  ASSERT_TRUE(restarted.LoadMeta(meta).ok());
  ASSERT_TRUE(Apply(restarted, deleted).ok());
  const float values[] = {11, 11};
  for (const Key key : {1, 2})
    ASSERT_TRUE(
        restarted.LoadRow(1, key, folded.lsn, {.push_count = 1, .flags = 0}, values, /*resident=*/false)
            .ok());
  ASSERT_TRUE(restarted.CreateTable(spec).ok());
  EXPECT_EQ(restarted.live_rows(), 1u);
  EXPECT_FALSE(IsCold(restarted, 1));
  EXPECT_TRUE(IsCold(restarted, 2));
}

TEST(ShardExpiryTest, AnExpiredKeyMustBeAdmittedAgain) {
  Shard shard = ServingShard({WithRules({.min_count = 2}, {.ttl_seconds = 100})});
  ASSERT_TRUE(PushOnes(shard, 1, {1}, 1000).ok());
  ASSERT_TRUE(PushOnes(shard, 2, {1}, 1000).ok());
  EXPECT_EQ(Expire(shard, 1100).ttl, 1u);
  ASSERT_TRUE(PushOnes(shard, 3, {1}, 1100).ok());
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(10, 10));
  ASSERT_TRUE(PushOnes(shard, 4, {1}, 1100).ok());
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(11, 11));
}

}  // namespace
}  // namespace penstock
