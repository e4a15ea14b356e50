#include "model/feature_rows.h"

#include <numeric>
#include <span>

namespace penstock {
namespace {

template <typename Position>
void AddSparse(const Batch& batch, const Position& position, FeatureRows* rows) {
  rows->row_offsets = batch.row_offsets;
  rows->values = batch.values;
  for (const uint64_t id : batch.ids) rows->positions.push_back(position(id));
}

std::span<const uint64_t> CategoriesOf(const Batch& batch, size_t row) {
  if (batch.fields == 0) return {};
  const uint64_t begin = batch.field_offsets[row * batch.fields];
  const uint64_t end = batch.field_offsets[(row + 1) * batch.fields];
  return std::span(batch.categories).subspan(begin, end - begin);
}

template <typename Position>
void AddColumns(const Batch& batch, const Position& position, FeatureRows* rows) {
  rows->row_offsets.assign(1, 0);
  for (size_t row = 0; row < batch.rows; ++row) {
    for (size_t j = 0; j < batch.dim; ++j) {
      const float value = batch.features[row * batch.dim + j];
      if (value == 0) continue;
      rows->positions.push_back(static_cast<uint32_t>(j));
      rows->values.push_back(value);
    }
    for (const uint64_t category : CategoriesOf(batch, row)) {
      rows->positions.push_back(position(batch.dim + category));
      rows->values.push_back(1);
    }
    rows->row_offsets.push_back(rows->positions.size());
  }
}

}  // namespace

void MakeFeatureRows(const Batch& batch, uint64_t all, KeyCompactor* compactor, FeatureRows* rows) {
  rows->positions.clear();
  rows->values.clear();
  if (all == 0) compactor->Begin(batch.dim + batch.ids.size() + batch.categories.size(), &rows->keys);
  const auto position = [&](Key key) { return all > 0 ? static_cast<uint32_t>(key) : compactor->Add(key); };
  if (all > 0) {
    rows->keys.resize(all);
    std::iota(rows->keys.begin(), rows->keys.end(), Key{0});
  } else {
    for (size_t j = 0; j < batch.dim; ++j) compactor->Add(j);
  }
  if (!batch.dense) {
    AddSparse(batch, position, rows);
  } else if (!IsMatrix(batch)) {
    AddColumns(batch, position, rows);
  }
}

void AddMatrixRows(const Batch& batch, FeatureRows* rows) {
  AddColumns(
      batch, [](Key) { return uint32_t{0}; }, rows);
}

}  // namespace penstock
