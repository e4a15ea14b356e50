// Each optimizer against the same recurrence in float64 over 1,000 steps, and the edges of each.
#include "server/shard/optimizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#include "server/shard/optimizer_kernels.h"

namespace penstock {
namespace {

// Parameters as a user writes them, in decimal: the spec rounds them to float, the reference does not.
struct Parameters {
  OptimizerKind kind;
  double learning_rate = 0.01, l1 = 0, l2 = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, beta = 1,
         initial_accumulator = 0;

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
                      .initial_accumulator = static_cast<float>(initial_accumulator)};
    return spec;
  }
};

// One element in double, written from the published definitions.
struct Reference {
  double w = 0, a = 0, b = 0;
  int t = 0;

  void Step(const Parameters& p, double g) {
    ++t;
    switch (p.kind) {
      case OptimizerKind::kAssign:
        w = g;
        return;
      case OptimizerKind::kAdd:
        w += g;
        return;
      case OptimizerKind::kSgd:
        w -= p.learning_rate * (g + p.l2 * w);
        return;
      case OptimizerKind::kAdagrad:
        g += p.l2 * w;
        a += g * g;
        w -= p.learning_rate * g / (std::sqrt(a) + p.epsilon);
        return;
      case OptimizerKind::kAdam:
        g += p.l2 * w;
        a = p.beta1 * a + (1 - p.beta1) * g;
        b = p.beta2 * b + (1 - p.beta2) * g * g;
        w -= p.learning_rate * (a / (1 - std::pow(p.beta1, t))) /
             (std::sqrt(b / (1 - std::pow(p.beta2, t))) + p.epsilon);
        return;
      case OptimizerKind::kFtrl: {
        const double sigma = (std::sqrt(b + g * g) - std::sqrt(b)) / p.learning_rate;
        a += g - sigma * w;
        b += g * g;
        const double sign = a > 0 ? 1 : -1;
        w = std::fabs(a) <= p.l1 ? 0
                                 : -(a - sign * p.l1) / ((p.beta + std::sqrt(b)) / p.learning_rate + p.l2);
      }
    }
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
    std::vector<Reference> reference(kRows * kDim);
    for (uint32_t row = 0; row < kRows; ++row) {
      for (uint32_t i = 0; i < kDim; ++i) {
        const float initial = p.kind == OptimizerKind::kFtrl ? 0 : 0.1f * normal(random);
        state[row * floats + i] = initial;
        reference[row * kDim + i].w = initial;
        reference[row * kDim + i].a = p.kind == OptimizerKind::kAdagrad ? p.initial_accumulator : 0;
      }
      optimizer.InitializeSlots(kDim, &state[row * floats + kDim]);
    }
    for (int step = 0; step < 1000; ++step) {
      for (uint32_t row = 0; row < kRows; ++row) {
        if (std::uniform_real_distribution<>()(random) < sparsity) continue;
        float gradient[kDim];
        for (uint32_t i = 0; i < kDim; ++i) {
          gradient[i] = static_cast<float>(bias) + normal(random);
          reference[row * kDim + i].Step(p, gradient[i]);
        }
        optimizer.Apply(++pushes[row], gradient, kDim, &state[row * floats], &state[row * floats + kDim]);
      }
    }
    double error = 0, largest = 0;
    for (uint32_t row = 0; row < kRows; ++row) {
      for (uint32_t i = 0; i < kDim; ++i) {
        const double expected = reference[row * kDim + i].w;
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

TEST(OptimizerEdgeTest, FtrlKeepsSmallWeightsAtExactlyZero) {
  Optimizer optimizer({.kind = OptimizerKind::kFtrl, .learning_rate = 0.1f, .l1 = 1});
  float w = 0, slots[2] = {0, 0};
  const float small = 0.6f;
  optimizer.Apply(1, &small, 1, &w, slots);
  EXPECT_EQ(w, 0);
  optimizer.Apply(2, &small, 1, &w, slots);
  EXPECT_LT(w, 0) << "|z| is 1.2 now";
}

TEST(OptimizerEdgeTest, ZeroGradientsMakeNoNaN) {
  for (const auto kind : {OptimizerKind::kAdagrad, OptimizerKind::kAdam, OptimizerKind::kFtrl}) {
    Optimizer optimizer({.kind = kind, .learning_rate = 0.1f, .epsilon = 0, .beta = 0});
    std::vector<float> w(5, 0), slots(10, 0), g(5, 0);
    optimizer.Apply(1, g.data(), 5, w.data(), slots.data());
    for (const float value : w) EXPECT_EQ(value, 0) << ToString(kind);
    for (const float value : slots) EXPECT_EQ(value, 0) << ToString(kind);
  }
}

TEST(OptimizerEdgeTest, AdamsFirstStepsHaveTheLearningRatesSize) {
  Optimizer optimizer({.kind = OptimizerKind::kAdam, .learning_rate = 0.25f});
  float w = 1, slots[2] = {0, 0};
  const float g = 1e-3f;
  optimizer.Apply(1, &g, 1, &w, slots);
  EXPECT_NEAR(w, 0.75f, 1e-5);
}

TEST(OptimizerEdgeTest, AdamsCorrectionIsTheSameWhetherRememberedOrComputed) {
  // Push counts beyond what is remembered, reached directly and by way of the smaller ones.
  for (const uint32_t count : {4095u, 4096u, 4097u, 100'000u, 4'000'000'000u}) {
    Optimizer optimizer({.kind = OptimizerKind::kAdam, .learning_rate = 0.1f});
    float w = 0, slots[2] = {0.5f, 0.25f};
    const float g = 0.5f;
    optimizer.Apply(count, &g, 1, &w, slots);
    const double m = 0.5, v = 0.999 * 0.25 + 0.001 * 0.25;
    const double expected =
        -0.1 * m / (1 - std::pow(0.9, count)) / std::sqrt(v / (1 - std::pow(0.999, count)));
    EXPECT_NEAR(w, expected, 2e-6) << count;
  }
}

TEST(OptimizerEdgeTest, KernelsStayInsideTheirRow) {
  for (const auto kind : {OptimizerKind::kAssign, OptimizerKind::kAdd, OptimizerKind::kSgd,
                          OptimizerKind::kAdagrad, OptimizerKind::kAdam, OptimizerKind::kFtrl}) {
    for (uint32_t dim = 1; dim < 40; ++dim) {
      Optimizer optimizer({.kind = kind, .learning_rate = 0.1f});
      std::vector<float> w(dim + 2, 7), slots(2 * dim + 2, 7), g(dim, 1);
      optimizer.InitializeSlots(dim, slots.data() + 1);
      optimizer.Apply(1, g.data(), dim, w.data() + 1, slots.data() + 1);
      ASSERT_EQ(w.front(), 7);
      ASSERT_EQ(w.back(), 7);
      ASSERT_EQ(slots.front(), 7);
      ASSERT_EQ(slots.back(), 7);
      for (uint32_t i = 1; i <= dim; ++i) ASSERT_NE(w[i], 7) << "element " << i << " was left out";
      for (uint32_t i = 2; i <= dim; ++i) ASSERT_EQ(w[i], w[1]) << "vector and remainder differ";
    }
  }
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
