// Gradients of every built-in model against finite differences of its own loss, and against closed forms.
#include <algorithm>
#include <cmath>

#include "tests/unit/model/model_fixture.h"

namespace penstock {
namespace {

class Gradients : public ModelTest {
 protected:
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

  void CheckLinear(const LinearCase& c, bool dense) {
    const Batch batch = RandomBatch(dense, 15, 20, c.loss, c.classes);
    Model model = Linear(c, 20, 40);
    PreparedBatch prepared;
    model.Prepare(batch, Purpose::kTrain, &prepared);
    auto values = RandomValues(model, prepared);
    for (auto& v : values[0]) v += v > 0 ? 0.1f : -0.1f;  // away from the kink of |w|
    const size_t regularized = (prepared.keys[0].size() - c.bias) * model.outputs();
    CheckAgainstDifferences(&model, batch, prepared, values, 10000, [&](const auto& w) {
      TableGradients unused;
      double f = model.Compute(batch, prepared, Spans(w), &unused) / static_cast<double>(batch.rows);
      for (size_t i = 0; i < regularized; ++i) {
        f += (c.l2 / 2 * w[0][i] * w[0][i] + c.l1 * std::abs(w[0][i])) / 40;
      }
      return f;
    });
  }

  void CheckFactorization(const Batch& batch, LossKind loss) {
    constexpr double kL2 = 3, kFactorL2 = 5;
    Model model = Sum(
        {.loss = loss, .constant = 0.3f},
        LinearPart({.regularizer = {.l2 = kL2, .examples = 40}, .table = Named("job/weights")}),
        FactorPart(
            {.factors = 3, .regularizer = {.l2 = kFactorL2, .examples = 40}, .table = Named("job/factors")}));
    PreparedBatch prepared;
    model.Prepare(batch, Purpose::kTrain, &prepared);
    CheckAgainstDifferences(
        &model, batch, prepared, RandomValues(model, prepared), 10000, [&](const auto& w) {
          TableGradients unused;
          double f = model.Compute(batch, prepared, Spans(w), &unused) / static_cast<double>(batch.rows);
          for (size_t i = 0; i + 1 < w[0].size(); ++i) f += kL2 / 80 * w[0][i] * w[0][i];
          for (const float v : w[1]) f += kFactorL2 / 80 * v * v;
          return f;
        });
  }

  void CheckUnregularized(Model model, const Batch& batch, size_t checks) {
    PreparedBatch prepared;
    model.Prepare(batch, Purpose::kTrain, &prepared);
    CheckAgainstDifferences(
        &model, batch, prepared, RandomValues(model, prepared), checks, [&](const auto& w) {
          TableGradients unused;
          return model.Compute(batch, prepared, Spans(w), &unused) / static_cast<double>(batch.rows);
        });
  }

