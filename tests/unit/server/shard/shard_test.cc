// Tables, pulls, pushes and exactly-once of a Shard.
#include "server/shard/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "server/shard/initializer.h"
#include "tests/unit/server/shard/shard_test_util.h"

namespace penstock {
namespace {

using namespace shard_test;  // NOLINT: the helpers of this folder's tests
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Sequence kWindow = 65'536;

// --- Pull and push.

TEST(ShardTest, AMissingRowHasItsInitialValueAndCostsNothing) {
  TableSpec spec = Spec(1, 5);
  spec.seed = 99;
  spec.initializer = {.kind = InitializerKind::kNormal, .mean = 1, .stddev = 2};
  Shard shard = ServingShard({spec});
  const size_t before = shard.ResidentBytes();
  std::vector<float> expected(5);
  InitializeRow(spec.initializer, 99, 1, 1234, 5, expected.data());
  EXPECT_EQ(Pull(shard, 1, {1234}), expected);
  EXPECT_EQ(shard.ResidentBytes(), before);
  EXPECT_EQ(shard.live_rows(), 0u);
  ASSERT_TRUE(Push(shard, 1, 0, 1, {1234}, {1, 2, 3, 4, 5}).ok());
  for (int i = 0; i < 5; ++i) expected[i] += static_cast<float>(i + 1);
  EXPECT_EQ(Pull(shard, 1, {1234}), expected) << "the first push starts from what pulls have seen";
}

TEST(ShardTest, PullsKeepTheOrderOfKeysAndMixKnownWithUnknown) {
  Shard shard = ServingShard({Spec(1, 2)});
  ASSERT_TRUE(Push(shard, 1, 0, 1, {10, 20}, {1, 2, 3, 4}).ok());
  EXPECT_THAT(Pull(shard, 1, {20, 5, 10, 20}), ElementsAre(3, 4, 0, 0, 1, 2, 3, 4));
}

TEST(ShardTest, APullSaysWhichRowsAreStored) {
  Shard shard = ServingShard({Spec(1, 2)});
  ASSERT_TRUE(Push(shard, 1, 0, 1, {10, 20, 30}, {1, 2, 3, 4, 0, 0}).ok());
  EXPECT_THAT(StoredOf(shard, 1, {20, 5, 10, 20, 30}), ElementsAre(1, 0, 1, 1, 1))
      << "30 is stored with its initial value";
  ASSERT_TRUE(shard.DeleteRows(1, std::vector<Key>{20}).ok());
  EXPECT_THAT(StoredOf(shard, 1, {20, 5, 10}), ElementsAre(0, 0, 1));
}

TEST(ShardTest, AKeyTwiceInAUnitIsSteppedTwiceInOrder) {
  Shard shard = ServingShard({Spec(1, 1), Spec(2, 1, OptimizerKind::kAssign)});
  ASSERT_TRUE(Push(shard, 1, 0, 1, {7, 8, 7}, {1, 10, 100}).ok());
  ASSERT_TRUE(Push(shard, 1, 0, 2, {7, 8, 7}, {1, 10, 100}).ok());
  EXPECT_THAT(Pull(shard, 1, {7, 8}), ElementsAre(101, 10));
  EXPECT_THAT(Pull(shard, 2, {7, 8}), ElementsAre(100, 10));
  uint64_t pushes = 0;
  ASSERT_TRUE(shard.ForEachRow(1, [&](const RowHeader& h, auto, auto) { pushes += h.push_count; }).ok());
  EXPECT_EQ(pushes, 3u);
}

TEST(ShardTest, TheInitialAccumulatorOfAdagradCounts) {
  TableSpec spec = Spec(1, 1, OptimizerKind::kAdagrad);
  spec.optimizer.learning_rate = 1;
  spec.optimizer.epsilon = 0;
  spec.optimizer.initial_accumulator = 3;
  Shard shard = ServingShard({spec});
  ASSERT_TRUE(Push(shard, 1, 0, 1, {7}, {1}).ok());
  EXPECT_NEAR(Pull(shard, 1, {7})[0], -0.5, 1e-6) << "1 / sqrt(3 + 1)";
}

TEST(ShardTest, UnknownTablesAreNotFound) {
  Shard shard = ServingShard({Spec(1)});
  float out[2];
  EXPECT_EQ(shard.PullRows(2, std::vector<Key>{1}, out, nullptr).code(), Code::kNotFound);
  EXPECT_EQ(Push(shard, 1, 0, 2, {1}, {1, 1}).status().code(), Code::kNotFound);
  EXPECT_EQ(shard.Stats(2).status().code(), Code::kNotFound);
  EXPECT_EQ(shard.DropTable(2).code(), Code::kNotFound);
  EXPECT_EQ(shard.AdvanceLow(2, 1, 1).code(), Code::kNotFound);
}

TEST(ShardTest, NonFiniteValuesAreRefusedWithNothingApplied) {
  TableSpec lenient = Spec(2);
  lenient.allow_non_finite = true;
  Shard shard = ServingShard({Spec(1), lenient});
  ASSERT_TRUE(Push(shard, 1, 0, 1, {1}, {5, 5}).ok());
  Build(shard);
  const ContentHash before = shard.Hash();
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  const auto refused = Push(shard, 1, 1, 1, {1, 2}, {1, nan, -inf, 1});
  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(refused.status().message(),
              AllOf(HasSubstr("'t1'"), HasSubstr("shard 17"), HasSubstr("2 of 4"), HasSubstr("of key 1;")));
  EXPECT_EQ(shard.Hash(), before);
  EXPECT_FALSE(shard.HasUnlogged());
  EXPECT_EQ(shard.non_finite_units(), 1u);
  const auto mended = Push(shard, 1, 1, 1, {1, 2}, {1, 1, 1, 1});
  ASSERT_TRUE(mended.ok());
  EXPECT_FALSE(mended->duplicate) << "a refused unit leaves no mark";
  EXPECT_TRUE(Push(shard, 1, 0, 2, {1}, {inf, nan}).ok());
}

TEST(ShardTest, RowsThatAStepLeftNotFiniteAreCountedAndTheUnitIsApplied) {
  const float huge = std::numeric_limits<float>::max();
  TableSpec lenient = Spec(2, 1, OptimizerKind::kAdd);
  lenient.allow_non_finite = true;
  Shard shard = ServingShard({Spec(1, 2, OptimizerKind::kAdd), lenient, Spec(3, 2, OptimizerKind::kAdagrad)});
  ASSERT_TRUE(Push(shard, 1, 0, 1, {4, 5}, {huge, 1, huge, 1}).ok());
  EXPECT_EQ(shard.Serving(1).not_finite().rows, 0u);
  const auto pushed = Push(shard, 1, 1, 1, {4, 5, 6}, {1, 1, huge, 1, huge, 1});
  ASSERT_TRUE(pushed.ok());
  EXPECT_TRUE(pushed->applied());
  EXPECT_EQ(shard.Serving(1).not_finite().rows, 1u);
  EXPECT_EQ(shard.Serving(1).not_finite().key, 5u);
  EXPECT_TRUE(std::isinf(Pull(shard, 1, {5})[0]));
  for (Sequence i = 0; i < 2; ++i) ASSERT_TRUE(Push(shard, 1, i, 2, {4}, {huge}).ok());
  EXPECT_EQ(shard.Serving(2).not_finite().rows, 0u) << "it may hold them";
  // The value stands still from now on, as the slot is infinite.
  ASSERT_TRUE(Push(shard, 1, 0, 3, {8}, {huge, 1}).ok());
  EXPECT_EQ(shard.Serving(3).not_finite().key, 8u);
}

TEST(ShardTest, WithoutRoomOnlyKnownRowsArePushed) {
  Shard shard = ServingShard({Spec(1, 1)});
  ASSERT_TRUE(Push(shard, 1, 0, 1, {1, 2}, {1, 2}).ok());
  const auto refused = Push(shard, 1, 1, 1, {1, 3}, {10, 10}, 0, /*growth_bytes=*/0);
  ASSERT_TRUE(refused.ok());
  EXPECT_FALSE(refused->applied());
  EXPECT_GT(refused->lacks_bytes, 0u);
  EXPECT_THAT(Pull(shard, 1, {1, 2, 3}), ElementsAre(1, 2, 0));
  EXPECT_TRUE(Push(shard, 1, 2, 1, {1, 2}, {10, 10}, 0, /*growth_bytes=*/0)->applied());
  EXPECT_TRUE(Push(shard, 1, 1, 1, {1, 3}, {10, 10}, 0, refused->lacks_bytes)->applied());
  EXPECT_THAT(Pull(shard, 1, {1, 2, 3}), ElementsAre(21, 12, 10));
}

TEST(ShardTest, AUnitTooLargeIsRefusedNamingTableAndShard) {
  Shard shard = ServingShard({Spec(1, 1024)});
  const std::vector<Key> keys(kMaxUnitBytes / (1024 * 4 + 8) + 1);
  const std::vector<float> values(keys.size() * 1024);
  const auto refused = shard.PushUnit({.producer = 1}, 1, keys, values.data());
  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(refused.status().message(), AllOf(HasSubstr("'t1'"), HasSubstr("shard 17")));
  EXPECT_TRUE(shard.PushUnit({.producer = 1}, 1, std::span(keys).first(keys.size() - 1), values.data()).ok());
}

// --- Exactly once.

TEST(ShardTest, ADuplicateIsDroppedAndSaysWhereItIs) {
  Shard shard = ServingShard({Spec(1, 1)});
  const auto first = Push(shard, 4, 9, 1, {1}, {5});
  ASSERT_TRUE(first.ok());
  EXPECT_FALSE(first->duplicate);
  EXPECT_EQ(first->lsn, 1u);
  const auto open = Push(shard, 4, 9, 1, {1}, {5});
  ASSERT_TRUE(open.ok());
  EXPECT_TRUE(open->duplicate);
  EXPECT_EQ(open->lsn, 1u) << "the window is open: its lsn to come";
  Build(shard);
  const auto logged = Push(shard, 4, 9, 1, {1}, {5});
  ASSERT_TRUE(logged.ok());
  EXPECT_TRUE(logged->duplicate);
  EXPECT_EQ(logged->lsn, 1u) << "nothing is open: the last lsn";
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(5));
}

TEST(ShardTest, UnitsOfOtherProducersSequencesAndTablesAreNoDuplicates) {
  Shard shard = ServingShard({Spec(1, 1), Spec(2, 1)});
  for (const auto& [producer, sequence, table] :
       {std::tuple<int, int, int>{4, 9, 1}, {5, 9, 1}, {4, 8, 1}, {4, 9, 2}}) {
    const auto pushed = Push(shard, producer, sequence, table, {1}, {1});
    ASSERT_TRUE(pushed.ok());
    EXPECT_FALSE(pushed->duplicate);
  }
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(3));
}

