#include "model/linear.h"

#include <numeric>

#include "model/blas.h"

namespace penstock {

LinearModel::LinearModel(const LinearOptions& options)
    : options_(options), outputs_(options.loss == LossKind::kSoftmax ? options.classes : 1) {
  TableSpec table = options.table;
  table.dim = static_cast<uint32_t>(outputs_);
  table.initializer = {};
  tables_.push_back(std::move(table));
}

void LinearModel::Prepare(const Batch& batch, Purpose purpose, PreparedBatch* prepared) const {
  prepared->keys.resize(1);
  std::vector<Key>& keys = prepared->keys[0];
  prepared->positions.clear();
  const bool all = batch.dense || (options_.l2_all && purpose == Purpose::kTrain);
  if (all) {
    keys.resize(batch.dense ? batch.dim : options_.shape.features);
    std::iota(keys.begin(), keys.end(), Key{0});
    prepared->positions.assign(batch.ids.begin(),
                               batch.ids.end());  // ids are below features: their own positions
  } else {
    prepared->compactor.Begin(batch.ids.size(), &keys);
    prepared->positions.resize(batch.ids.size());
    for (size_t i = 0; i < batch.ids.size(); ++i)
      prepared->positions[i] = prepared->compactor.Add(batch.ids[i]);
  }
  if (options_.bias) keys.push_back(kBiasKey);
}

void LinearModel::AddBias(const PreparedBatch& prepared, std::span<const float> weights) {
  const float* bias = weights.data() + (prepared.keys[0].size() - 1) * outputs_;
  for (size_t i = 0; i < scores_.size(); i += outputs_) {
    for (size_t k = 0; k < outputs_; ++k) scores_[i + k] += bias[k];
  }
}

std::span<const float> LinearModel::Score(const Batch& batch, const PreparedBatch& prepared,
                                          const TableValues& values) {
  const std::span<const float> w = values[0];
  scores_.assign(batch.rows * outputs_, 0);
  if (batch.dense) {
    Multiply({.m = batch.rows, .n = outputs_, .k = batch.dim}, batch.features.data(), w.data(),
             scores_.data());
  } else {
    for (size_t row = 0; row < batch.rows; ++row) {
      float* s = scores_.data() + row * outputs_;
      for (size_t i = batch.row_offsets[row]; i < batch.row_offsets[row + 1]; ++i) {
        const float* weight = w.data() + prepared.positions[i] * outputs_;
        for (size_t k = 0; k < outputs_; ++k) s[k] += batch.values[i] * weight[k];
      }
    }
  }
  if (options_.bias) AddBias(prepared, w);
  return scores_;
}

double LinearModel::Compute(const Batch& batch, const PreparedBatch& prepared, const TableValues& values,
                            TableGradients* gradients) {
  Score(batch, prepared, values);
  const float mean = batch.rows == 0 ? 0 : 1.0f / static_cast<float>(batch.rows);
  const double loss =
      LossAndDeltas(options_.loss, batch.labels, outputs_, scores_.data(), mean, scores_.data());
  gradients->resize(1);
  Backward(batch, prepared, &(*gradients)[0]);
  Regularize(prepared, values[0], &(*gradients)[0]);
  return loss;
}

void LinearModel::Backward(const Batch& batch, const PreparedBatch& prepared,
                           std::vector<float>* gradient) const {
  gradient->assign(prepared.keys[0].size() * outputs_, 0);
  float* g = gradient->data();
  if (batch.dense) {
    Multiply({.transpose_a = true, .m = batch.dim, .n = outputs_, .k = batch.rows}, batch.features.data(),
             scores_.data(), g);
  } else {
    for (size_t row = 0; row < batch.rows; ++row) {
      const float* delta = scores_.data() + row * outputs_;
      for (size_t i = batch.row_offsets[row]; i < batch.row_offsets[row + 1]; ++i) {
        float* to = g + prepared.positions[i] * outputs_;
        for (size_t k = 0; k < outputs_; ++k) to[k] += batch.values[i] * delta[k];
      }
    }
  }
  if (!options_.bias) return;
  float* bias = g + (prepared.keys[0].size() - 1) * outputs_;
  for (size_t i = 0; i < batch.rows * outputs_; ++i) bias[i % outputs_] += scores_[i];
}

void LinearModel::Regularize(const PreparedBatch& prepared, std::span<const float> weights,
                             std::vector<float>* gradient) const {
  if (!Regularized()) return;
  const auto n = static_cast<double>(options_.shape.training_examples);
  const auto l2 = static_cast<float>(options_.l2 / n);
  const auto l1 = static_cast<float>(options_.l1 / n);
  const size_t regularized = (prepared.keys[0].size() - (options_.bias ? 1 : 0)) * outputs_;
  for (size_t i = 0; i < regularized; ++i) {
    const float w = weights[i];
    (*gradient)[i] += l2 * w + (w > 0 ? l1 : w < 0 ? -l1 : 0);
  }
}

Objective LinearModel::objective() const {
  return {options_.loss, options_.l1, options_.l2, !Regularized() || options_.shape.features > 0};
}

uint64_t LinearModel::RegularizedRows(size_t table) const {
  return Regularized() ? options_.shape.features : 0;
}

}  // namespace penstock
