// Evaluation: how well a model does on a data set, gathered part by part and merged.
//
// Each evaluated partition makes one; the sum of all is the result, whatever the order. Owned by one thread.
//
// AUC of a logistic or hinge model comes from a histogram of the scores (log-odds, margins): 65,536 bins of
// 1/1024 from -32 to 32, the outermost take what lies beyond. Pairs of a positive and a negative example in
// one bin count one half. The exact area therefore differs by at most half of the share of such pairs, which
// the result states as auc_error.
//
// Where examples have weights every metric is weighted: an example of weight 2 counts as two of it would.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "common/base/status.h"
#include "model/batch.h"
#include "model/loss.h"

namespace penstock {

// What is being minimised: sum of the losses + l1 * |w| + l2/2 * ||w||^2 over the regularised weights.
struct Objective {
  LossKind loss = LossKind::kLogistic;
  double l1 = 0;
  double l2 = 0;
  bool known = false;  // false where the model cannot give AddWeights its regularised weights, or there is no
                       // objective
};

class Evaluation {
 public:
  static constexpr size_t kBins = 65536;
  // What ToJson writes is never longer, with every bin in use.
  static constexpr size_t kMaxJsonBytes = size_t{4} << 20;

  // scores [rows, outputs] of a batch with labels [rows] and weights [rows] or none, as LossAndDeltas takes
  // them.
  void Add(LossKind kind, std::span<const float> labels, std::span<const float> weights, size_t outputs,
           const float* scores);
  // Regularised weights; every one exactly once over all parts that are merged.
  void AddWeights(std::span<const float> weights);
  void Merge(const Evaluation& other);

  uint64_t examples() const { return examples_; }
  double weight() const { return weight_; }      // of the examples
  double loss_sum() const { return loss_sum_; }  // weighted, as is the next
  double correct() const { return correct_; }
  double weights_l1() const { return l1_; }          // |w|
  double weights_l2_squared() const { return l2_; }  // ||w||^2

  struct Auc {
    double value = 0;
    double error = 0;      // |value - exact| is at most this
    bool defined = false;  // false without examples of both labels
  };
  Auc ComputeAuc() const;

  // {"examples", "loss", "accuracy", "auc", "auc_error", "rmse", "objective"}, those that apply: accuracy to
  // all but squared, auc to logistic and hinge with both labels present, rmse to squared.
  nlohmann::json Results(const Objective& objective) const;

  // As it travels from a worker: {"examples", "weight" (absent: examples), "loss_sum", "correct",
  // "weights_l1", "weights_l2", "histogram": [[bin, negatives, positives], ...]}.
  nlohmann::json ToJson() const;
  // InvalidArgument names the member that is missing or wrong.
  static Result<Evaluation> FromJson(const nlohmann::json& json);

 private:
  void AddScore(float score, bool positive, double weight);

  uint64_t examples_ = 0;
  double weight_ = 0;
  double loss_sum_ = 0;
  double correct_ = 0;
  double l1_ = 0;
  double l2_ = 0;
  std::vector<double> negatives_;  // [kBins], sums of weights; empty until the first batch of a binary loss
  std::vector<double> positives_;
};

}  // namespace penstock