TEST(ShardTest, WhatIsBelowTheWatermarkCountsAsApplied) {
  Shard shard = ServingShard({Spec(1, 1)});
  ASSERT_TRUE(Push(shard, 4, 100, 1, {1}, {1}, /*low=*/50).ok());
  const auto below = Push(shard, 4, 49, 1, {1}, {1}, /*low=*/40);
  ASSERT_TRUE(below.ok());
  EXPECT_TRUE(below->duplicate) << "the watermark never goes back";
  EXPECT_FALSE(Push(shard, 4, 50, 1, {1}, {1}, 40)->duplicate);
  ASSERT_TRUE(shard.AdvanceLow(1, 4, 70).ok());
  EXPECT_TRUE(Push(shard, 4, 69, 1, {1}, {1}, 40)->duplicate);
  EXPECT_FALSE(Push(shard, 4, 70, 1, {1}, {1}, 40)->duplicate);
  EXPECT_TRUE(Push(shard, 4, 100, 1, {1}, {1}, 40)->duplicate);
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(3));
}

TEST(ShardTest, ProducersMayBeginAnywhereAndSequencesMaySkip) {
  Shard shard = ServingShard({Spec(1, 1)});
  const Sequence late = Sequence{1} << 50;
  ASSERT_TRUE(Push(shard, 4, late, 1, {1}, {1}, late).ok());
  ASSERT_TRUE(Push(shard, 4, late + 1000, 1, {1}, {1}, late).ok());
  ASSERT_TRUE(Push(shard, 4, late + 500, 1, {1}, {1}, late).ok());
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(3));
}

