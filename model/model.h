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
// Gradients are the MEAN over the minibatch's examples of the loss gradient, plus the regulariser's share
// (linear.h). A Model owns its workspace and belongs to one thread; Tables, RegularizedKeys and outputs are
// const.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/cluster/table_spec.h"
#include "model/batch.h"
#include "model/job_initializer.h"
#include "model/key_compactor.h"
#include "model/loss.h"
#include "model/metrics.h"

namespace penstock {

struct JobSpec;

// One minibatch's keys. Reused from batch to batch; owned by one thread at a time.
struct PreparedBatch {
  std::vector<std::vector<Key>>
      keys;  // [tables]: the distinct rows to pull, in the order the gradients will have
  std::vector<uint32_t> positions;  // [nonzeros] of a sparse batch: where in keys[0] each feature stands
  KeyCompactor compactor;           // scratch
};

using TableValues = std::vector<std::span<const float>>;  // [tables]: [keys, dim] of that table, row-major
using TableGradients = std::vector<std::vector<float>>;   // the same shapes

enum class Purpose { kTrain, kEvaluate };

class Model {
 public:
  virtual ~Model() = default;

  // The tables the job needs, named "<job>/<what>", ready for createTable (id 0).
  const std::vector<TableSpec>& Tables() const { return tables_; }
  // Optimizer, schedule, durability and perhaps initializer of the tables, as the job says. CreateModel calls
  // it before all else. InvalidArgument names the key, and the tables there are where the job names another.
  Status Configure(const JobSpec& job);
  virtual LossKind loss() const = 0;
  virtual size_t outputs() const = 0;  // scores an example

  // The rows that `batch` needs. Training may need more than evaluation (l2_all).
  virtual void Prepare(const Batch& batch, Purpose purpose, PreparedBatch* prepared) const = 0;

  // Sum of the losses of the batch under `values`; `gradients` is resized to the shapes of the keys.
  virtual double Compute(const Batch& batch, const PreparedBatch& prepared, const TableValues& values,
                         TableGradients* gradients) = 0;
  // Scores [rows, outputs]: log-odds, logits or predictions. Valid until the next call.
  virtual std::span<const float> Score(const Batch& batch, const PreparedBatch& prepared,
                                       const TableValues& values) = 0;
  void Evaluate(const Batch& batch, const PreparedBatch& prepared, const TableValues& values,
                Evaluation* evaluation) {
    evaluation->Add(loss(), batch.labels, outputs(), Score(batch, prepared, values).data());
  }

  // What the job minimises, for Evaluation::Results.
  virtual Objective objective() const = 0;
  // How many rows of table `table` the objective's norms run over: keys 0 .. n-1, 0 where there is no such
  // norm. One evaluated partition pulls them (in pieces of its own choice) and gives them to
  // Evaluation::AddWeights.
  virtual uint64_t RegularizedRows(size_t table) const = 0;
  // Of a table that is a layer, for initializers.
  virtual Fans FansOf(size_t table) const { return {}; }

 protected:
  // What a model says of each of its tables: name, dim, dense_size, seed, initializer. Filled by
  // constructors.
  std::vector<TableSpec> tables_;
};

// The model of a job. InvalidArgument where job and data do not fit together, naming the option.
Result<std::unique_ptr<Model>> CreateModel(const JobSpec& job, const DataShape& shape);

}  // namespace penstock
