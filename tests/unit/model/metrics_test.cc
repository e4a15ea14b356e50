// Losses at the extremes, AUC against the exact count of pairs, and merging of evaluations.
#include "model/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

namespace penstock {
namespace {

double ExactAuc(const std::vector<float>& scores, const std::vector<float>& labels) {
  double won = 0, pairs = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    for (size_t j = 0; j < scores.size(); ++j) {
      if (labels[i] != 1 || labels[j] != 0) continue;
      ++pairs;
      won += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
    }
  }
  return won / pairs;
}

TEST(Auc, IsWithinItsStatedErrorOfTheExactArea) {
  constexpr uint32_t kSeed = 5;
  std::mt19937 random(kSeed);
  for (float spread : {0.0005f, 0.05f, 2.0f, 60.0f}) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << " spread " << spread);
    std::vector<float> scores, labels;
    for (int i = 0; i < 1500; ++i) {
      labels.push_back(static_cast<float>(random() % 2));
      scores.push_back(std::normal_distribution<float>(labels.back() * spread * 0.7f, spread)(random));
    }
    Evaluation evaluation;
    evaluation.Add(LossKind::kLogistic, labels, {}, 1, scores.data());
    const Evaluation::Auc auc = evaluation.ComputeAuc();
    ASSERT_TRUE(auc.defined);
    EXPECT_NEAR(auc.value, ExactAuc(scores, labels), auc.error + 1e-12);
    if (spread == 2.0f) {
      EXPECT_LT(auc.error, 2e-4);
    }
  }
}

TEST(Auc, CountsTiesHalfAndKeepsTheExtremes) {
  Evaluation evaluation;
  const std::vector<float> scores{-1e9f, 1e9f, 0.5f, 0.5f}, labels{0, 1, 0, 1};
  evaluation.Add(LossKind::kLogistic, labels, {}, 1, scores.data());
  EXPECT_DOUBLE_EQ(evaluation.ComputeAuc().value, 3.5 / 4);
  EXPECT_DOUBLE_EQ(evaluation.ComputeAuc().error, 0.5 / 4);
}

TEST(Auc, IsUndefinedWithOneLabelOnly) {
  Evaluation evaluation;
  const std::vector<float> scores{1, 2}, labels{1, 1};
  evaluation.Add(LossKind::kLogistic, labels, {}, 1, scores.data());
  EXPECT_FALSE(evaluation.ComputeAuc().defined);
  EXPECT_FALSE(evaluation.Results({}).contains("auc"));
}

TEST(Loss, StaysFiniteAtTheExtremes) {
  const std::vector<float> scores{-1000, 1000, -1000, 1000}, labels{0, 1, 1, 0};
  EXPECT_DOUBLE_EQ(LossAndDeltas(LossKind::kLogistic, labels, {}, 1, scores.data(), 1, nullptr), 2000);
  std::vector<float> deltas(4);
  LossAndDeltas(LossKind::kLogistic, labels, {}, 1, scores.data(), 0.5f, deltas.data());
  EXPECT_EQ(deltas, (std::vector<float>{0, 0, -0.5f, 0.5f}));
  EXPECT_NEAR(Softplus(-40), std::exp(-40), 1e-25);
  EXPECT_EQ(Sigmoid(0), 0.5f);

  const std::vector<float> logits{5000, -5000, 4999}, label{2};
  EXPECT_NEAR(LossAndDeltas(LossKind::kSoftmax, label, {}, 3, logits.data(), 1, nullptr),
              1 + std::log1p(std::exp(-1)), 1e-6);
}

TEST(Evaluation, MergedPartsAreTheWhole) {
  constexpr uint32_t kSeed = 11;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  std::vector<float> scores, labels;
  for (int i = 0; i < 300; ++i) {
    labels.push_back(static_cast<float>(random() % 2));
    scores.push_back(std::normal_distribution<float>()(random));
  }
  Evaluation whole, merged;
  whole.Add(LossKind::kLogistic, labels, {}, 1, scores.data());
  whole.AddWeights(std::vector<float>{3, -4});
  for (size_t first : {0, 100, 200}) {
    Evaluation part;
    part.Add(LossKind::kLogistic, std::span(labels).subspan(first, 100), {}, 1, scores.data() + first);
    if (first == 100) part.AddWeights(std::vector<float>{3, -4});
    const auto travelled = Evaluation::FromJson(nlohmann::json::parse(part.ToJson().dump()));
    ASSERT_TRUE(travelled.ok()) << travelled.status().ToString();
    merged.Merge(*travelled);
  }
  EXPECT_EQ(merged.examples(), 300u);
  EXPECT_EQ(merged.correct(), whole.correct());
  EXPECT_NEAR(merged.loss_sum(), whole.loss_sum(), 1e-9);
  EXPECT_DOUBLE_EQ(merged.ComputeAuc().value, whole.ComputeAuc().value);
  const auto results = merged.Results({.loss = LossKind::kLogistic, .l1 = 10, .l2 = 2, .known = true});
  EXPECT_NEAR(results["objective"].get<double>(), whole.loss_sum() + 10 * 7 + 1 * 25, 1e-9);
  EXPECT_NEAR(results["loss"].get<double>(), whole.loss_sum() / 300, 1e-9);
}

