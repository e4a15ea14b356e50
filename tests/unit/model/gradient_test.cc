// Gradients of every built-in model against finite differences of its own loss, and against closed forms.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "model/deep.h"
#include "model/linear.h"

namespace penstock {
namespace {

constexpr uint32_t kSeed = 17;

TableSpec Named(const char* name) {
  TableSpec table;
  table.name = name;
  table.seed = 1;
  return table;
}

class Gradients : public testing::Test {
 protected:
  float Uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(random_); }

  float RandomLabel(LossKind loss, uint32_t classes) {
    if (loss == LossKind::kSquared) return Uniform(-2, 2);
    return static_cast<float>(random_() % (loss == LossKind::kSoftmax ? classes : 2));
  }

  Batch RandomBatch(bool dense, size_t rows, uint32_t features, LossKind loss, uint32_t classes) {
    Batch batch;
    batch.rows = rows;
    batch.dense = dense;
    batch.dim = dense ? features : 0;
    batch.row_offsets.push_back(0);
    for (size_t row = 0; row < rows; ++row) {
      batch.labels.push_back(RandomLabel(loss, classes));
      for (uint32_t f = 0; f < features; ++f) {
        if (dense) {
          batch.features.push_back(Uniform(-1, 1));
        } else if (random_() % 3 == 0) {
          batch.ids.push_back(f);
          batch.values.push_back(Uniform(-1, 1));
        }
      }
      batch.row_offsets.push_back(batch.ids.size());
    }
    return batch;
  }

  std::vector<std::vector<float>> RandomValues(const Model& model, const PreparedBatch& prepared) {
    std::vector<std::vector<float>> values;
    for (size_t t = 0; t < prepared.keys.size(); ++t) {
      values.emplace_back(prepared.keys[t].size() * model.Tables()[t].dim);
      for (float& v : values.back()) v = Uniform(-0.5f, 0.5f);
    }
    return values;
  }

  static TableValues Spans(const std::vector<std::vector<float>>& values) {
    return TableValues(values.begin(), values.end());
  }

  // d of `objective` (a mean over the batch, as a function of the values) must be what Compute says, at up to
  // `checks` places of each table.
  template <typename Objective>
  void CheckAgainstDifferences(Model* model, const Batch& batch, const PreparedBatch& prepared,
                               std::vector<std::vector<float>> values, size_t checks,
                               const Objective& objective) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed);
    TableGradients gradients;
    model->Compute(batch, prepared, Spans(values), &gradients);
    for (size_t t = 0; t < values.size(); ++t) {
      ASSERT_EQ(gradients[t].size(), values[t].size());
      for (size_t check = 0; check < std::min(checks, values[t].size()); ++check) {
        const size_t i = checks >= values[t].size() ? check : random_() % values[t].size();
        const float original = values[t][i];
        auto at = [&](float step) {
          values[t][i] = original + step;
          const double f = objective(values);
          values[t][i] = original;
          return f;
        };
        constexpr float h = 1e-2f;  // five-point rule: the error is of order h^4
        const double difference = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
        ASSERT_NEAR(gradients[t][i], difference, 2e-4) << "table " << t << " element " << i;
      }
    }
  }

  void CheckLinear(LinearOptions options, bool dense) {
    options.shape = {.dense = dense, .features = 20, .training_examples = 40};
    const Batch batch = RandomBatch(dense, 15, 20, options.loss, options.classes);
    LinearModel model(options);
    PreparedBatch prepared;
    model.Prepare(batch, Purpose::kTrain, &prepared);
    auto values = RandomValues(model, prepared);
    for (auto& v : values[0]) v += v > 0 ? 0.1f : -0.1f;  // away from the kink of |w|
    const size_t regularized = (prepared.keys[0].size() - options.bias) * model.outputs();
    CheckAgainstDifferences(&model, batch, prepared, values, 10000, [&](const auto& w) {
      TableGradients unused;
      double f = model.Compute(batch, prepared, Spans(w), &unused) / static_cast<double>(batch.rows);
      for (size_t i = 0; i < regularized; ++i) {
        f += (options.l2 / 2 * w[0][i] * w[0][i] + options.l1 * std::abs(w[0][i])) / 40;
      }
      return f;
    });
  }

  void CheckDeep(std::vector<uint32_t> widths, Activation activation, LossKind loss, bool dense) {
    DeepModel model({.widths = widths, .activation = activation, .loss = loss, .table = Named("job")});
    const Batch batch = RandomBatch(dense, 9, widths.front(), loss, widths.back());
    PreparedBatch prepared;
    model.Prepare(batch, Purpose::kTrain, &prepared);
    CheckAgainstDifferences(&model, batch, prepared, RandomValues(model, prepared), 1500, [&](const auto& w) {
      TableGradients unused;
      return model.Compute(batch, prepared, Spans(w), &unused) / static_cast<double>(batch.rows);
    });
  }

  std::mt19937 random_{kSeed};
};

