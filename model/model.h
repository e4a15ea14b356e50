// Model: what the training loop, evaluation and serving know of a built-in model.
//
// A model has N tables (Tables()). For a batch, Prepare gives the keys to pull of each table; Compute turns
// the pulled values into a gradient for each of those keys, to be pushed; Evaluate only scores. Prepare and
// Compute of different batches may run at different times, so that the next batch's rows are pulled while
// this one computes: everything that belongs to one batch stands in its PreparedBatch.
//
//   Batch -> Prepare -> keys -> (pull) -> values -> Compute -> gradients -> (push; the server's optimizer
//   steps)
//
// Every built-in model is a sum: the scores of an example are a constant plus what each part (score_part.h)
// adds, and go into one loss (loss.h). With o_i the weight of example i (1 where the data have none) times
// that of its class, a minibatch of B examples gives
//     1/B * sum over the minibatch of o_i * dl_i/dw   plus the regularisers' share (regularizer.h)
// which is the mean where the weights are 1. Metrics go by the weights of examples alone.
//
// The regulariser's rule "scaled" needs to know how often features occur. A table "<job>/counts" of the
// optimizer add, the last one and no affair of the job's, has a row for each feature and the row kBiasKey:
// every minibatch pushes 1 to those of its features and to the latter. Being floats they stop at 2^24
// minibatches.
//
// A Model owns its workspace and belongs to one thread; Tables,
// RegularizedRows and outputs are const.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/cluster/table_spec.h"
#include "model/batch.h"
#include "model/loss.h"
#include "model/metrics.h"
#include "model/regularizer.h"
#include "model/score_part.h"

namespace penstock {

struct JobSpec;

struct ModelOptions {
  LossKind loss = LossKind::kLogistic;
  uint32_t classes = 2;                   // softmax
  float constant = 0;                     // added to every score
  std::vector<float> class_weights = {};  // by label, empty: all 1; not of squared
  RegularizerRule rule = RegularizerRule::kTouched;
  uint64_t features = 0;  // rule kAll: a minibatch of training has the features 0 .. features-1
  uint64_t examples = 1;  // rule kByExample: N of the objective
  TableSpec counts = {};  // rule kScaled: its name

  size_t outputs() const { return loss == LossKind::kSoftmax ? classes : 1; }
};

class Model {
 public:
  // The tables are those of the parts, one part after the other.
  Model(const ModelOptions& options, std::vector<std::unique_ptr<ScorePart>> parts);

  // The tables the job needs, named "<job>/<what>", ready for createTable (id 0).
  const std::vector<TableSpec>& Tables() const { return tables_; }
  // Optimizer, schedule, durability and perhaps initializer of the tables, as the job says. CreateModel calls
  // it before all else. InvalidArgument names the key, and the tables there are where the job names another.
  Status Configure(const JobSpec& job);
  LossKind loss() const { return options_.loss; }
  size_t outputs() const { return outputs_; }  // scores an example

  // The rows that `batch` needs. Training may need more than evaluation (l2_all).
  void Prepare(const Batch& batch, Purpose purpose, PreparedBatch* prepared) const;

  // Sum of the (weighted) losses of the batch under `values`; `gradients` is resized to the shapes of the
  // keys.
  double Compute(const Batch& batch, const PreparedBatch& prepared, const TableValues& values,
                 TableGradients* gradients);
  // Scores [rows, outputs]: log-odds, logits or predictions. Valid until the next call.
  std::span<const float> Score(const Batch& batch, const PreparedBatch& prepared, const TableValues& values);
  void Evaluate(const Batch& batch, const PreparedBatch& prepared, const TableValues& values,
                Evaluation* evaluation) {
    evaluation->Add(loss(), batch.labels, batch.weights, outputs(), Score(batch, prepared, values).data());
  }

  // What the job minimises, for Evaluation::Results.
  Objective objective() const;
  // How many rows of table `table` the objective's norms run over: keys 0 .. n-1, 0 where there is no such
  // norm. One evaluated partition pulls them (in pieces of its own choice) and gives them to
  // Evaluation::AddWeights.
  uint64_t RegularizedRows(size_t table) const;

 private:
  std::optional<Norms> ObjectiveNorms() const;
  std::span<const float> WeightsOf(const Batch& batch);
  void FindRowShares(const Batch& batch, const PreparedBatch& prepared, const TableValues& values);

  const ModelOptions options_;
  const size_t outputs_;
  const std::vector<std::unique_ptr<ScorePart>> parts_;
  std::vector<TableSpec> tables_;
  bool by_features_ = false;
  std::vector<float> scores_;      // [rows, outputs]; after Compute, the deltas
  std::vector<float> weights_;     // [rows]
  std::vector<float> row_shares_;  // as Deltas has them
};

// The model of a job. InvalidArgument where job and data do not fit together, naming the option.
Result<std::unique_ptr<Model>> CreateModel(const JobSpec& job, const DataShape& shape);

}  // namespace penstock