TEST(Evaluation, CountsWhatIsRight) {
  Evaluation softmax;
  const std::vector<float> logits{0, 1, 2, 3, 2, 1}, classes{2, 1};
  softmax.Add(LossKind::kSoftmax, classes, {}, 3, logits.data());
  EXPECT_EQ(softmax.correct(), 1);
  EXPECT_DOUBLE_EQ(softmax.Results({.loss = LossKind::kSoftmax})["accuracy"].get<double>(), 0.5);

  Evaluation squared;
  const std::vector<float> predictions{1, 4}, targets{0, 2};
  squared.Add(LossKind::kSquared, targets, {}, 1, predictions.data());
  const auto results = squared.Results({.loss = LossKind::kSquared});
  EXPECT_DOUBLE_EQ(results["rmse"].get<double>(), std::sqrt(2.5));
  EXPECT_DOUBLE_EQ(results["loss"].get<double>(), 1.25);
  EXPECT_FALSE(results.contains("accuracy"));
  EXPECT_FALSE(results.contains("objective"));
}

TEST(Evaluation, CountsExamplesByTheirWeights) {
  Evaluation weighted, counted;
  const std::vector<float> scores{-1, 2, 0.5f}, labels{0, 1, 0}, weights{3, 1, 0};
  weighted.Add(LossKind::kLogistic, labels, weights, 1, scores.data());
  const std::vector<float> repeated{-1, -1, -1, 2}, its_labels{0, 0, 0, 1};
  counted.Add(LossKind::kLogistic, its_labels, {}, 1, repeated.data());
  EXPECT_EQ(weighted.examples(), 3u);
  const auto travelled = Evaluation::FromJson(nlohmann::json::parse(weighted.ToJson().dump()));
  ASSERT_TRUE(travelled.ok()) << travelled.status().ToString();
  auto want = counted.Results({.loss = LossKind::kLogistic});
  auto got = travelled->Results({.loss = LossKind::kLogistic});
  for (const char* metric : {"loss", "accuracy", "auc"})
    EXPECT_NEAR(got[metric].get<double>(), want[metric].get<double>(), 1e-9) << metric;
}

TEST(Evaluation, OfNothingHasNoMeans) { EXPECT_EQ(Evaluation().Results({}).dump(), R"({"examples":0})"); }

TEST(Evaluation, RefusesDamagedJson) {
  auto json = Evaluation().ToJson();
  json["histogram"] = {{70000, 1, 1}};
  EXPECT_NE(Evaluation::FromJson(json).status().message().find("70000"), std::string::npos);
  json = Evaluation().ToJson();
  json.erase("loss_sum");
  EXPECT_NE(Evaluation::FromJson(json).status().message().find("loss_sum"), std::string::npos);
}

TEST(Evaluation, OfADivergedModelSurvivesTheWire) {
  Evaluation evaluation;
  const std::vector<float> scores{NAN}, labels{1};
  evaluation.Add(LossKind::kLogistic, labels, {}, 1, scores.data());
  const auto travelled = Evaluation::FromJson(nlohmann::json::parse(evaluation.ToJson().dump()));
  ASSERT_TRUE(travelled.ok()) << travelled.status().ToString();
  EXPECT_TRUE(std::isnan(travelled->loss_sum()));
}

// The scheduler refuses longer ones.
TEST(Evaluation, TravelsInItsBoundWithEveryBinInUse) {
  std::vector<float> scores, labels, weights;
  for (size_t bin = 0; bin < Evaluation::kBins; ++bin) {
    for (const float label : {0.0f, 1.0f}) {
      scores.push_back(-32 + (static_cast<float>(bin) + 0.5f) / 1024);
      labels.push_back(label);
      weights.push_back(0.1f + static_cast<float>(bin) / 3);
    }
  }
  Evaluation weighted, counted;
  weighted.Add(LossKind::kLogistic, labels, weights, 1, scores.data());
  counted.Add(LossKind::kLogistic, labels, {}, 1, scores.data());
  ASSERT_EQ(weighted.ToJson().at("histogram").size(), Evaluation::kBins);
  EXPECT_LE(weighted.ToJson().dump().size(), Evaluation::kMaxJsonBytes);
  EXPECT_LE(counted.ToJson().dump().size(), Evaluation::kMaxJsonBytes / 4);
}

}  // namespace
}  // namespace penstock
