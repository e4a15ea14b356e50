#include "model/loss.h"

#include <algorithm>
#include <cmath>

namespace penstock {
namespace {

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

double Softplus(double s) { return std::max(s, 0.0) + std::log1p(std::exp(-std::abs(s))); }

float Sigmoid(float s) {
  // exp of a negative number only: it cannot overflow.
  const float e = std::exp(-std::abs(s));
  return s >= 0 ? 1 / (1 + e) : e / (1 + e);
}

double LossAndDeltas(LossKind kind, std::span<const float> labels, std::span<const float> weights,
                     size_t outputs, const float* scores, float scale, float* deltas) {
  double sum = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* s = scores + i * outputs;
    float* d = deltas == nullptr ? nullptr : deltas + i * outputs;
    const float y = labels[i], weight = weights.empty() ? 1 : weights[i], factor = scale * weight;
    const float score = *s;  // read before d, which may be the same memory, is written
    double loss = 0;
    switch (kind) {
      case LossKind::kLogistic:
        loss = Softplus(score) - static_cast<double>(y) * score;
        if (d != nullptr) *d = factor * (Sigmoid(score) - y);
        break;
      case LossKind::kSoftmax:
        loss = Softmax(y, outputs, s, factor, d);
        break;
      case LossKind::kSquared: {
        const double error = static_cast<double>(score) - y;
        loss = 0.5 * error * error;
        if (d != nullptr) *d = factor * static_cast<float>(error);
        break;
      }
      case LossKind::kHinge: {
        const float z = 2 * y - 1;
        loss = std::max(0.0, 1 - static_cast<double>(z) * score);
        if (d != nullptr) *d = loss > 0 ? -factor * z : 0;
        break;
      }
    }
    sum += weight * loss;
  }
  return sum;
}

}  // namespace penstock
