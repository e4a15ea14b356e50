// What a table's spec may say, and that a field which would be ignored is refused by name.
#include "common/cluster/table_spec.h"

#include <capnp/message.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "common/cluster/table_difference.h"
#include "common/cluster/wire.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

TableSpec Spec(OptimizerKind kind) {
  return {.id = 1, .name = "job.1/weights", .dim = 4, .optimizer = {.kind = kind}};
}

void ExpectRefused(OptimizerKind kind, const std::function<void(TableSpec&)>& change,
                   const std::string& message) {
  TableSpec spec = Spec(kind);
  ASSERT_TRUE(spec.Validate().ok()) << spec.Validate().ToString();
  change(spec);
  const Status status = spec.Validate();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr(message));
  EXPECT_THAT(status.message(), HasSubstr(spec.name));
}

TEST(TableSpecTest, SlotsAreThoseOfTheKind) {
  const std::pair<OptimizerKind, uint32_t> slots[] = {
      {OptimizerKind::kAssign, 0},   {OptimizerKind::kAdd, 0},      {OptimizerKind::kSgd, 0},
      {OptimizerKind::kAdagrad, 4},  {OptimizerKind::kAdam, 8},     {OptimizerKind::kFtrl, 8},
      {OptimizerKind::kMomentum, 4}, {OptimizerKind::kNesterov, 4}, {OptimizerKind::kRmsprop, 4},
      {OptimizerKind::kAdamw, 8},    {OptimizerKind::kLamb, 8},     {OptimizerKind::kAdagradRow, 1},
      {OptimizerKind::kAdamRow, 5},
  };
  for (const auto& [kind, expected] : slots) EXPECT_EQ(Spec(kind).slots(), expected) << ToString(kind);
}

TEST(TableSpecTest, AFieldWithoutMeaningForTheOptimizerIsRefusedByName) {
  using enum OptimizerKind;
  ExpectRefused(
      kAdd, [](auto& s) { s.optimizer.learning_rate = 1; },
      "optimizer.learning_rate has no meaning for optimizer kind 'add', only for sgd");
  ExpectRefused(
      kSgd, [](auto& s) { s.optimizer.l1 = 1; },
      "optimizer.l1 has no meaning for optimizer kind 'sgd', only for ftrl");
  ExpectRefused(
      kAssign, [](auto& s) { s.optimizer.l2 = 1; }, "optimizer.l2 has no meaning");
  ExpectRefused(
      kRmsprop, [](auto& s) { s.optimizer.beta1 = 0; }, "optimizer.beta1 has no meaning");
  ExpectRefused(
      kMomentum, [](auto& s) { s.optimizer.beta2 = 0; }, "only for rmsprop, adam, adamw, lamb");
  ExpectRefused(
      kNesterov, [](auto& s) { s.optimizer.epsilon = 0; }, "optimizer.epsilon has no meaning");
  ExpectRefused(
      kAdam, [](auto& s) { s.optimizer.beta = 0; }, "optimizer.beta has no meaning");
  ExpectRefused(
      kLamb, [](auto& s) { s.optimizer.initial_accumulator = 1; }, "only for adagrad, adagrad_row");
  ExpectRefused(
      kAdamRow, [](auto& s) { s.optimizer.momentum = 0; }, "only for momentum, nesterov");
  ExpectRefused(
      kAdd, [](auto& s) { s.optimizer.clip_norm = 1; }, "optimizer.clip_norm has no meaning");
  ExpectRefused(
      kAssign, [](auto& s) { s.optimizer.clip_value = 1; }, "optimizer.clip_value has no meaning");
  ExpectRefused(
      kFtrl, [](auto& s) { s.schedule.warmup_steps = 1; }, "has no meaning for optimizer kind 'ftrl'");
  ExpectRefused(
      kFtrl, [](auto& s) { s.initializer = {.kind = InitializerKind::kConstant, .value = 1}; },
      "initializer.kind must be zeros");
}

