// LinearPart: weights by feature, of sparse data, columns or a matrix. Alone it is logistic, softmax,
// squared or hinge regression; it is also the linear term of a factorization machine and the wide part of
// wide & deep.
//
// One table "<job>/weights": row f is the weights of feature f (feature_rows.h), dim = outputs (the classes
// of softmax, else 1), zeros at first. With `bias`, row kBiasKey is a feature that every example has with
// value 1; it is never regularised.
//
// Formulas. x_i has nonzeros x_if, scores s_i = sum_f x_if * w_f (+ bias), l and the examples' weights o_i as
// in loss.h and model.h. The objective is
//     F(w) = sum over all N training examples of o_i * l_i  +  l1 * |w|  +  l2/2 * ||w||^2
// and the gradient pushed for a minibatch of B examples is an estimate of grad F / N:
//     g_f = 1/B * sum over the minibatch of x_if * o_i * dl_i/ds  +  l2/N * w_f  +  l1/N * sign(w_f)
// in the rows that the regulariser's rule names and by the factor that it gives them (regularizer.h). With
// l2_all that is all features 0 .. features-1, so that its expectation is exactly grad F / N (and a pass over
// all examples at fixed weights averages to it).
#pragma once

#include "model/regularizer.h"
#include "model/score_part.h"

namespace penstock {

// Reserved: no reader produces a feature id of 2^63 or more.
inline constexpr Key kBiasKey = 0xffff'ffff'ffff'fffeULL;

struct LinearOptions {
  size_t outputs = 1;
  bool bias = true;
  Regularizer regularizer = {};
  uint64_t features = 0;  // their keys are below it; 0: that is not known
  TableSpec table = {};   // name and seed of the weights; the part sets dim
};

class LinearPart final : public ScorePart {
 public:
  explicit LinearPart(const LinearOptions& options);

  const std::vector<TableSpec>& Tables() const override { return tables_; }
  bool by_features() const override { return true; }
  void Prepare(const Batch& batch, PreparedBatch* prepared, std::span<std::vector<Key>> keys) const override;
  void AddScores(const Batch& batch, const PreparedBatch& prepared,
                 std::span<const std::span<const float>> values, std::span<float> scores) override;
  void Backward(const Batch& batch, const PreparedBatch& prepared,
                std::span<const std::span<const float>> values, const Deltas& deltas,
                std::span<std::vector<float>> gradients) override;
  std::optional<Norms> norms() const override;

 private:
  const LinearOptions options_;
  std::vector<TableSpec> tables_;
};

}  // namespace penstock
