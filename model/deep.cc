#include "model/deep.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/base/hash.h"
#include "model/blas.h"

namespace penstock {

std::string_view ToString(Activation a) { return a == Activation::kRelu ? "relu" : "tanh"; }

Result<Activation> ParseActivation(std::string_view word) {
  if (word == "relu") return Activation::kRelu;
  if (word == "tanh") return Activation::kTanh;
  return InvalidArgument("activation '" + std::string(word) + "' is none of relu, tanh");
}

Mlp::Mlp(std::vector<uint32_t> widths, Activation activation)
    : widths_(std::move(widths)), activation_(activation), outputs_(widths_.size() - 1) {}

void Mlp::Activate(std::vector<float>* z) const {
  if (activation_ == Activation::kRelu) {
    for (float& v : *z) v = v > 0 ? v : 0;
  } else {
    for (float& v : *z) v = std::tanh(v);
  }
}

// Both derivatives follow from the activated value alone.
void Mlp::MultiplyByDerivative(const std::vector<float>& activated, std::vector<float>* delta) const {
  if (activation_ == Activation::kRelu) {
    for (size_t i = 0; i < delta->size(); ++i) (*delta)[i] = activated[i] > 0 ? (*delta)[i] : 0;
  } else {
    for (size_t i = 0; i < delta->size(); ++i) (*delta)[i] *= 1 - activated[i] * activated[i];
  }
}

std::span<const float> Mlp::Forward(size_t rows, const float* inputs,
                                    std::span<const std::span<const float>> parameters) {
  const float* x = inputs;
  for (size_t l = 0; l < layers(); ++l) {
    const size_t in = widths_[l], out = widths_[l + 1];
    const float* bias = parameters[l].data() + in * out;
    std::vector<float>& z = outputs_[l];
    z.resize(rows * out);
    for (size_t row = 0; row < rows; ++row) std::copy_n(bias, out, z.data() + row * out);
    Multiply({.m = rows, .n = out, .k = in, .beta = 1}, x, parameters[l].data(), z.data());
    if (l + 1 < layers()) Activate(&z);
    x = z.data();
  }
  return outputs_.back();
}

void Mlp::Backward(size_t rows, const float* inputs, std::span<const std::span<const float>> parameters,
                   std::span<const float> deltas, std::span<std::vector<float>> gradients,
                   std::vector<float>* input_deltas) {
  delta_.assign(deltas.begin(), deltas.end());
  for (size_t l = layers(); l-- > 0;) {
    const size_t in = widths_[l], out = widths_[l + 1];
    const float* x = l == 0 ? inputs : outputs_[l - 1].data();
    float* weights = gradients[l].data();
    float* bias = weights + in * out;
    Multiply({.transpose_a = true, .m = in, .n = out, .k = rows}, x, delta_.data(), weights);
    std::fill_n(bias, out, 0.0f);
    for (size_t row = 0; row < rows; ++row) {
      for (size_t j = 0; j < out; ++j) bias[j] += delta_[row * out + j];
    }
    std::vector<float>* below = l == 0 ? input_deltas : &previous_delta_;
    if (below == nullptr) break;
    below->resize(rows * in);
    Multiply({.transpose_b = true, .m = rows, .n = in, .k = out}, delta_.data(), parameters[l].data(),
             below->data());
    if (l == 0) break;
    MultiplyByDerivative(outputs_[l - 1], &previous_delta_);
    delta_.swap(previous_delta_);
  }
}

namespace {

constexpr float kEmbeddingStddev = 0.05f;

std::vector<uint32_t> Widths(const DeepOptions& options) {
  std::vector<uint32_t> widths{options.inputs()};
  widths.insert(widths.end(), options.hidden.begin(), options.hidden.end());
  widths.push_back(options.outputs);
  return widths;
}

}  // namespace

DeepPart::DeepPart(const DeepOptions& options)
    : options_(options), mlp_(Widths(options), options.activation) {
  for (size_t l = 0; l < mlp_.layers(); ++l) {
    TableSpec table = options.table;
    table.name += "/layer" + std::to_string(l + 1);
    table.dim = kBlock;
    table.dense_size = mlp_.LayerFloats(l);
    table.seed = Mix64(options.table.seed + (l + 1) * 0x9e3779b97f4a7c15ULL);
    const float bound = 1 / std::sqrt(static_cast<float>(mlp_.FansOf(l).in));
    table.initializer = {.kind = InitializerKind::kUniform, .low = -bound, .high = bound};
    tables_.push_back(std::move(table));
  }
  if (options.fields == 0) return;
  TableSpec table = options.table;
  table.name += "/embeddings";
  table.dim = options.embedding_dim;
  table.initializer = {.kind = InitializerKind::kNormal, .stddev = kEmbeddingStddev};
  tables_.push_back(std::move(table));
}

void DeepPart::Prepare(const Batch& batch, PreparedBatch* prepared, std::span<std::vector<Key>> keys) const {
  for (size_t l = 0; l < mlp_.layers(); ++l) {
    keys[l].resize((tables_[l].dense_size + kBlock - 1) / kBlock);
    std::iota(keys[l].begin(), keys[l].end(), Key{0});
  }
  if (options_.fields == 0) return;
  prepared->compactor.Begin(&keys.back());
  prepared->positions.resize(batch.categories.size());
  prepared->compactor.AddAll(batch.categories, 0, prepared->positions.data());
}

// visit(begin, end, at, weight): the categories [begin, end) of the batch are a bag, each of which counts
// `weight` in the inputs from `at` on.
template <typename Visit>
void DeepPart::ForEachBag(const Batch& batch, const Visit& visit) const {
  size_t bag = 0;
  for (size_t row = 0; row < batch.rows; ++row) {
    size_t at = row * mlp_.inputs() + options_.features;
    for (size_t field = 0; field < batch.fields; ++field, ++bag, at += options_.embedding_dim) {
      const uint64_t begin = batch.field_offsets[bag], end = batch.field_offsets[bag + 1];
      visit(begin, end, at, options_.mean ? 1.0f / static_cast<float>(end - begin) : 1.0f);
    }
  }
}

const float* DeepPart::Inputs(const Batch& batch, const PreparedBatch& prepared,
                              std::span<const std::span<const float>> values) {
  if (IsMatrix(batch)) return batch.features.data();
  const size_t inputs = mlp_.inputs(), dim = options_.embedding_dim;
  made_inputs_.resize(batch.rows * inputs);
  float* const x = made_inputs_.data();
  if (!batch.dense) {
    std::fill_n(x, made_inputs_.size(), 0.0f);
    for (size_t row = 0; row < batch.rows; ++row) {
      for (size_t i = batch.row_offsets[row]; i < batch.row_offsets[row + 1]; ++i)
        x[row * inputs + batch.ids[i]] = batch.values[i];
    }
    return x;
  }
  for (size_t row = 0; row < batch.rows; ++row)
    std::copy_n(batch.features.data() + row * batch.dim, batch.dim, x + row * inputs);
  ForEachBag(batch, [&](uint64_t begin, uint64_t end, size_t at, float weight) {
    if (begin == end) std::fill_n(x + at, dim, 0.0f);
    for (uint64_t i = begin; i < end; ++i) {
      const float* embedding = values.back().data() + prepared.positions[i] * dim;
      const bool first = i == begin;
      for (size_t k = 0; k < dim; ++k) x[at + k] = (first ? 0.0f : x[at + k]) + weight * embedding[k];
    }
  });
  return x;
}

void DeepPart::AddScores(const Batch& batch, const PreparedBatch& prepared,
                         std::span<const std::span<const float>> values, std::span<float> scores) {
  inputs_ = Inputs(batch, prepared, values);
  const std::span<const float> outputs = mlp_.Forward(batch.rows, inputs_, values);
  for (size_t i = 0; i < scores.size(); ++i) scores[i] += outputs[i];
}

void DeepPart::Backward(const Batch& batch, const PreparedBatch& prepared,
                        std::span<const std::span<const float>> values, const Deltas& deltas,
                        std::span<std::vector<float>> gradients) {
  for (size_t l = 0; l < mlp_.layers(); ++l) {
    gradients[l].resize(values[l].size());
    std::fill(gradients[l].begin() + static_cast<ptrdiff_t>(tables_[l].dense_size), gradients[l].end(), 0.0f);
  }
  const bool embeds = options_.fields > 0;
  mlp_.Backward(batch.rows, inputs_, values, deltas.scores, gradients, embeds ? &input_deltas_ : nullptr);
  if (!embeds) return;
  std::vector<float>& gradient = gradients.back();
  gradient.assign(values.back().size(), 0);
  const size_t dim = options_.embedding_dim;
  ForEachBag(batch, [&](uint64_t begin, uint64_t end, size_t at, float weight) {
    for (uint64_t i = begin; i < end; ++i) {
      float* to = gradient.data() + prepared.positions[i] * dim;
      for (size_t k = 0; k < dim; ++k) to[k] += weight * input_deltas_[at + k];
    }
  });
}

}  // namespace penstock