TEST(ShardTest, BeyondTheWindowIsOverloadedButNeverAtLow) {
  Shard shard = ServingShard({Spec(1, 1)});
  ASSERT_TRUE(Push(shard, 4, 10, 1, {1}, {1}, 10).ok());
  EXPECT_TRUE(Push(shard, 4, 10 + kWindow - 1, 1, {1}, {1}, 10).ok());
  const auto beyond = Push(shard, 4, 10 + kWindow, 1, {1}, {1}, 10);
  EXPECT_EQ(beyond.status().code(), Code::kOverloaded);
  EXPECT_GT(beyond.status().retry_after_ms(), 0u);
  EXPECT_TRUE(Push(shard, 4, 10 + kWindow, 1, {1}, {1}, 11).ok()) << "low moved the window";
  EXPECT_TRUE(Push(shard, 4, 5'000'000, 1, {1}, {1}, 5'000'000).ok())
      << "the sequence at low is always taken";
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(4));
}

TEST(ShardTest, HalfAWindowAsksToBeLogged) {
  Shard shard = ServingShard({Spec(1, 1)});
  for (Sequence s = 0; s < kWindow / 2 - 1; ++s) ASSERT_TRUE(Push(shard, 4, s, 1, {1}, {1}).ok());
  EXPECT_FALSE(shard.MarksPress(shard.Serving(1)));
  for (Sequence s = kWindow / 2 - 1; s < kWindow / 2 + 1; ++s)
    ASSERT_TRUE(Push(shard, 4, s, 1, {1}, {1}).ok());
  EXPECT_TRUE(shard.MarksPress(shard.Serving(1)));
}