TEST_F(Gradients, LogisticSparse) { CheckLinear({.loss = LossKind::kLogistic}, false); }
TEST_F(Gradients, LogisticDense) { CheckLinear({.loss = LossKind::kLogistic}, true); }
TEST_F(Gradients, LogisticWithoutBias) { CheckLinear({.loss = LossKind::kLogistic, .bias = false}, false); }
TEST_F(Gradients, LogisticRegularized) {
  CheckLinear({.loss = LossKind::kLogistic, .l1 = 3, .l2 = 5}, false);
}
TEST_F(Gradients, LogisticRegularizedOnAllRows) {
  CheckLinear({.loss = LossKind::kLogistic, .l1 = 3, .l2 = 5, .l2_all = true}, false);
}
TEST_F(Gradients, SoftmaxSparse) { CheckLinear({.loss = LossKind::kSoftmax, .classes = 4, .l2 = 1}, false); }
TEST_F(Gradients, SoftmaxDense) { CheckLinear({.loss = LossKind::kSoftmax, .classes = 4}, true); }
TEST_F(Gradients, SquaredSparse) { CheckLinear({.loss = LossKind::kSquared}, false); }
TEST_F(Gradients, SquaredDense) { CheckLinear({.loss = LossKind::kSquared, .bias = false}, true); }

TEST_F(Gradients, DeepSoftmax) { CheckDeep({12, 8, 5}, Activation::kTanh, LossKind::kSoftmax, true); }
TEST_F(Gradients, DeepLogistic) { CheckDeep({12, 8, 6, 1}, Activation::kTanh, LossKind::kLogistic, true); }
TEST_F(Gradients, DeepSquared) { CheckDeep({12, 8, 1}, Activation::kTanh, LossKind::kSquared, true); }
TEST_F(Gradients, DeepOnSparseData) { CheckDeep({12, 8, 3}, Activation::kTanh, LossKind::kSoftmax, false); }
TEST_F(Gradients, DeepOfSeveralRowsALayer) {
  CheckDeep({60, 40, 3}, Activation::kTanh, LossKind::kSoftmax, true);
}

TEST_F(Gradients, DeepRelu) {
  // The loss has kinks where a hidden unit is about 0; shifted weights keep every unit clearly on one side.
  DeepModel model({.widths = {6, 5, 3}, .activation = Activation::kRelu, .table = Named("job")});
  const Batch batch = RandomBatch(true, 4, 6, LossKind::kSoftmax, 3);
  PreparedBatch prepared;
  model.Prepare(batch, Purpose::kTrain, &prepared);
  auto values = RandomValues(model, prepared);
  for (size_t j = 0; j < 5; ++j) values[0][6 * 5 + j] = j % 2 == 0 ? 4.0f : -4.0f;
  CheckAgainstDifferences(&model, batch, prepared, values, 10000, [&](const auto& w) {
    TableGradients unused;
    return model.Compute(batch, prepared, Spans(w), &unused) / 4.0;
  });
}

TEST_F(Gradients, LogisticIsTheClosedForm) {
  Batch batch = RandomBatch(false, 50, 8, LossKind::kLogistic, 2);
  LinearModel model({.bias = true});
  PreparedBatch prepared;
  model.Prepare(batch, Purpose::kTrain, &prepared);
  const auto values = RandomValues(model, prepared);
  TableGradients gradients;
  const double loss = model.Compute(batch, prepared, Spans(values), &gradients);

  std::vector<double> expected(values[0].size());
  double expected_loss = 0;
  const size_t bias = values[0].size() - 1;
  for (size_t row = 0; row < batch.rows; ++row) {
    double s = values[0][bias];
    for (size_t i = batch.row_offsets[row]; i < batch.row_offsets[row + 1]; ++i) {
      s += static_cast<double>(batch.values[i]) * values[0][prepared.positions[i]];
    }
    const double y = batch.labels[row] == 1 ? 1 : -1;
    expected_loss += std::log1p(std::exp(-y * s));
    const double delta = -y / (1 + std::exp(y * s)) / 50;
    for (size_t i = batch.row_offsets[row]; i < batch.row_offsets[row + 1]; ++i) {
      expected[prepared.positions[i]] += delta * batch.values[i];
    }
    expected[bias] += delta;
  }
  EXPECT_NEAR(loss, expected_loss, 1e-5);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(gradients[0][i], expected[i], 1e-6) << i;
}

