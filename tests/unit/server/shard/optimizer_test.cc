// Each optimizer against the same recurrence in float64 over 1,000 steps, and the edges of each.
#include "server/shard/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#include "server/shard/optimizer_kernels.h"
#include "server/shard/schedule.h"

namespace penstock {
namespace {

// Parameters as a user writes them, in decimal: the spec rounds them to float, the reference does not.
struct Parameters {
  OptimizerKind kind;
  double learning_rate = 0.01, l1 = 0, l2 = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, beta = 1,
         initial_accumulator = 0, momentum = 0.9, clip_value = 0, clip_norm = 0;

  TableSpec Spec(uint32_t dim) const {
    TableSpec spec;
    spec.id = 1;
    spec.name = "t";
    spec.dim = dim;
    spec.optimizer = {.kind = kind,
                      .learning_rate = static_cast<float>(learning_rate),
                      .l1 = static_cast<float>(l1),
                      .l2 = static_cast<float>(l2),
                      .beta1 = static_cast<float>(beta1),
                      .beta2 = static_cast<float>(beta2),
                      .epsilon = static_cast<float>(epsilon),
                      .beta = static_cast<float>(beta),
                      .initial_accumulator = static_cast<float>(initial_accumulator),
                      .momentum = static_cast<float>(momentum),
                      .clip_value = static_cast<float>(clip_value),
                      .clip_norm = static_cast<float>(clip_norm)};
    return spec;
  }
};

double Norm(const std::vector<double>& row) {
  double sum = 0;
  for (const double x : row) sum += x * x;
  return std::sqrt(sum);
}

// A row in double, written from the published definitions.
struct Reference {
  std::vector<double> w, a, b;  // weights, and two slots each
  double v = 0;                 // of row-wise kinds
  int t = 0;

  static void Clip(const Parameters& p, std::vector<double>& g) {
    if (p.clip_value > 0) {
      for (double& x : g) x = std::clamp(x, -p.clip_value, p.clip_value);
    }
    const double norm = Norm(g);
    if (p.clip_norm > 0 && norm > p.clip_norm) {
      for (double& x : g) x *= p.clip_norm / norm;
    }
  }