TEST(TableSpecTest, AFieldWithoutMeaningForTheScheduleOrInitializerIsRefusedByName) {
  const auto kind = OptimizerKind::kSgd;
  ExpectRefused(
      kind, [](auto& s) { s.schedule.decay_steps = 5; },
      "schedule.decay_steps has no meaning for schedule kind 'constant', only for step, cosine");
  ExpectRefused(
      kind,
      [](auto& s) { s.schedule = {.kind = ScheduleKind::kCosine, .decay_steps = 5, .decay_rate = 0.5f}; },
      "schedule.decay_rate has no meaning for schedule kind 'cosine', only for step");
  ExpectRefused(
      kind,
      [](auto& s) { s.schedule = {.kind = ScheduleKind::kInverseSqrt, .decay_steps = 5, .minimum = 0.5f}; },
      "schedule.minimum has no meaning");
  ExpectRefused(
      kind, [](auto& s) { s.schedule.kind = ScheduleKind::kStep; },
      "schedule.decay_steps is 0, schedule kind 'step' needs at least 1");
  ExpectRefused(
      kind, [](auto& s) { s.initializer.value = 1; }, "initializer.value has no meaning");
  ExpectRefused(
      kind, [](auto& s) { s.initializer.fan_in = 1; }, "only for xavier");
  ExpectRefused(
      kind, [](auto& s) { s.initializer = {.kind = InitializerKind::kXavier, .fan_in = 3}; },
      "fan_in and fan_out must be at least 1");
  ExpectRefused(
      kind, [](auto& s) { s.initializer = {.kind = InitializerKind::kUniform, .stddev = 1}; },
      "only for normal, truncated_normal");
}

TEST(TableSpecTest, RangesAreCheckedAndNamed) {
  const auto kind = OptimizerKind::kMomentum;
  ExpectRefused(
      kind, [](auto& s) { s.optimizer.momentum = 1; }, "optimizer.momentum is 1.0");
  ExpectRefused(
      kind, [](auto& s) { s.optimizer.clip_value = -1; }, "optimizer.clip_value is -1.0");
  ExpectRefused(
      kind, [](auto& s) { s.schedule.warmup_steps = UINT64_MAX; }, "schedule.warmup_steps is 18446");
  ExpectRefused(
      kind, [](auto& s) { s.initializer = {.kind = InitializerKind::kUniform, .low = 1, .high = 0}; },
      "initializer.high is 0.0");
  ExpectRefused(
      kind, [](auto& s) { s.admission.probability = 0; }, "would admit no key");
  ExpectRefused(
      kind, [](auto& s) { s.expiry = {.ttl_seconds = 1, .unused_passes = 1}; }, "exclude each other");
  ExpectRefused(
      kind, [](auto& s) { s.expiry.ttl_seconds = (1u << 25) + 1; }, "expiry.ttl_seconds is 33554433");
  ExpectRefused(
      kind, [](auto& s) { s.admission.min_count = 1u << 24; }, "admission.min_count is 16777216");
  ExpectRefused(
      kind,
      [](auto& s) {
        s.expiry.min_norm = 1;
        s.dense_size = 2;
      },
      "are for sparse tables");
  ExpectRefused(
      kind,
      [](auto& s) {
        s.admission.min_count = 2;
        s.accumulate = true;
      },
      "are not for tables that accumulate");
  ExpectRefused(
      kind, [](auto& s) { s.dim = 65537; }, "dim is 65537");
}