// The mean of the minibatch gradients of one pass at fixed weights is grad F / N, though no minibatch touches
// all rows.
TEST_F(Gradients, WithL2AllAPassAveragesToTheExactGradient) {
  constexpr uint32_t kFeatures = 30;
  const LinearOptions options{
      .bias = false, .l2 = 2, .l2_all = true, .shape = {.features = kFeatures, .training_examples = 60}};
  LinearModel model(options);
  Batch all = RandomBatch(false, 60, kFeatures, LossKind::kLogistic, 2);
  std::vector<float> w(kFeatures);
  for (float& v : w) v = Uniform(-1, 1);

  PreparedBatch prepared;
  TableGradients gradients;
  model.Prepare(all, Purpose::kTrain, &prepared);
  model.Compute(all, prepared, {w}, &gradients);
  const std::vector<float> exact = gradients[0];
  ASSERT_EQ(exact.size(), kFeatures);

  std::vector<double> sum(kFeatures);
  for (size_t first = 0; first < 60; first += 6) {
    Batch part;
    part.rows = 6;
    part.row_offsets.push_back(0);
    for (size_t row = first; row < first + 6; ++row) {
      part.labels.push_back(all.labels[row]);
      for (size_t i = all.row_offsets[row]; i < all.row_offsets[row + 1]; ++i) {
        part.ids.push_back(all.ids[i]);
        part.values.push_back(all.values[i]);
      }
      part.row_offsets.push_back(part.ids.size());
    }
    model.Prepare(part, Purpose::kTrain, &prepared);
    ASSERT_EQ(prepared.keys[0].size(), kFeatures);
    model.Compute(part, prepared, {w}, &gradients);
    for (size_t f = 0; f < kFeatures; ++f) sum[f] += gradients[0][f];
  }
  for (size_t f = 0; f < kFeatures; ++f) EXPECT_NEAR(sum[f] / 10, exact[f], 1e-6) << f;
}

TEST_F(Gradients, EvaluationPullsOnlyWhatTheBatchNeeds) {
  LinearModel model(
      {.bias = true, .l2 = 1, .l2_all = true, .shape = {.features = 100, .training_examples = 1}});
  Batch batch;
  batch.rows = 1;
  batch.row_offsets = {0, 2};
  batch.ids = {3, 90};
  batch.values = {1, 1};
  batch.labels = {1};
  PreparedBatch prepared;
  model.Prepare(batch, Purpose::kEvaluate, &prepared);
  EXPECT_EQ(prepared.keys[0], (std::vector<Key>{3, 90, kBiasKey}));
  model.Prepare(batch, Purpose::kTrain, &prepared);
  EXPECT_EQ(prepared.keys[0].size(), 101u);
}

TEST_F(Gradients, PaddingOfTheLastRowGetsNone) {
  DeepModel model({.widths = {10, 4, 2}, .table = Named("job")});
  const Batch batch = RandomBatch(true, 5, 10, LossKind::kSoftmax, 2);
  PreparedBatch prepared;
  model.Prepare(batch, Purpose::kTrain, &prepared);
  ASSERT_EQ(prepared.keys.size(), 2u);
  EXPECT_EQ(prepared.keys[0], (std::vector<Key>{0}));
  auto values = RandomValues(model, prepared);
  TableGradients gradients{std::vector<float>(1024, 9), std::vector<float>(1024, 9)};
  model.Compute(batch, prepared, Spans(values), &gradients);
  for (size_t i = 44; i < 1024; ++i) ASSERT_EQ(gradients[0][i], 0) << i;
  for (size_t i = 10; i < 1024; ++i) ASSERT_EQ(gradients[1][i], 0) << i;
}

TEST_F(Gradients, DeepTablesStartAsPyTorchsLinear) {
  DeepModel model({.widths = {784, 128, 10}, .table = Named("mnist")});
  ASSERT_EQ(model.Tables().size(), 2u);
  const TableSpec& first = model.Tables()[0];
  EXPECT_EQ(first.name, "mnist/layer1");
  EXPECT_EQ(first.dense_size, 784u * 128 + 128);
  EXPECT_EQ(first.initializer.kind, InitializerKind::kUniform);
  EXPECT_FLOAT_EQ(first.initializer.high, 1 / 28.0f);
  EXPECT_FLOAT_EQ(first.initializer.low, -1 / 28.0f);
  EXPECT_NE(first.seed, model.Tables()[1].seed);
  for (const TableSpec& table : model.Tables())
    EXPECT_TRUE(table.Validate().ok()) << table.Validate().ToString();
}

}  // namespace
}  // namespace penstock
