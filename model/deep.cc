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

Mlp::Mlp(std::vector<uint32_t> widths, Activation activation, LossKind loss)
    : widths_(std::move(widths)), activation_(activation), loss_(loss), outputs_(widths_.size() - 1) {}

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

std::span<const float> Mlp::Forward(size_t rows, const float* features, const TableValues& parameters) {
  const float* x = features;
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

double Mlp::ForwardBackward(size_t rows, const float* features, std::span<const float> labels,
                            const TableValues& parameters, TableGradients* gradients) {
  Forward(rows, features, parameters);
  delta_.resize(rows * outputs());
  const float mean = rows == 0 ? 0 : 1.0f / static_cast<float>(rows);
  const double loss = LossAndDeltas(loss_, labels, outputs(), outputs_.back().data(), mean, delta_.data());
  for (size_t l = layers(); l-- > 0;) {
    const size_t in = widths_[l], out = widths_[l + 1];
    const float* x = l == 0 ? features : outputs_[l - 1].data();
    float* weights = (*gradients)[l].data();
    float* bias = weights + in * out;
    Multiply({.transpose_a = true, .m = in, .n = out, .k = rows}, x, delta_.data(), weights);
    std::fill_n(bias, out, 0.0f);
    for (size_t row = 0; row < rows; ++row) {
      for (size_t j = 0; j < out; ++j) bias[j] += delta_[row * out + j];
    }
    if (l == 0) break;
    previous_delta_.resize(rows * in);
    Multiply({.transpose_b = true, .m = rows, .n = in, .k = out}, delta_.data(), parameters[l].data(),
             previous_delta_.data());
    MultiplyByDerivative(outputs_[l - 1], &previous_delta_);
    delta_.swap(previous_delta_);
  }
  return loss;
}

DeepModel::DeepModel(const DeepOptions& options)
    : mlp_(options.widths, options.activation, options.loss), loss_(options.loss) {
  for (size_t l = 0; l < mlp_.layers(); ++l) {
    TableSpec table = options.table;
    table.name += "/layer" + std::to_string(l + 1);
    table.dim = kBlock;
    table.dense_size = mlp_.LayerFloats(l);
    table.seed = Mix64(options.table.seed + (l + 1) * 0x9e3779b97f4a7c15ULL);
    const float bound = 1 / std::sqrt(static_cast<float>(options.widths[l]));
    table.initializer = {.kind = InitializerKind::kUniform, .low = -bound, .high = bound};
    tables_.push_back(std::move(table));
  }
}

void DeepModel::Prepare(const Batch& batch, Purpose purpose, PreparedBatch* prepared) const {
  prepared->positions.clear();
  prepared->keys.resize(tables_.size());
  for (size_t l = 0; l < tables_.size(); ++l) {
    prepared->keys[l].resize((tables_[l].dense_size + kBlock - 1) / kBlock);
    std::iota(prepared->keys[l].begin(), prepared->keys[l].end(), Key{0});
  }
}

const float* DeepModel::DenseFeatures(const Batch& batch) {
  if (batch.dense) return batch.features.data();
  spread_.assign(batch.rows * mlp_.inputs(), 0);
  for (size_t row = 0; row < batch.rows; ++row) {
    for (size_t i = batch.row_offsets[row]; i < batch.row_offsets[row + 1]; ++i) {
      spread_[row * mlp_.inputs() + batch.ids[i]] = batch.values[i];
    }
  }
  return spread_.data();
}

double DeepModel::Compute(const Batch& batch, const PreparedBatch& prepared, const TableValues& values,
                          TableGradients* gradients) {
  gradients->resize(tables_.size());
  for (size_t l = 0; l < tables_.size(); ++l) {
    std::vector<float>& gradient = (*gradients)[l];
    gradient.resize(prepared.keys[l].size() * kBlock);
    std::fill(gradient.begin() + static_cast<ptrdiff_t>(tables_[l].dense_size), gradient.end(), 0.0f);
  }
  return mlp_.ForwardBackward(batch.rows, DenseFeatures(batch), batch.labels, values, gradients);
}

std::span<const float> DeepModel::Score(const Batch& batch, const PreparedBatch& prepared,
                                        const TableValues& values) {
  return mlp_.Forward(batch.rows, DenseFeatures(batch), values);
}

}  // namespace penstock