TEST(ShardTest, RefusesUnmarkedPushesAndSequencesBelowTheirLow) {
  Shard shard = ServingShard({Spec(1, 1)});
  EXPECT_EQ(Push(shard, 0, 1, 1, {1}, {1}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Push(shard, 4, 1, 1, {1}, {1}, /*low=*/2).status().code(), Code::kInvalidArgument);
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(0));
}

TEST(ShardTest, ForgottenAndFinishedProducersAreUnknown) {
  Shard shard = ServingShard({Spec(1, 1)});
  ASSERT_TRUE(Push(shard, 4, 1, 1, {1}, {1}).ok());
  ASSERT_TRUE(Push(shard, 20, 1, 1, {1}, {1}).ok());
  shard.SetForgetFloor(5);
  EXPECT_EQ(Push(shard, 4, 2, 1, {1}, {1}).status().code(), Code::kUnknownProducer);
  shard.SetForgetFloor(3);
  EXPECT_EQ(Push(shard, 4, 2, 1, {1}, {1}).status().code(), Code::kUnknownProducer) << "the floor only rises";
  EXPECT_TRUE(Push(shard, 5, 1, 1, {1}, {1}).ok());
  shard.FinishProducers(10, 20);
  shard.FinishProducers(10, 12);
  for (const ProducerId producer : {10, 15, 20}) {
    EXPECT_EQ(Push(shard, producer, 2, 1, {1}, {1}).status().code(), Code::kUnknownProducer) << producer;
  }
  EXPECT_TRUE(Push(shard, 9, 1, 1, {1}, {1}).ok());
  EXPECT_TRUE(Push(shard, 21, 1, 1, {1}, {1}).ok());
  ASSERT_TRUE(shard.CreateTable(Spec(2, 1)).ok());
  EXPECT_EQ(Push(shard, 15, 1, 2, {1}, {1}).status().code(), Code::kUnknownProducer) << "in later tables too";
}

