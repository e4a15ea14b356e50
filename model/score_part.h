// ScorePart: one term of the sum that a model's scores are, with tables of its own.
//
// The scores of an example are a constant plus what each part adds: linear is one LinearPart, a factorization
// machine a LinearPart and a FactorPart, wide & deep a DeepPart and a LinearPart. A part knows nothing of the
// loss: it is given dl/ds. Model (model.h) puts parts together; a part belongs to its thread.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/cluster/table_spec.h"
#include "job/job_initializer.h"
#include "model/batch.h"
#include "model/feature_rows.h"
#include "model/key_compactor.h"

namespace penstock {

// One minibatch's keys. Reused from batch to batch; owned by one thread at a time.
struct PreparedBatch {
  std::vector<std::vector<Key>>
      keys;              // [tables]: the distinct rows to pull, in the order the gradients will have
  FeatureRows features;  // where a part goes by features
  std::vector<uint32_t> positions;  // [categories]: where in the keys of the embeddings each category stands
  KeyCompactor compactor;           // scratch
};

using TableValues = std::vector<std::span<const float>>;  // [tables]: [keys, dim] of that table, row-major
using TableGradients = std::vector<std::vector<float>>;   // the same shapes

enum class Purpose { kTrain, kEvaluate };

// l1 * |w| + l2/2 * ||w||^2 over rows 0 .. rows-1 of the part's first table.
struct Norms {
  double l1 = 0;
  double l2 = 0;
  uint64_t rows = 0;   // 0: none is regularised, or they cannot be named
  bool known = false;  // false: they cannot be named
};

// What a part's gradients are made of.
struct Deltas {
  std::span<const float> scores;      // [rows, outputs]: dl/ds over the number of examples
  std::span<const float> row_shares;  // [features.keys]: r of regularizer.h; empty: all 1
};

class ScorePart {
 public:
  virtual ~ScorePart() = default;

  // What the part says of each of its tables: name, dim, dense_size, seed, initializer.
  virtual const std::vector<TableSpec>& Tables() const = 0;
  // Of a table that is a layer, for initializers.
  virtual Fans FansOf(size_t table) const { return {}; }
  // Whether Prepare reads PreparedBatch::features.
  virtual bool by_features() const = 0;
  // Of these and the calls below the spans are those of the part's own tables.
  virtual void Prepare(const Batch& batch, PreparedBatch* prepared,
                       std::span<std::vector<Key>> keys) const = 0;
  // Adds to `scores` [rows, outputs].
  virtual void AddScores(const Batch& batch, const PreparedBatch& prepared,
                         std::span<const std::span<const float>> values, std::span<float> scores) = 0;
  // After AddScores of the same batch; resizes and fills the gradients, regularisers included.
  virtual void Backward(const Batch& batch, const PreparedBatch& prepared,
                        std::span<const std::span<const float>> values, const Deltas& deltas,
                        std::span<std::vector<float>> gradients) = 0;
  // Of the objective; nullopt where the part has no such norms.
  virtual std::optional<Norms> norms() const { return std::nullopt; }
};

}  // namespace penstock
