#include "model/linear.h"

#include "model/blas.h"

namespace penstock {

LinearPart::LinearPart(const LinearOptions& options) : options_(options) {
  TableSpec table = options.table;
  table.dim = static_cast<uint32_t>(options.outputs);
  table.initializer = {};
  tables_.push_back(std::move(table));
}

void LinearPart::Prepare(const Batch& batch, PreparedBatch* prepared,
                         std::span<std::vector<Key>> keys) const {
  keys[0] = prepared->features.keys;
  if (options_.bias) keys[0].push_back(kBiasKey);
}

void LinearPart::AddScores(const Batch& batch, const PreparedBatch& prepared,
                           std::span<const std::span<const float>> values, std::span<float> scores) {
  const FeatureRows& features = prepared.features;
  const size_t outputs = options_.outputs;
  const float* w = values[0].data();
  if (IsMatrix(batch)) {
    Multiply({.m = batch.rows, .n = outputs, .k = batch.dim, .beta = 1}, batch.features.data(), w,
             scores.data());
  } else {
    for (size_t row = 0; row < batch.rows; ++row) {
      float* s = scores.data() + row * outputs;
      for (size_t i = features.row_offsets[row]; i < features.row_offsets[row + 1]; ++i) {
        const float* weight = w + features.positions[i] * outputs;
        for (size_t k = 0; k < outputs; ++k) s[k] += features.values[i] * weight[k];
      }
    }
  }
  if (!options_.bias) return;
  const float* bias = w + features.keys.size() * outputs;
  for (size_t i = 0; i < scores.size(); i += outputs) {
    for (size_t k = 0; k < outputs; ++k) scores[i + k] += bias[k];
  }
}

void LinearPart::Backward(const Batch& batch, const PreparedBatch& prepared,
                          std::span<const std::span<const float>> values, const Deltas& deltas,
                          std::span<std::vector<float>> gradients) {
  const FeatureRows& features = prepared.features;
  const size_t outputs = options_.outputs, regularized = features.keys.size() * outputs;
  gradients[0].assign(regularized + (options_.bias ? outputs : 0), 0);
  float* g = gradients[0].data();
  if (IsMatrix(batch)) {
    Multiply({.transpose_a = true, .m = batch.dim, .n = outputs, .k = batch.rows}, batch.features.data(),
             deltas.scores.data(), g);
  } else {
    for (size_t row = 0; row < batch.rows; ++row) {
      const float* delta = deltas.scores.data() + row * outputs;
      for (size_t i = features.row_offsets[row]; i < features.row_offsets[row + 1]; ++i) {
        float* to = g + features.positions[i] * outputs;
        for (size_t k = 0; k < outputs; ++k) to[k] += features.values[i] * delta[k];
      }
    }
  }
  options_.regularizer.AddGradient(values[0].first(regularized), outputs, deltas.row_shares,
                                   {g, regularized});
  if (!options_.bias) return;
  float* bias = g + regularized;
  for (size_t i = 0; i < batch.rows * outputs; ++i) bias[i % outputs] += deltas.scores[i];
}

std::optional<Norms> LinearPart::norms() const {
  const Regularizer& r = options_.regularizer;
  return Norms{.l1 = r.l1,
               .l2 = r.l2,
               .rows = r.any() ? options_.features : 0,
               .known = !r.any() || options_.features > 0};
}

}  // namespace penstock
