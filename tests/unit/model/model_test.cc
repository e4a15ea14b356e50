// Models against computations by hand: scores, weights of examples and classes, which rows are pulled and
// stepped.
#include <map>

#include "tests/unit/model/model_fixture.h"

namespace penstock {
namespace {

using Models = ModelTest;

TEST_F(Models, HingeIsTheMarginThatIsMissing) {
  const std::vector<float> scores{2, 0.25f, -0.5f, -3}, labels{1, 1, 0, 1};
  std::vector<float> deltas(4);
  EXPECT_DOUBLE_EQ(LossAndDeltas(LossKind::kHinge, labels, {}, 1, scores.data(), 2, deltas.data()),
                   0 + 0.75 + 0.5 + 4);
  EXPECT_EQ(deltas, (std::vector<float>{0, -2, 2, -2}));
}

TEST_F(Models, ClassWeightsMultiplyThoseOfExamples) {
  for (const LossKind loss : {LossKind::kLogistic, LossKind::kHinge, LossKind::kSoftmax}) {
    Batch batch = RandomBatch(false, 9, 8, loss, 3);
    for (size_t row = 0; row < 9; ++row) batch.weights.push_back(Uniform(0, 2));
    Batch plain = batch;
    const std::vector<float> of_classes{0.5f, 3, 2};
    for (size_t row = 0; row < 9; ++row)
      plain.weights[row] *= of_classes[static_cast<size_t>(batch.labels[row])];
    const ModelOptions options{.loss = loss, .classes = 3};
    ModelOptions weighted = options;
    weighted.class_weights = of_classes;
    const LinearOptions linear{.outputs = options.outputs(), .table = Named("job/weights")};
    Model model = Sum(weighted, LinearPart(linear)), other = Sum(options, LinearPart(linear));
    PreparedBatch prepared;
    model.Prepare(batch, Purpose::kTrain, &prepared);
    const auto values = RandomValues(model, prepared);
    TableGradients got, want;
    EXPECT_EQ(model.Compute(batch, prepared, Spans(values), &got),
              other.Compute(plain, prepared, Spans(values), &want));
    EXPECT_EQ(got, want);
    EXPECT_FALSE(model.objective().known);
    EXPECT_TRUE(other.objective().known);
  }
}

// Features occur in 1 to 10 of 10 minibatches; after some passes every row was regularised by about as much
// as with all rows at every minibatch.
TEST_F(Models, ScaledRegularisesRareFeaturesAsMuchAsAll) {
  constexpr uint64_t kExamples = 10;
  constexpr double kL2 = 2;
  Model model = Sum({.loss = LossKind::kSquared,
                     .rule = RegularizerRule::kScaled,
                     .features = 10,
                     .examples = kExamples,
                     .counts = Named("job/counts")},
                    LinearPart({.bias = false,
                                .regularizer = {.l2 = kL2, .examples = kExamples},
                                .features = 10,
                                .table = Named("job/weights")}));
  ASSERT_EQ(model.Tables().size(), 2u);
  EXPECT_EQ(model.Tables()[1].optimizer.kind, OptimizerKind::kAdd);
  EXPECT_EQ(model.RegularizedRows(1), 0u);
  std::map<Key, float> counts;
  std::map<Key, double> regularised;
  constexpr int kPasses = 50;
  PreparedBatch prepared;
  TableGradients gradients;
  for (int pass = 0; pass < kPasses; ++pass) {
    for (uint64_t k = 0; k < kExamples; ++k) {
      Batch batch;  // of one example, which has the features k .. 9 with value 0: no loss but the label's
      batch.rows = 1;
      batch.labels = {0};
      for (uint64_t f = k; f < 10; ++f) {
        batch.ids.push_back(f);
        batch.values.push_back(0);
      }
      batch.row_offsets = {0, batch.ids.size()};
      model.Prepare(batch, Purpose::kTrain, &prepared);
      ASSERT_EQ(prepared.keys[1].size(), prepared.keys[0].size() + 1);
      std::vector<float> weights(prepared.keys[0].size(), 1), its_counts;
      for (const Key key : prepared.keys[1]) its_counts.push_back(counts[key]);
      model.Compute(batch, prepared, {weights, its_counts}, &gradients);
      for (size_t i = 0; i < prepared.keys[0].size(); ++i)
        regularised[prepared.keys[0][i]] += gradients[0][i];
      for (size_t i = 0; i < prepared.keys[1].size(); ++i) counts[prepared.keys[1][i]] += gradients[1][i];
    }
  }
  EXPECT_EQ(counts[kBiasKey], kPasses * 10);
  EXPECT_EQ(counts[0], kPasses);
  for (Key f = 0; f < 10; ++f) EXPECT_NEAR(regularised[f] / (kPasses * 10 * kL2 / kExamples), 1, 0.1) << f;
  model.Prepare({.rows = 0, .row_offsets = {0}}, Purpose::kEvaluate, &prepared);
  EXPECT_TRUE(prepared.keys[1].empty());
}

TEST_F(Models, EvaluationPullsOnlyWhatTheBatchNeeds) {
  Model model = Linear({.bias = true, .l2 = 1, .l2_all = true}, 100, 1);
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

TEST_F(Models, PaddingOfTheLastRowGetsNone) {
  Model model = Deep({10, 4, 2}, Activation::kRelu, LossKind::kSoftmax);
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

TEST_F(Models, DeepTablesStartAsPyTorchsLinear) {
  Model model = Deep({784, 128, 10}, Activation::kRelu, LossKind::kSoftmax);
  ASSERT_EQ(model.Tables().size(), 2u);
  const TableSpec& first = model.Tables()[0];
  EXPECT_EQ(first.name, "job/layer1");
  EXPECT_EQ(first.dense_size, 784u * 128 + 128);
  EXPECT_EQ(first.initializer.kind, InitializerKind::kUniform);
  EXPECT_FLOAT_EQ(first.initializer.high, 1 / 28.0f);
  EXPECT_FLOAT_EQ(first.initializer.low, -1 / 28.0f);
  EXPECT_NE(first.seed, model.Tables()[1].seed);
  for (const TableSpec& table : model.Tables())
    EXPECT_TRUE(table.Validate().ok()) << table.Validate().ToString();
}

// Two users and two items in the features 0..3, with a numeric column before them: by hand.
TEST_F(Models, FactorizationIsTheSumOverPairs) {
  Model model =
      Sum({.loss = LossKind::kSquared, .constant = 3.5f}, LinearPart({.table = Named("job/weights")}),
          FactorPart({.factors = 2, .table = Named("job/factors")}));
  ASSERT_EQ(model.Tables().size(), 2u);
  EXPECT_EQ(model.Tables()[1].dim, 2u);
  EXPECT_EQ(model.Tables()[1].initializer.kind, InitializerKind::kNormal);
  Batch batch;
  batch.rows = 1;
  batch.dense = true;
  batch.dim = 1;
  batch.fields = 2;
  batch.features = {2};
  batch.field_offsets = {0, 1, 2};
  batch.categories = {7, 9};
  batch.labels = {4};
  batch.weights = {3};
  PreparedBatch prepared;
  model.Prepare(batch, Purpose::kTrain, &prepared);
  EXPECT_EQ(prepared.keys[0], (std::vector<Key>{0, 8, 10, kBiasKey}));
  EXPECT_EQ(prepared.keys[1], (std::vector<Key>{0, 8, 10}));
  const std::vector<float> weights{0.5f, -1, 0.25f, 0.125f}, factors{1, 2, 3, -1, 0.5f, 4};
  // linear 2*0.5 - 1 + 0.25 + 0.125 = 0.375; pairs: 2*(1*3 - 2*1) + 2*(0.5 + 8) + (1.5 - 4) = 16.5
  EXPECT_FLOAT_EQ(model.Score(batch, prepared, {weights, factors})[0], 3.5f + 0.375f + 16.5f);
  TableGradients gradients;
  const double error = 3.5 + 0.375 + 16.5 - 4;
  EXPECT_NEAR(model.Compute(batch, prepared, {weights, factors}, &gradients), 3 * error * error / 2, 1e-3);
  EXPECT_NEAR(gradients[0][0], 3 * error * 2, 1e-4);
  EXPECT_NEAR(gradients[1][2], 3 * error * (2 * 1 + 0.5), 1e-3);  // of v_8: the sum of the others
  EXPECT_NEAR(gradients[1][3], 3 * error * (2 * 2 + 4), 1e-3);
}

TEST_F(Models, EmbeddingsOfAFieldAreTheirMeanOrSum) {
  for (const bool mean : {true, false}) {
    Model model =
        Sum({.loss = LossKind::kSquared},
            DeepPart({.hidden = {1}, .fields = 2, .embedding_dim = 1, .mean = mean, .table = Named("job")}));
    ASSERT_EQ(model.Tables().size(), 3u);
    EXPECT_EQ(model.Tables()[2].name, "job/embeddings");
    Batch batch;
    batch.rows = 1;
    batch.dense = true;
    batch.fields = 2;
    batch.field_offsets = {0, 3, 3};  // the second field has none
    batch.categories = {5, 6, 5};
    batch.labels = {0};
    PreparedBatch prepared;
    model.Prepare(batch, Purpose::kTrain, &prepared);
    EXPECT_EQ(prepared.keys[2], (std::vector<Key>{5, 6}));
    std::vector<std::vector<float>> values{std::vector<float>(1024), std::vector<float>(1024), {2, 5}};
    values[0][0] = 1, values[0][1] = 100;  // of the two inputs
    values[1][0] = 1;
    EXPECT_FLOAT_EQ(model.Score(batch, prepared, Spans(values))[0], mean ? 3 : 9);
  }
}

// An example of weight 2 is two examples, one of weight 0 is none.
TEST_F(Models, WeightsCountExamples) {
  Batch batch = RandomBatch(false, 3, 8, LossKind::kLogistic, 2);
  batch.weights = {2, 0, 1};
  Batch counted;
  counted.rows = 3;
  counted.row_offsets = {0};
  for (const size_t row : {0, 0, 2}) {
    counted.labels.push_back(batch.labels[row]);
    for (size_t i = batch.row_offsets[row]; i < batch.row_offsets[row + 1]; ++i) {
      counted.ids.push_back(batch.ids[i]);
      counted.values.push_back(batch.values[i]);
    }
    counted.row_offsets.push_back(counted.ids.size());
  }
  Model model = Linear({}, 8, 3);
  PreparedBatch prepared;
  TableGradients of[2];
  double losses[2];
  std::map<Key, float> gradient[2];
  for (const size_t i : {0, 1}) {
    const Batch& b = i == 0 ? batch : counted;
    model.Prepare(b, Purpose::kTrain, &prepared);
    std::vector<std::vector<float>> values(1);
    for (const Key key : prepared.keys[0]) values[0].push_back(static_cast<float>(key % 5) / 4);
    losses[i] = model.Compute(b, prepared, Spans(values), &of[i]);
    for (size_t k = 0; k < prepared.keys[0].size(); ++k)
      if (of[i][0][k] != 0) gradient[i][prepared.keys[0][k]] = of[i][0][k];
  }
  EXPECT_NEAR(losses[0], losses[1], 1e-6);
  ASSERT_EQ(gradient[0].size(), gradient[1].size());
  for (const auto& [key, g] : gradient[0]) EXPECT_NEAR(g, gradient[1].at(key), 1e-6) << key;
}

}  // namespace
}  // namespace penstock