// --- Tables.

TEST(ShardTest, CreatingIsRepeatableAndOthersAreRefused) {
  Shard shard = ServingShard({Spec(1, 2)});
  EXPECT_TRUE(shard.CreateTable(Spec(1, 2)).ok());
  const Status other = shard.CreateTable(Spec(1, 3));
  EXPECT_EQ(other.code(), Code::kAlreadyExists);
  EXPECT_NE(other.message().find("its dim is 2 and not 3"), std::string::npos) << other.ToString();
  EXPECT_EQ(shard.CreateTable(Spec(0, 3)).code(), Code::kInvalidArgument);
  EXPECT_EQ(shard.CreateTable(Spec(2, 0)).code(), Code::kInvalidArgument);
  EXPECT_THAT(shard.TableIds(), ElementsAre(1));
}

TEST(ShardTest, ADroppedTableIsGoneAndItsIdIsNeverUsedAgain) {
  Shard shard = ServingShard({Spec(1), Spec(2)});
  ASSERT_TRUE(Push(shard, 1, 0, 1, {1}, {1, 1}).ok());
  ASSERT_TRUE(shard.DropTable(1).ok());
  EXPECT_TRUE(shard.HasUnlogged());
  EXPECT_EQ(shard.FindSpec(1), nullptr);
  EXPECT_EQ(Push(shard, 1, 1, 1, {1}, {1, 1}).status().code(), Code::kNotFound);
  EXPECT_EQ(shard.CreateTable(Spec(1)).code(), Code::kFailedPrecondition);
}

TEST(ShardTest, AlterChangesOptimizerParametersAndDurabilityOnly) {
  Shard shard = ServingShard({Spec(1, 1, OptimizerKind::kSgd)});
  TableSpec spec = Spec(1, 1, OptimizerKind::kSgd);
  spec.optimizer.learning_rate = 0.5f;
  spec.durability = Durability::kMemory;
  spec.schedule = {.kind = ScheduleKind::kStep, .decay_steps = 2, .decay_rate = 0.5f};
  ASSERT_TRUE(shard.AlterTable(spec).ok());
  EXPECT_EQ(*shard.FindSpec(1), spec);
  ASSERT_TRUE(Push(shard, 1, 0, 1, {1}, {4}).ok());
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(-2)) << "the new learning rate is in use";
  ASSERT_TRUE(Push(shard, 1, 1, 1, {1}, {4}).ok());
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(-3)) << "the schedule, at the row's second push";
  const float pushed = 4;
  ASSERT_TRUE(
      shard.PushUnit({.producer = 1, .sequence = 2, .step = 1}, 1, std::vector<Key>{1}, &pushed).ok());
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(-5)) << "at the step that the push carries";
  for (const auto& change : std::vector<std::function<void(TableSpec&)>>{
           [](TableSpec& s) { s.optimizer.kind = OptimizerKind::kAdagrad; }, [](TableSpec& s) { s.dim = 2; },
           [](TableSpec& s) { s.seed = 5; }, [](TableSpec& s) { s.name = "other"; },
           [](TableSpec& s) { s.initializer = {.kind = InitializerKind::kConstant, .value = 1}; }}) {
    TableSpec other = spec;
    change(other);
    EXPECT_EQ(shard.AlterTable(other).code(), Code::kInvalidArgument);
    EXPECT_EQ(*shard.FindSpec(1), spec);
  }
}