  void CheckDeep(const std::vector<uint32_t>& widths, Activation activation, LossKind loss, bool dense) {
    CheckUnregularized(Deep(widths, activation, loss),
                       RandomBatch(dense, 9, widths.front(), loss, widths.back()), 1500);
  }
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

TEST_F(Gradients, HingeSparse) { CheckLinear({.loss = LossKind::kHinge}, false); }
TEST_F(Gradients, HingeDense) { CheckLinear({.loss = LossKind::kHinge, .l2 = 2}, true); }

TEST_F(Gradients, ByExampleRegularisesOnceForEveryExample) {
  for (const bool dense : {false, true}) {
    constexpr double kL2 = 0.4;
    const Batch batch = RandomBatch(dense, 15, 6, LossKind::kSquared, 2);
    Model model =
        Sum({.loss = LossKind::kSquared, .rule = RegularizerRule::kByExample, .examples = 40},
            LinearPart(
                {.bias = false, .regularizer = {.l2 = kL2, .examples = 40}, .table = Named("job/weights")}));
    PreparedBatch prepared;
    model.Prepare(batch, Purpose::kTrain, &prepared);
    std::vector<double> occurs(prepared.keys[0].size(), dense ? 15 : 0);
    if (!dense) {
      for (const uint32_t position : prepared.features.positions) ++occurs[position];
    }
    CheckAgainstDifferences(&model, batch, prepared, RandomValues(model, prepared), 100, [&](const auto& w) {
      TableGradients unused;
      double f = model.Compute(batch, prepared, Spans(w), &unused);
      for (size_t i = 0; i < occurs.size(); ++i) f += occurs[i] * kL2 / 2 * w[0][i] * w[0][i];
      return f / 15;
    });
    EXPECT_FALSE(model.objective().known);
  }
}

TEST_F(Gradients, LinearOnColumns) {
  CheckUnregularized(Linear({}, 0, 1), RandomColumns(11, 3, 2, LossKind::kLogistic), 10000);
}

TEST_F(Gradients, FactorizationOnSparseData) {
  CheckFactorization(RandomBatch(false, 15, 20, LossKind::kLogistic, 2), LossKind::kLogistic);
}
TEST_F(Gradients, FactorizationOnColumns) {
  CheckFactorization(RandomColumns(12, 3, 2, LossKind::kSquared), LossKind::kSquared);
}
TEST_F(Gradients, FactorizationOnAMatrix) {
  CheckFactorization(RandomBatch(true, 12, 6, LossKind::kSquared, 2), LossKind::kSquared);
}

TEST_F(Gradients, DeepOnColumns) {
  for (const bool mean : {true, false}) {
    CheckUnregularized(Sum({.loss = LossKind::kSquared}, DeepPart({.features = 3,
                                                                   .hidden = {7},
                                                                   .activation = Activation::kTanh,
                                                                   .fields = 2,
                                                                   .embedding_dim = 4,
                                                                   .mean = mean,
                                                                   .table = Named("job")})),
                       RandomColumns(9, 3, 2, LossKind::kSquared), 400);
  }
}

TEST_F(Gradients, WideAndDeepOnCategoriesAlone) {
  CheckUnregularized(Sum({.loss = LossKind::kLogistic},
                         DeepPart({.hidden = {5},
                                   .activation = Activation::kTanh,
                                   .fields = 3,
                                   .embedding_dim = 2,
                                   .table = Named("job")}),
                         LinearPart({.table = Named("job/weights")})),
                     RandomColumns(9, 0, 3, LossKind::kLogistic), 400);
}

TEST_F(Gradients, DeepSoftmax) { CheckDeep({12, 8, 5}, Activation::kTanh, LossKind::kSoftmax, true); }
TEST_F(Gradients, DeepLogistic) { CheckDeep({12, 8, 6, 1}, Activation::kTanh, LossKind::kLogistic, true); }
TEST_F(Gradients, DeepSquared) { CheckDeep({12, 8, 1}, Activation::kTanh, LossKind::kSquared, true); }
TEST_F(Gradients, DeepOnSparseData) { CheckDeep({12, 8, 3}, Activation::kTanh, LossKind::kSoftmax, false); }
TEST_F(Gradients, DeepOfSeveralRowsALayer) {
  CheckDeep({60, 40, 3}, Activation::kTanh, LossKind::kSoftmax, true);
}

TEST_F(Gradients, DeepRelu) {
  // The loss has kinks where a hidden unit is about 0; shifted weights keep every unit clearly on one side.
  Model model = Deep({6, 5, 3}, Activation::kRelu, LossKind::kSoftmax);
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
  Model model = Linear({.bias = true}, 8, 50);
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
      s += static_cast<double>(batch.values[i]) * values[0][prepared.features.positions[i]];
    }
    const double y = batch.labels[row] == 1 ? 1 : -1;
    expected_loss += std::log1p(std::exp(-y * s));
    const double delta = -y / (1 + std::exp(y * s)) / 50;
    for (size_t i = batch.row_offsets[row]; i < batch.row_offsets[row + 1]; ++i) {
      expected[prepared.features.positions[i]] += delta * batch.values[i];
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
  Model model = Linear({.bias = false, .l2 = 2, .l2_all = true}, kFeatures, 60);
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

}  // namespace
}  // namespace penstock
