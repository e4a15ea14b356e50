#include "model/loss.h"

#include <algorithm>
#include <cmath>

namespace penstock {
namespace {

constexpr std::string_view kNames[] = {"logistic", "softmax", "squared"};

double Softmax(float label, size_t outputs, const float* scores, float scale, float* deltas) {
  const float top = *std::max_element(scores, scores + outputs);
  const auto target = static_cast<size_t>(label);
  const float target_score = scores[target];
  double sum = 0;
  if (deltas == nullptr) {
    for (size_t j = 0; j < outputs; ++j) sum += std::exp(scores[j] - top);
  } else {
    for (size_t j = 0; j < outputs; ++j) {
      deltas[j] = std::exp(scores[j] - top);
      sum += deltas[j];
    }
    const float factor = scale / static_cast<float>(sum);
    for (size_t j = 0; j < outputs; ++j) deltas[j] *= factor;
    deltas[target] -= scale;
  }
  return std::log(sum) + top - target_score;
}

}  // namespace

std::string_view ToString(LossKind kind) { return kNames[static_cast<size_t>(kind)]; }

Result<LossKind> ParseLossKind(std::string_view word) {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == word) return static_cast<LossKind>(i);
  }
  return InvalidArgument("loss '" + std::string(word) + "' is none of logistic, softmax, squared");
}

double Softplus(double s) { return std::max(s, 0.0) + std::log1p(std::exp(-std::abs(s))); }

float Sigmoid(float s) {
  // exp of a negative number only: it cannot overflow.
  const float e = std::exp(-std::abs(s));
  return s >= 0 ? 1 / (1 + e) : e / (1 + e);
}

double LossAndDeltas(LossKind kind, std::span<const float> labels, size_t outputs, const float* scores,
                     float scale, float* deltas) {
  double sum = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* s = scores + i * outputs;
    float* d = deltas == nullptr ? nullptr : deltas + i * outputs;
    const float y = labels[i];
    const float score = *s;  // read before d, which may be the same memory, is written
    switch (kind) {
      case LossKind::kLogistic:
        sum += Softplus(score) - static_cast<double>(y) * score;
        if (d != nullptr) *d = scale * (Sigmoid(score) - y);
        break;
      case LossKind::kSoftmax:
        sum += Softmax(y, outputs, s, scale, d);
        break;
      case LossKind::kSquared: {
        const double error = static_cast<double>(score) - y;
        sum += 0.5 * error * error;
        if (d != nullptr) *d = scale * static_cast<float>(error);
        break;
      }
    }
  }
  return sum;
}

}  // namespace penstock
