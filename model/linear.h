// LinearModel: logistic, softmax and squared regression on sparse or dense features.
//
// One table "<job>/weights": row f is the weights of feature f, dim = outputs (the classes of softmax, else
// 1), zeros at first. With `bias`, row kBiasKey is a feature that every example has with value 1; it is never
// regularised.
//
// Formulas. x_i has nonzeros x_if, scores s_i = sum_f x_if * w_f (+ bias), l as in loss.h. The objective is
//     F(w) = sum over all N training examples of l_i  +  l1 * |w|  +  l2/2 * ||w||^2
// and the gradient pushed for a minibatch of B examples is an estimate of grad F / N:
//     g_f = 1/B * sum over the minibatch of x_if * dl_i/ds  +  l2/N * w_f  +  l1/N * sign(w_f)
// With l2_all it is computed for ALL features 0 .. features-1, so that its expectation is exactly grad F / N
// (and a pass over all examples at fixed weights averages to it). Without, only for the features of the
// minibatch: rows that a step does not touch are not stepped, so rare features are regularised less than F
// says.
#pragma once

#include <string>

#include "model/model.h"

namespace penstock {

// Reserved: no reader produces a feature id of 2^63 or more.
inline constexpr Key kBiasKey = 0xffff'ffff'ffff'fffeULL;

struct LinearOptions {
  LossKind loss = LossKind::kLogistic;
  uint32_t classes = 2;  // softmax only
  bool bias = true;
  double l1 = 0;
  double l2 = 0;
  bool l2_all = false;
  DataShape shape =
      {};  // features is needed for dense data, l2_all and norms; training_examples for l1 and l2
  TableSpec table = {};  // name and seed of the weights; the model sets dim
};

class LinearModel final : public Model {
 public:
  explicit LinearModel(const LinearOptions& options);

  LossKind loss() const override { return options_.loss; }
  size_t outputs() const override { return outputs_; }
  void Prepare(const Batch& batch, Purpose purpose, PreparedBatch* prepared) const override;
  double Compute(const Batch& batch, const PreparedBatch& prepared, const TableValues& values,
                 TableGradients* gradients) override;
  std::span<const float> Score(const Batch& batch, const PreparedBatch& prepared,
                               const TableValues& values) override;
  Objective objective() const override;
  uint64_t RegularizedRows(size_t table) const override;

 private:
  bool Regularized() const { return options_.l1 != 0 || options_.l2 != 0; }
  void AddBias(const PreparedBatch& prepared, std::span<const float> weights);
  void Backward(const Batch& batch, const PreparedBatch& prepared, std::vector<float>* gradient) const;
  void Regularize(const PreparedBatch& prepared, std::span<const float> weights,
                  std::vector<float>* gradient) const;

  const LinearOptions options_;
  const size_t outputs_;
  std::vector<float> scores_;  // [rows, outputs]; after Compute, the deltas
};

}  // namespace penstock