TEST(TableSpecTest, JsonAndWireKeepEveryField) {
  TableSpec spec = Spec(OptimizerKind::kRmsprop);
  spec.optimizer = {.kind = OptimizerKind::kRmsprop,
                    .learning_rate = 0.5f,
                    .l2 = 0.25f,
                    .beta2 = 0.75f,
                    .epsilon = 1e-3f,
                    .clip_value = 3,
                    .clip_norm = 4};
  spec.schedule = {.kind = ScheduleKind::kCosine, .warmup_steps = 7, .decay_steps = 8, .minimum = 0.5f};
  spec.initializer = {.kind = InitializerKind::kXavier, .fan_in = 3, .fan_out = 4};
  spec.seed = UINT64_MAX;
  spec.durability = Durability::kSynced;
  spec.allow_non_finite = true;
  spec.codec = Codec::kBf16;
  // These two exclude each other.
  TableSpec sparse = spec, dense = spec;
  sparse.admission = {.min_count = 3, .probability = 0.5f};
  sparse.expiry = {.unused_passes = 2, .min_norm = 0.125f};
  dense.accumulate = true;
  dense.dense_size = 12;
  for (const TableSpec& each : {sparse, dense}) {
    EXPECT_EQ(nlohmann::json::parse(nlohmann::json(each).dump()).get<TableSpec>(), each);
    capnp::MallocMessageBuilder message;
    auto wire = message.initRoot<proto::TableSpec>();
    WriteTableSpec(each, wire);
    const auto read = ReadTableSpec(wire.asReader());
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_EQ(*read, each);
  }
}

// A client that others wrote leaves unset what it does not need.
TEST(TableSpecTest, UnsetFieldsHaveTheSameDefaultsOnTheWire) {
  for (const OptimizerKind kind :
       {OptimizerKind::kSgd, OptimizerKind::kAdd, OptimizerKind::kAdam, OptimizerKind::kFtrl,
        OptimizerKind::kMomentum, OptimizerKind::kAdagradRow}) {
    capnp::MallocMessageBuilder message;
    auto wire = message.initRoot<proto::TableSpec>();
    wire.setName("theirs");
    if (kind != OptimizerKind::kSgd) wire.getOptimizer().setKind(static_cast<uint8_t>(kind));
    const auto read = ReadTableSpec(wire.asReader());
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    const TableSpec expected{.name = "theirs", .optimizer = {.kind = kind}};
    EXPECT_EQ(*read, expected) << DescribeDifference(expected, *read);
  }
}

// Each field in turn is another: it is named with both values, and it alone.
TEST(TableSpecTest, ADifferenceNamesEachFieldWithBothValues) {
  TableSpec existing = Spec(OptimizerKind::kSgd);
  EXPECT_EQ(DescribeDifference(existing, existing), "");
  const std::map<std::string, std::string> words = {
      {"/optimizer/kind", "adam"},  {"/initializer/kind", "normal"},
      {"/schedule/kind", "cosine"}, {"/durability", "memory"},
      {"/codec", "bf16"},           {"/name", "another"}};
  const nlohmann::json fields = nlohmann::json(existing).flatten();
  EXPECT_GE(fields.size(), 35u);
  for (const auto& [pointer, value] : fields.items()) {
    nlohmann::json other = fields;
    if (value.is_string())
      other[pointer] = words.at(pointer);
    else if (value.is_boolean())
      other[pointer] = !value.get<bool>();
    else
      other[pointer] = value.is_number_float() ? nlohmann::json(value.get<double>() + 2)
                                               : nlohmann::json(value.get<uint64_t>() + 2);
    const TableSpec wanted = other.unflatten().get<TableSpec>();
    EXPECT_NE(wanted, existing) << pointer;
    const std::string difference = DescribeDifference(existing, wanted);
    if (pointer == "/id") {
      EXPECT_EQ(difference, "");
      continue;
    }
    std::string field = pointer.substr(1);
    if (const size_t slash = field.find('/'); slash != std::string::npos) field[slash] = '.';
    EXPECT_TRUE(difference.starts_with(field + " is ")) << difference;
    EXPECT_THAT(difference, HasSubstr(" and not "));
    EXPECT_EQ(difference.find(','), std::string::npos) << difference;
  }
  TableSpec wanted = existing;
  wanted.dim = 8;
  wanted.optimizer = {.kind = OptimizerKind::kAdam, .learning_rate = 0.1f, .epsilon = 1e-6f};
  wanted.accumulate = true;
  EXPECT_EQ(DescribeDifference(existing, wanted),
            "accumulate is false and not true, dim is 4 and not 8, optimizer.epsilon is 1e-08 and not 1e-06, "
            "optimizer.kind is sgd and not adam, optimizer.learning_rate is 0.01 and not 0.1");
}

}  // namespace
}  // namespace penstock