TEST(ShardTest, DeletedRowsReadAsNeverPushedAndStartAnew) {
  TableSpec spec = Spec(1, 1, OptimizerKind::kAdagrad);
  spec.initializer = {.kind = InitializerKind::kConstant, .value = 7};
  spec.optimizer.learning_rate = 1;
  Shard shard = ServingShard({spec});
  ASSERT_TRUE(Push(shard, 1, 0, 1, {1, 2}, {2, 2}).ok());
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(6));
  const auto deleted = shard.DeleteRows(1, std::vector<Key>{1, 3, 1});
  ASSERT_TRUE(deleted.ok());
  EXPECT_EQ(*deleted, 1u);
  EXPECT_EQ(shard.live_rows(), 1u);
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(7));
  ASSERT_TRUE(Push(shard, 1, 1, 1, {1}, {2}, 0, /*growth_bytes=*/0)->applied());
  EXPECT_THAT(Pull(shard, 1, {1}), ElementsAre(6))
      << "neither the value nor the accumulator of its first life";
  EXPECT_EQ(shard.live_rows(), 2u);
}

TEST(ShardTest, StatsSumOverTheValuesOfPushedRows) {
  Shard shard = ServingShard({Spec(1, 2, OptimizerKind::kAdd)});
  ASSERT_TRUE(Push(shard, 1, 0, 1, {1, 2, 3}, {3, -4, 0, 1, 0, 0}).ok());
  ASSERT_TRUE(shard.DeleteRows(1, std::vector<Key>{3}).ok());
  const auto stats = shard.Stats(1);
  ASSERT_TRUE(stats.ok());
  EXPECT_EQ(stats->rows, 2u);
  EXPECT_EQ(stats->sum_squares, 26);
  EXPECT_EQ(stats->sum_abs, 8);
  EXPECT_EQ(stats->non_zero, 3u);
  EXPECT_GT(stats->bytes, 0u);
  EXPECT_LE(stats->bytes, shard.ResidentBytes());
}

TEST(ShardTest, TheContentHashSeesContentAndNotOrder) {
  Shard a = ServingShard({Spec(1, 1), Spec(2, 1)}), b = ServingShard({Spec(1, 1), Spec(2, 1)});
  ASSERT_TRUE(Push(a, 1, 0, 1, {1, 2}, {5, 6}).ok());
  ASSERT_TRUE(Push(b, 9, 7, 1, {2}, {6}).ok());
  EXPECT_NE(a.Hash(), b.Hash());
  ASSERT_TRUE(Push(b, 9, 8, 1, {1}, {5}).ok());
  EXPECT_EQ(a.Hash(), b.Hash());
  EXPECT_EQ(a.Hash().rows, 2u);
  ASSERT_TRUE(Push(a, 1, 1, 1, {3}, {1}).ok());
  ASSERT_TRUE(Push(b, 9, 9, 2, {3}, {1}).ok());
  EXPECT_NE(a.Hash(), b.Hash()) << "the same row in another table";
}

TEST(Shard, WhatWasLeasedBeforeARewindIsRefusedBeforeMarksAreLookedAt) {
  Shard shard = ServingShard({Spec(1, 1)});
  const auto push = [&](Sequence sequence, Sequence low, uint64_t rewind) {
    const Key key = sequence;
    const float value = 1;
    return shard.PushUnit({.producer = 5, .sequence = sequence, .low = low, .rewind = rewind}, 1, {&key, 1},
                          &value);
  };
  ASSERT_TRUE(push(0, 0, 1).ok());
  shard.RaiseRewind(2);
  shard.RaiseRewind(1);
  const Status late = push(9, 9, 1).status();
  EXPECT_EQ(late.code(), Code::kCancelled);
  EXPECT_NE(late.message().find("shard 17 has rewind number 2, the lease of this call has 1"),
            std::string::npos)
      << late.message();
  EXPECT_EQ(push(0, 0, 1).status().code(), Code::kCancelled) << "a duplicate as well";
  // Its low did not count.
  for (Sequence k = 1; k < 9; ++k) {
    const auto pushed = push(k, 0, 2);
    ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
    EXPECT_FALSE(pushed->duplicate) << k;
  }
  EXPECT_TRUE(push(20, 0, 0).ok()) << "outside of jobs nothing is checked";
  EXPECT_TRUE(push(21, 0, 3).ok()) << "a grant that is on its way";
}

}  // namespace
}  // namespace penstock
