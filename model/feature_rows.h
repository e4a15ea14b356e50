// FeatureRows: the examples of a minibatch as rows of (feature, value), whatever form the batch has.
//
// Features are numbered alike for every model that has weights by feature:
//   sparse data  the id of the data, with its value
//   columns      numeric column j (of `dim`) is feature j; category c (FeatureSchema::CategoryId, 63 bits
//                or below data.hash_buckets) is feature dim + c with value 1, each of several in a field of
//                kind multi
// so that features of data with categories are below dim + data.hash_buckets, or of any number without
// buckets. Zeros of numeric columns are left out. Of a matrix, dense data without categories, there are only
// the keys 0 .. dim-1 in this order, as most parts multiply Batch::features itself; AddMatrixRows adds the
// rows.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/ids.h"
#include "model/batch.h"
#include "model/key_compactor.h"

namespace penstock {

struct FeatureRows {
  std::vector<Key> keys;                // the distinct features
  std::vector<uint64_t> row_offsets;    // [rows + 1]: example i has the entries [row_offsets[i], [i+1])
  std::vector<uint32_t> positions;      // [entries]: where in `keys` the feature of each stands
  std::vector<float> values;            // [entries]
  std::vector<uint32_t> of_categories;  // scratch: [categories], the position of each
};

// True where a batch is a matrix [rows, dim] of the features and nothing else.
inline bool IsMatrix(const Batch& batch) { return batch.dense && batch.fields == 0; }

// Which features a batch's rows shall have: with `all` above 0 `keys` is 0 .. all-1, else those that occur
// (and every numeric column).
void MakeFeatureRows(const Batch& batch, uint64_t all, KeyCompactor* compactor, FeatureRows* rows);
// To what MakeFeatureRows made of a matrix.
void AddMatrixRows(const Batch& batch, FeatureRows* rows);

}  // namespace penstock
