#include "model/metrics.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace penstock {
namespace {

constexpr float kScoreLimit = 32;
constexpr float kBinsPerUnit = Evaluation::kBins / (2 * kScoreLimit);

size_t BinOf(float score) {
  if (!(score > -kScoreLimit)) return 0;  // NaN too: the loss sum shows it
  const auto bin = static_cast<size_t>((score + kScoreLimit) * kBinsPerUnit);
  return std::min(bin, Evaluation::kBins - 1);
}

// Without weights sums are whole numbers, which are much shorter as such.
nlohmann::json Short(double sum) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (sum < kExact && sum == std::floor(sum)) return static_cast<uint64_t>(sum);
  return sum;
}

}  // namespace

void Evaluation::AddScore(float score, bool positive, double weight) {
  if (positives_.empty()) {
    positives_.resize(kBins);
    negatives_.resize(kBins);
  }
  (positive ? positives_ : negatives_)[BinOf(score)] += weight;
}

void Evaluation::Add(LossKind kind, std::span<const float> labels, std::span<const float> weights,
                     size_t outputs, const float* scores) {
  examples_ += labels.size();
  loss_sum_ += LossAndDeltas(kind, labels, weights, outputs, scores, 1, nullptr);
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* s = scores + i * outputs;
    const double weight = weights.empty() ? 1 : weights[i];
    weight_ += weight;
    bool correct = false;
    if (IsBinary(kind)) {
      const bool positive = labels[i] > 0.5f;
      correct = (*s > 0) == positive;
      AddScore(*s, positive, weight);
    } else if (kind == LossKind::kSoftmax) {
      correct = std::max_element(s, s + outputs) - s == static_cast<ptrdiff_t>(labels[i]);
    }
    if (correct) correct_ += weight;
  }
}

void Evaluation::AddWeights(std::span<const float> weights) {
  for (float w : weights) {
    l1_ += std::abs(w);
    l2_ += static_cast<double>(w) * w;
  }
}

void Evaluation::Merge(const Evaluation& other) {
  examples_ += other.examples_;
  weight_ += other.weight_;
  loss_sum_ += other.loss_sum_;
  correct_ += other.correct_;
  l1_ += other.l1_;
  l2_ += other.l2_;
  if (other.positives_.empty()) return;
  positives_.resize(kBins);
  negatives_.resize(kBins);
  for (size_t i = 0; i < kBins; ++i) {
    positives_[i] += other.positives_[i];
    negatives_[i] += other.negatives_[i];
  }
}

Evaluation::Auc Evaluation::ComputeAuc() const {
  double positives = 0, negatives = 0;  // so far, from the lowest score up
  double won = 0, tied = 0;             // pairs whose positive scores higher; pairs within a bin
  for (size_t i = 0; i < positives_.size(); ++i) {
    const double p = positives_[i], n = negatives_[i];
    won += p * negatives;
    tied += p * n;
    positives += p;
    negatives += n;
  }
  const double pairs = positives * negatives;
  if (pairs == 0) return {};
  return {(won + tied / 2) / pairs, tied / 2 / pairs, true};
}

nlohmann::json Evaluation::Results(const Objective& objective) const {
  nlohmann::json json = {{"examples", examples_}};
  if (!(weight_ > 0)) return json;
  const double n = weight_;
  json["loss"] = loss_sum_ / n;
  if (objective.loss == LossKind::kSquared) {
    json["rmse"] = std::sqrt(2 * loss_sum_ / n);
  } else {
    json["accuracy"] = correct_ / n;
  }
  if (const Auc auc = ComputeAuc(); auc.defined) {
    json["auc"] = auc.value;
    json["auc_error"] = auc.error;
  }
  if (objective.known) json["objective"] = loss_sum_ + objective.l1 * l1_ + objective.l2 / 2 * l2_;
  return json;
}

nlohmann::json Evaluation::ToJson() const {
  nlohmann::json histogram = nlohmann::json::array();
  for (size_t i = 0; i < positives_.size(); ++i) {
    if (positives_[i] + negatives_[i] > 0)
      histogram.push_back({i, Short(negatives_[i]), Short(positives_[i])});
  }
  return {{"examples", examples_},
          {"weight", weight_},
          {"loss_sum", loss_sum_},
          {"correct", correct_},
          {"weights_l1", l1_},
          {"weights_l2", l2_},
          {"histogram", std::move(histogram)}};
}

Result<Evaluation> Evaluation::FromJson(const nlohmann::json& json) {
  Evaluation e;
  try {
    json.at("examples").get_to(e.examples_);
    e.weight_ = json.value("weight", static_cast<double>(e.examples_));
    // A diverged model's sums are not finite, which JSON writes as null.
    auto number = [&](const char* name) {
      return json.at(name).is_null() ? NAN : json.at(name).get<double>();
    };
    e.loss_sum_ = number("loss_sum");
    json.at("correct").get_to(e.correct_);
    e.l1_ = number("weights_l1");
    e.l2_ = number("weights_l2");
    for (const auto& entry : json.at("histogram")) {
      const auto bin = entry.at(0).get<size_t>();
      if (bin >= kBins) {
        return InvalidArgument("evaluation: histogram bin " + std::to_string(bin) + ", allowed is 0 to " +
                               std::to_string(kBins - 1));
      }
      e.positives_.resize(kBins);
      e.negatives_.resize(kBins);
      e.negatives_[bin] += entry.at(1).get<double>();
      e.positives_[bin] += entry.at(2).get<double>();
    }
  } catch (const nlohmann::json::exception& error) {
    return InvalidArgument(std::string("evaluation: ") + error.what());
  }
  return e;
}

}  // namespace penstock