  void Step(const Parameters& p, std::vector<double> g) {
    ++t;
    Clip(p, g);
    const double first = 1 - std::pow(p.beta1, t), second = 1 - std::pow(p.beta2, t);
    const bool coupled =
        p.kind != OptimizerKind::kAdamw && p.kind != OptimizerKind::kLamb && p.kind != OptimizerKind::kFtrl;
    std::vector<double> decayed = g;
    for (size_t i = 0; i < g.size(); ++i) decayed[i] += coupled ? p.l2 * w[i] : 0;
    const double mean_square = Norm(decayed) * Norm(decayed) / static_cast<double>(g.size());
    if (p.kind == OptimizerKind::kAdagradRow) v += mean_square;
    if (p.kind == OptimizerKind::kAdamRow) v = p.beta2 * v + (1 - p.beta2) * mean_square;
    std::vector<double> lamb(g.size());
    for (size_t i = 0; i < g.size(); ++i) {
      const double d = decayed[i];
      switch (p.kind) {
        case OptimizerKind::kAssign:
          w[i] = d;
          break;
        case OptimizerKind::kAdd:
          w[i] += d;
          break;
        case OptimizerKind::kSgd:
          w[i] -= p.learning_rate * d;
          break;
        case OptimizerKind::kMomentum:
          a[i] = p.momentum * a[i] + d;
          w[i] -= p.learning_rate * a[i];
          break;
        case OptimizerKind::kNesterov:
          a[i] = p.momentum * a[i] + d;
          w[i] -= p.learning_rate * (d + p.momentum * a[i]);
          break;
        case OptimizerKind::kAdagrad:
          a[i] += d * d;
          w[i] -= p.learning_rate * d / (std::sqrt(a[i]) + p.epsilon);
          break;
        case OptimizerKind::kAdagradRow:
          w[i] -= p.learning_rate * d / (std::sqrt(v) + p.epsilon);
          break;
        case OptimizerKind::kRmsprop:
          a[i] = p.beta2 * a[i] + (1 - p.beta2) * d * d;
          w[i] -= p.learning_rate * d / (std::sqrt(a[i]) + p.epsilon);
          break;
        case OptimizerKind::kAdam:
        case OptimizerKind::kAdamw:
        case OptimizerKind::kLamb: {
          a[i] = p.beta1 * a[i] + (1 - p.beta1) * d;
          b[i] = p.beta2 * b[i] + (1 - p.beta2) * d * d;
          const double quotient = (a[i] / first) / (std::sqrt(b[i] / second) + p.epsilon);
          if (p.kind == OptimizerKind::kAdamw) w[i] -= p.learning_rate * p.l2 * w[i];
          if (p.kind == OptimizerKind::kLamb) {
            lamb[i] = quotient + p.l2 * w[i];
          } else {
            w[i] -= p.learning_rate * quotient;
          }
          break;
        }
        case OptimizerKind::kAdamRow:
          a[i] = p.beta1 * a[i] + (1 - p.beta1) * d;
          w[i] -= p.learning_rate * (a[i] / first) / (std::sqrt(v / second) + p.epsilon);
          break;
        case OptimizerKind::kFtrl: {
          const double sigma = (std::sqrt(b[i] + d * d) - std::sqrt(b[i])) / p.learning_rate;
          a[i] += d - sigma * w[i];
          b[i] += d * d;
          const double sign = a[i] > 0 ? 1 : -1;
          w[i] = std::fabs(a[i]) <= p.l1
                     ? 0
                     : -(a[i] - sign * p.l1) / ((p.beta + std::sqrt(b[i])) / p.learning_rate + p.l2);
          break;
        }
      }
    }
    if (p.kind != OptimizerKind::kLamb) return;
    const double row = Norm(w), step = Norm(lamb);
    const double ratio = row > 0 && step > 0 ? row / step : 1;
    for (size_t i = 0; i < g.size(); ++i) w[i] -= p.learning_rate * ratio * lamb[i];
  }
};

struct Case {
  std::string name;
  Parameters parameters;
  double bias;      // mean of the gradients
  double sparsity;  // chance that a row is not touched in a step
};

class OptimizerTest : public ::testing::TestWithParam<Case> {};

TEST_P(OptimizerTest, StaysWithinOneInHundredThousandOfFloat64) {
  const auto& [name, p, bias, sparsity] = GetParam();
  constexpr uint32_t kDim = 19, kRows = 40;
  const TableSpec spec = p.Spec(kDim);
  const size_t floats = spec.row_floats();
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    Optimizer optimizer(spec.optimizer);
    std::vector<float> state(kRows * floats);
    std::vector<uint32_t> pushes(kRows);
    const bool adagrad = p.kind == OptimizerKind::kAdagrad || p.kind == OptimizerKind::kAdagradRow;
    const std::vector<double> slot(kDim, adagrad ? p.initial_accumulator : 0);
    std::vector<Reference> reference(kRows,
                                     {.w = std::vector<double>(kDim), .a = slot, .b = slot, .v = slot[0]});
    for (uint32_t row = 0; row < kRows; ++row) {
      for (uint32_t i = 0; i < kDim; ++i) {
        const float initial = p.kind == OptimizerKind::kFtrl ? 0 : 0.1f * normal(random);
        state[row * floats + i] = initial;
        reference[row].w[i] = initial;
      }
      optimizer.InitializeSlots(kDim, &state[row * floats + kDim]);
    }
    for (int step = 0; step < 1000; ++step) {
      for (uint32_t row = 0; row < kRows; ++row) {
        if (std::uniform_real_distribution<>()(random) < sparsity) continue;
        float gradient[kDim];
        for (float& g : gradient) g = static_cast<float>(bias) + normal(random);
        reference[row].Step(p, {gradient, gradient + kDim});
        optimizer.Apply(++pushes[row], 0, gradient, kDim, &state[row * floats], &state[row * floats + kDim]);
      }
    }
    double error = 0, largest = 0;
    for (uint32_t row = 0; row < kRows; ++row) {
      for (uint32_t i = 0; i < kDim; ++i) {
        const double expected = reference[row].w[i];
        error = std::max(error, std::fabs(state[row * floats + i] - expected));
        largest = std::max(largest, std::fabs(expected));
      }
    }
    ASSERT_GT(largest, 0);
    EXPECT_LE(error / largest, 1e-5);
    RecordProperty("relative_error_" + std::to_string(seed), std::to_string(error / largest));
    if (seed == 1) std::printf("  %-24s relative error %.2g\n", name.c_str(), error / largest);
  }
}

std::vector<Case> Cases() {
  using enum OptimizerKind;
  const std::vector<std::pair<std::string, Parameters>> kinds = {
      {"assign", {.kind = kAssign}},
      {"add", {.kind = kAdd}},
      {"sgd", {.kind = kSgd, .learning_rate = 0.1}},
      {"sgd_l2", {.kind = kSgd, .learning_rate = 0.01, .l2 = 0.1}},
      {"adagrad", {.kind = kAdagrad, .learning_rate = 0.1, .epsilon = 1e-10}},
      {"adagrad_l2", {.kind = kAdagrad, .learning_rate = 0.05, .l2 = 0.01, .initial_accumulator = 0.1}},
      {"adam", {.kind = kAdam, .learning_rate = 0.001}},
      {"adam_l2", {.kind = kAdam, .learning_rate = 0.01, .l2 = 0.01}},
      {"momentum", {.kind = kMomentum, .learning_rate = 0.01}},
      {"momentum_l2", {.kind = kMomentum, .learning_rate = 0.01, .l2 = 0.1, .momentum = 0.5}},
      {"nesterov", {.kind = kNesterov, .learning_rate = 0.01, .l2 = 0.01}},
      {"rmsprop", {.kind = kRmsprop, .learning_rate = 0.001, .l2 = 0.01, .beta2 = 0.99}},
      {"adamw", {.kind = kAdamw, .learning_rate = 0.01, .l2 = 0.1}},
      {"adamw_small_decay", {.kind = kAdamw, .learning_rate = 0.001, .l2 = 0.001}},
      {"lamb", {.kind = kLamb, .learning_rate = 0.002, .l2 = 0.01, .epsilon = 1e-6}},
      {"adagrad_row", {.kind = kAdagradRow, .learning_rate = 0.05, .l2 = 0.01, .initial_accumulator = 0.1}},
      {"adam_row", {.kind = kAdamRow, .learning_rate = 0.01, .l2 = 0.01}},
      {"sgd_clip_value", {.kind = kSgd, .learning_rate = 0.1, .clip_value = 0.7}},
      {"adam_clip_norm", {.kind = kAdam, .learning_rate = 0.01, .clip_norm = 4}},
      {"lamb_clip", {.kind = kLamb, .learning_rate = 0.002, .clip_value = 1, .clip_norm = 3}},
      {"ftrl_clip", {.kind = kFtrl, .learning_rate = 0.1, .l1 = 0.1, .clip_value = 1, .clip_norm = 3}},
      {"ftrl", {.kind = kFtrl, .learning_rate = 0.1}},
      {"ftrl_l1_l2", {.kind = kFtrl, .learning_rate = 0.5, .l1 = 1, .l2 = 1, .beta = 1}},
  };
  std::vector<Case> cases;
  for (const auto& [name, parameters] : kinds) {
    cases.push_back({name + "_dense", parameters, 0, 0});
    cases.push_back({name + "_dense_biased", parameters, 0.5, 0});
    cases.push_back({name + "_sparse", parameters, 0.1, 0.9});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, OptimizerTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

constexpr OptimizerKind kAllKinds[] = {
    OptimizerKind::kAssign,  OptimizerKind::kAdd,   OptimizerKind::kSgd,      OptimizerKind::kAdagrad,
    OptimizerKind::kAdam,    OptimizerKind::kFtrl,  OptimizerKind::kMomentum, OptimizerKind::kNesterov,
    OptimizerKind::kRmsprop, OptimizerKind::kAdamw, OptimizerKind::kLamb,     OptimizerKind::kAdagradRow,
    OptimizerKind::kAdamRow,
};

TEST(OptimizerEdgeTest, FtrlKeepsSmallWeightsAtExactlyZero) {
  Optimizer optimizer({.kind = OptimizerKind::kFtrl, .learning_rate = 0.1f, .l1 = 1});
  float w = 0, slots[2] = {0, 0};
  const float small = 0.6f;
  optimizer.Apply(1, 0, &small, 1, &w, slots);
  EXPECT_EQ(w, 0);
  optimizer.Apply(2, 0, &small, 1, &w, slots);
  EXPECT_LT(w, 0) << "|z| is 1.2 now";
}

TEST(OptimizerEdgeTest, ZeroGradientsMakeNoNaN) {
  for (const auto kind : kAllKinds) {
    if (kind == OptimizerKind::kAssign) continue;
    Optimizer optimizer({.kind = kind, .learning_rate = 0.1f, .epsilon = 0, .beta = 0, .clip_norm = 1});
    std::vector<float> w(5, 0), slots(10, 0), g(5, 0);
    optimizer.Apply(1, 0, g.data(), 5, w.data(), slots.data());
    for (const float value : w) EXPECT_EQ(value, 0) << ToString(kind);
    for (const float value : slots) EXPECT_EQ(value, 0) << ToString(kind);
  }
}

// Each value and slot that a row has, as infinity or NaN before the step, and nothing else.
TEST(OptimizerEdgeTest, AStepSaysWhetherItLeavesSomethingThatIsNotFinite) {
  constexpr float kBad[] = {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()};
  for (const auto kind : kAllKinds) {
    for (const uint32_t dim : {1u, 8u, 19u, 33u}) {
      TableSpec spec{.dim = dim, .optimizer = {.kind = kind, .learning_rate = 0.1f}};
      Optimizer optimizer(spec.optimizer);
      std::vector<float> fresh(spec.row_floats(), 0.5f);
      optimizer.InitializeSlots(dim, fresh.data() + dim);
      const std::vector<float> g(dim, 0.25f);
      const auto step = [&](std::vector<float>& row) {
        return optimizer.Apply(1, 0, g.data(), dim, row.data(), row.data() + dim);
      };
      std::vector<float> row = fresh;
      EXPECT_TRUE(step(row)) << ToString(kind) << ", dim " << dim;
      for (size_t i = 0; i < fresh.size(); ++i) {
        for (const float bad : kBad) {
          row = fresh;
          row[i] = bad;
          const bool finite = step(row);
          const bool expected =
              std::all_of(row.begin(), row.end(), [](float value) { return std::isfinite(value); });
          ASSERT_EQ(finite, expected)
              << ToString(kind) << ", dim " << dim << ", float " << i << " was " << bad;
        }
      }
      // Too large for what it is added to.
      row.assign(fresh.size(), 3e38f);
      const std::vector<float> huge(dim, kind == OptimizerKind::kAdd ? 3e38f : -3e38f);
      const bool finite = optimizer.Apply(1, 0, huge.data(), dim, row.data(), row.data() + dim);
      EXPECT_EQ(finite, std::all_of(row.begin(), row.end(), [](float value) { return std::isfinite(value); }))
          << ToString(kind);
    }
  }
}

TEST(OptimizerEdgeTest, AdamsFirstStepsHaveTheLearningRatesSize) {
  Optimizer optimizer({.kind = OptimizerKind::kAdam, .learning_rate = 0.25f});
  float w = 1, slots[2] = {0, 0};
  const float g = 1e-3f;
  optimizer.Apply(1, 0, &g, 1, &w, slots);
  EXPECT_NEAR(w, 0.75f, 1e-5);
}

TEST(OptimizerEdgeTest, AdamsCorrectionIsTheSameWhetherRememberedOrComputed) {
  // Push counts beyond what is remembered, reached directly and by way of the smaller ones.
  for (const uint32_t count : {4095u, 4096u, 4097u, 100'000u, 4'000'000'000u}) {
    Optimizer optimizer({.kind = OptimizerKind::kAdam, .learning_rate = 0.1f});
    float w = 0, slots[2] = {0.5f, 0.25f};
    const float g = 0.5f;
    optimizer.Apply(count, 0, &g, 1, &w, slots);
    const double m = 0.5, v = 0.999 * 0.25 + 0.001 * 0.25;
    const double expected =
        -0.1 * m / (1 - std::pow(0.9, count)) / std::sqrt(v / (1 - std::pow(0.999, count)));
    EXPECT_NEAR(w, expected, 2e-6) << count;
  }
}

TEST(OptimizerEdgeTest, KernelsStayInsideTheirRow) {
  for (const auto kind : kAllKinds) {
    for (uint32_t dim = 1; dim < 40; ++dim) {
      TableSpec spec{.dim = dim, .optimizer = {.kind = kind, .learning_rate = 0.1f}};
      Optimizer optimizer(spec.optimizer);
      std::vector<float> w(dim + 2, 7), slots(spec.slots() + 2, 7), g(dim, 1);
      optimizer.InitializeSlots(dim, slots.data() + 1);
      optimizer.Apply(1, 0, g.data(), dim, w.data() + 1, slots.data() + 1);
      ASSERT_EQ(w.front(), 7);
      ASSERT_EQ(w.back(), 7);
      ASSERT_EQ(slots.front(), 7);
      ASSERT_EQ(slots.back(), 7);
      for (uint32_t i = 1; i <= dim; ++i) ASSERT_NE(w[i], 7) << "element " << i << " was left out";
      for (uint32_t i = 2; i <= dim; ++i) ASSERT_EQ(w[i], w[1]) << "vector and remainder differ";
    }
  }
}

TEST(OptimizerEdgeTest, ClippingLeavesWhatIsWithinItsBounds) {
  Optimizer optimizer(
      {.kind = OptimizerKind::kSgd, .learning_rate = 1, .clip_value = 3.0f, .clip_norm = 5.0f});
  const std::vector<float> inside = {-3, 1, 0.5f};
  std::vector<float> w(3, 0);
  optimizer.Apply(1, 0, inside.data(), 3, w.data(), nullptr);
  EXPECT_THAT(w, ::testing::ElementsAre(3, -1, -0.5f));
  // Cut to (3, -3, 3) first, whose norm is 5.196; huge values do not overflow on the way.
  const std::vector<float> huge = {1e38f, -4, 3};
  std::fill(w.begin(), w.end(), 0.0f);
  optimizer.Apply(2, 0, huge.data(), 3, w.data(), nullptr);
  for (const float value : w) EXPECT_NEAR(std::fabs(value), 5 / std::sqrt(3.0), 1e-6);
  Optimizer by_norm({.kind = OptimizerKind::kSgd, .learning_rate = 1, .clip_norm = 1.0f});
  std::fill(w.begin(), w.end(), 0.0f);
  by_norm.Apply(1, 0, std::vector<float>{2e38f, 0, 0}.data(), 3, w.data(), nullptr);
  EXPECT_FLOAT_EQ(w[0], -1);
}

TEST(OptimizerEdgeTest, LambsFirstStepFromZeroHasNoRatio) {
  Optimizer optimizer({.kind = OptimizerKind::kLamb, .learning_rate = 0.5f});
  float w[2] = {0, 0}, slots[4] = {};
  const float g[2] = {1e-2f, -4};
  optimizer.Apply(1, 0, g, 2, w, slots);
  EXPECT_NEAR(w[0], -0.5, 1e-5);
  EXPECT_NEAR(w[1], 0.5, 1e-5);
  // Now |w| is 0.707 and Adam's step about 1 each: the row moves by lr * |w|.
  const float before[2] = {w[0], w[1]};
  optimizer.Apply(2, 0, g, 2, w, slots);
  EXPECT_NEAR(std::hypot(w[0] - before[0], w[1] - before[1]), 0.5 * std::hypot(before[0], before[1]), 1e-6);
}

TEST(OptimizerEdgeTest, AScheduleGoesByThePushsStepOrTheRowsCount) {
  const ScheduleSpec schedule{
      .kind = ScheduleKind::kStep, .warmup_steps = 4, .decay_steps = 10, .decay_rate = 0.5f};
  Optimizer optimizer({.kind = OptimizerKind::kSgd, .learning_rate = 1}, schedule);
  const float g = -1;
  auto rate = [&](uint32_t push_count, uint64_t step) {
    float w = 0;
    optimizer.Apply(push_count, step, &g, 1, &w, nullptr);
    return w;
  };
  EXPECT_FLOAT_EQ(rate(1, 0), 0.25f);
  EXPECT_FLOAT_EQ(rate(1, 2), 0.5f);
  EXPECT_FLOAT_EQ(rate(2, 0), 0.5f);
  EXPECT_FLOAT_EQ(rate(2, 13), 1);
  EXPECT_FLOAT_EQ(rate(2, 14), 0.5f);
  EXPECT_FLOAT_EQ(rate(24, 0), 0.25f);
  EXPECT_FLOAT_EQ(rate(1, 4), 1);
}

TEST(ScheduleTest, EachKindHasItsPublishedValues) {
  EXPECT_EQ(ScheduleFactor({}, 1), 1);
  EXPECT_EQ(ScheduleFactor({}, UINT64_MAX), 1);
  const ScheduleSpec warm{.warmup_steps = 100};
  EXPECT_DOUBLE_EQ(ScheduleFactor(warm, 1), 0.01);
  EXPECT_DOUBLE_EQ(ScheduleFactor(warm, 100), 1);
  EXPECT_DOUBLE_EQ(ScheduleFactor(warm, 101), 1);
  const ScheduleSpec step{.kind = ScheduleKind::kStep, .decay_steps = 10, .decay_rate = 0.5f};
  EXPECT_DOUBLE_EQ(ScheduleFactor(step, 9), 1);
  EXPECT_DOUBLE_EQ(ScheduleFactor(step, 10), 0.5);
  EXPECT_DOUBLE_EQ(ScheduleFactor(step, 35), 0.125);
  const ScheduleSpec cosine{
      .kind = ScheduleKind::kCosine, .warmup_steps = 10, .decay_steps = 100, .minimum = 0.25f};
  EXPECT_DOUBLE_EQ(ScheduleFactor(cosine, 5), 0.5);
  EXPECT_DOUBLE_EQ(ScheduleFactor(cosine, 60), 0.625) << "half way";
  EXPECT_NEAR(ScheduleFactor(cosine, 35), 0.25 + 0.75 * (1 + std::sqrt(0.5)) / 2, 1e-12);
  EXPECT_DOUBLE_EQ(ScheduleFactor(cosine, 110), 0.25);
  EXPECT_DOUBLE_EQ(ScheduleFactor(cosine, 100000), 0.25);
  const ScheduleSpec root{.kind = ScheduleKind::kInverseSqrt, .warmup_steps = 10, .decay_steps = 10};
  EXPECT_DOUBLE_EQ(ScheduleFactor(root, 10), 1);
  EXPECT_DOUBLE_EQ(ScheduleFactor(root, 40), 0.5);
  EXPECT_DOUBLE_EQ(ScheduleFactor(root, 160), 0.25);
}

TEST(CountNonFiniteTest, CountsNaNAndBothInfinities) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> values(1003, std::numeric_limits<float>::max());
  values[1] = std::numeric_limits<float>::lowest();
  values[2] = std::numeric_limits<float>::denorm_min();
  values[3] = -0.0f;
  EXPECT_EQ(CountNonFinite(values.data(), values.size()), 0u);
  values[0] = nan;
  values[500] = -inf;
  values[1002] = inf;
  values[1001] = -nan;
  EXPECT_EQ(CountNonFinite(values.data(), values.size()), 4u);
  EXPECT_EQ(CountNonFinite(values.data(), 0), 0u);
  std::vector<float> large((size_t{1} << 20) + 5, 1);
  large.back() = nan;
  EXPECT_EQ(CountNonFinite(large.data(), large.size()), 1u);
}

}  // namespace
}  // namespace penstock
