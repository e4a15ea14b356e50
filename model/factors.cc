#include "model/factors.h"

namespace penstock {

FactorPart::FactorPart(const FactorOptions& options) : options_(options) {
  TableSpec table = options.table;
  table.dim = options.factors;
  table.initializer = {.kind = InitializerKind::kNormal, .stddev = options.stddev};
  tables_.push_back(std::move(table));
}

void FactorPart::Prepare(const Batch& batch, PreparedBatch* prepared,
                         std::span<std::vector<Key>> keys) const {
  if (IsMatrix(batch)) AddMatrixRows(batch, &prepared->features);
  keys[0] = prepared->features.keys;
}

void FactorPart::AddScores(const Batch& batch, const PreparedBatch& prepared,
                           std::span<const std::span<const float>> values, std::span<float> scores) {
  const FeatureRows& features = prepared.features;
  const size_t factors = options_.factors;
  sums_.assign(batch.rows * factors, 0);
  for (size_t row = 0; row < batch.rows; ++row) {
    float* sum = sums_.data() + row * factors;
    float squares = 0;
    for (size_t i = features.row_offsets[row]; i < features.row_offsets[row + 1]; ++i) {
      const float x = features.values[i];
      const float* v = values[0].data() + features.positions[i] * factors;
      for (size_t k = 0; k < factors; ++k) {
        const float term = v[k] * x;
        sum[k] += term;
        squares += term * term;
      }
    }
    float square_of_sum = 0;
    for (size_t k = 0; k < factors; ++k) square_of_sum += sum[k] * sum[k];
    scores[row] += (square_of_sum - squares) / 2;
  }
}

void FactorPart::Backward(const Batch& batch, const PreparedBatch& prepared,
                          std::span<const std::span<const float>> values, const Deltas& deltas,
                          std::span<std::vector<float>> gradients) {
  const FeatureRows& features = prepared.features;
  const size_t factors = options_.factors;
  std::vector<float>& gradient = gradients[0];
  gradient.assign(features.keys.size() * factors, 0);
  for (size_t row = 0; row < batch.rows; ++row) {
    const float* sum = sums_.data() + row * factors;
    for (size_t i = features.row_offsets[row]; i < features.row_offsets[row + 1]; ++i) {
      const float x = features.values[i], scale = deltas.scores[row] * x;
      const size_t at = features.positions[i] * factors;
      const float* v = values[0].data() + at;
      for (size_t k = 0; k < factors; ++k) gradient[at + k] += scale * (sum[k] - v[k] * x);
    }
  }
  options_.regularizer.AddGradient(values[0], factors, deltas.row_shares, gradient);
}

}  // namespace penstock
