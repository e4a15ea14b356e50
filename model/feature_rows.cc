#include "model/feature_rows.h"

#include <algorithm>
#include <numeric>
#include <span>

namespace penstock {
namespace {

// To `positions`: where each of `features`, numbered from `offset` on, stands in the keys.
void FindPositions(std::span<const uint64_t> features, Key offset, bool all, KeyCompactor* compactor,
                   std::vector<uint32_t>* positions) {
  positions->resize(features.size());
  if (!all) return compactor->AddAll(features, offset, positions->data());
  for (size_t i = 0; i < features.size(); ++i) (*positions)[i] = static_cast<uint32_t>(offset + features[i]);
}

void AddColumns(const Batch& batch, FeatureRows* rows) {
  const size_t most = batch.features.size() + batch.categories.size();
  rows->row_offsets.resize(batch.rows + 1);
  rows->row_offsets[0] = 0;
  rows->positions.resize(most);
  rows->values.resize(most);
  const float* column = batch.features.data();
  size_t entries = 0;
  for (size_t row = 0; row < batch.rows; ++row) {
    for (size_t j = 0; j < batch.dim; ++j, ++column) {
      rows->positions[entries] = static_cast<uint32_t>(j);
      rows->values[entries] = *column;
      entries += *column != 0 ? 1 : 0;  // which nobody can predict
    }
    if (batch.fields > 0) {
      const uint64_t begin = batch.field_offsets[row * batch.fields];
      const uint64_t end = batch.field_offsets[(row + 1) * batch.fields];
      std::copy(rows->of_categories.begin() + static_cast<ptrdiff_t>(begin),
                rows->of_categories.begin() + static_cast<ptrdiff_t>(end),
                rows->positions.begin() + static_cast<ptrdiff_t>(entries));
      std::fill_n(rows->values.begin() + static_cast<ptrdiff_t>(entries), end - begin, 1.0f);
      entries += end - begin;
    }
    rows->row_offsets[row + 1] = entries;
  }
  rows->positions.resize(entries);
  rows->values.resize(entries);
}

}  // namespace

void MakeFeatureRows(const Batch& batch, uint64_t all, KeyCompactor* compactor, FeatureRows* rows) {
  if (all > 0) {
    rows->keys.resize(all);
    std::iota(rows->keys.begin(), rows->keys.end(), Key{0});
  } else {
    compactor->Begin(&rows->keys);
    for (size_t j = 0; j < batch.dim; ++j) compactor->Add(j);
  }
  if (!batch.dense) {
    rows->row_offsets = batch.row_offsets;
    rows->values = batch.values;
    FindPositions(batch.ids, 0, all > 0, compactor, &rows->positions);
  } else if (!IsMatrix(batch)) {
    FindPositions(batch.categories, batch.dim, all > 0, compactor, &rows->of_categories);
    AddColumns(batch, rows);
  }
}

void AddMatrixRows(const Batch& batch, FeatureRows* rows) { AddColumns(batch, rows); }

}  // namespace penstock
