#include "data/examples.h"

#include <algorithm>

#include "common/base/target_clones.h"

namespace penstock {
namespace {

// [from, from + count) as floats: bytes * scale - mean.
PENSTOCK_TARGET_CLONES void ScaleBytes(const uint8_t* __restrict from, size_t count, float scale, float mean,
                                       float* __restrict to) {
  for (size_t j = 0; j < count; ++j) to[j] = static_cast<float>(from[j]) * scale - mean;
}

void GatherDense(const Examples& e, std::span<const uint32_t> indices, Batch* batch) {
  float* to = batch->features.data();
  for (const uint32_t index : indices) {
    ScaleBytes(e.bytes->data() + (e.first_record + e.records[index]) * e.dim, e.dim, e.scale, e.mean, to);
    to += e.dim;
  }
}

void GatherColumns(const Examples& e, std::span<const uint32_t> indices, Batch* batch) {
  float* to = batch->features.data();
  for (const uint32_t index : indices) to = std::copy_n(e.features.data() + index * e.dim, e.dim, to);
  if (e.fields == 0) return;
  size_t categories = 0;
  for (const uint32_t index : indices) {
    const uint64_t* const offsets = e.field_offsets.data() + index * e.fields;
    categories += offsets[e.fields] - offsets[0];
    __builtin_prefetch(e.categories.data() + offsets[0]);
  }
  batch->categories.resize(categories);
  batch->field_offsets[0] = 0;
  uint64_t* category = batch->categories.data();
  uint64_t* offset = batch->field_offsets.data() + 1;
  for (const uint32_t index : indices) {
    const uint64_t* const offsets = e.field_offsets.data() + index * e.fields;
    const uint64_t before = static_cast<uint64_t>(category - batch->categories.data()) - offsets[0];
    category = std::copy_n(e.categories.data() + offsets[0], offsets[e.fields] - offsets[0], category);
    for (size_t f = 1; f <= e.fields; ++f) *offset++ = offsets[f] + before;
  }
}

void GatherSparse(const Examples& e, std::span<const uint32_t> indices, Batch* batch) {
  batch->ids.clear();
  batch->values.clear();
  batch->row_offsets.assign(1, 0);
  for (const uint32_t index : indices) {
    const auto begin = static_cast<ptrdiff_t>(e.row_offsets[index]);
    const auto end = static_cast<ptrdiff_t>(e.row_offsets[index + 1]);
    batch->ids.insert(batch->ids.end(), e.ids.begin() + begin, e.ids.begin() + end);
    batch->values.insert(batch->values.end(), e.values.begin() + begin, e.values.begin() + end);
    batch->row_offsets.push_back(batch->ids.size());
  }
}

}  // namespace

uint64_t Examples::MemoryBytes() const {
  const auto bytes_of = [](const auto&... vectors) { return ((vectors.size() * sizeof(vectors[0])) + ...); };
  return bytes_of(records, features, field_offsets, categories, weights, row_offsets, ids, values, labels);
}

void Examples::Gather(std::span<const uint32_t> indices, Batch* batch) const {
  // What the batch has from before is not cleared but overwritten: filling it with zeros takes as long.
  const size_t rows = indices.size();
  batch->rows = rows;
  batch->dense = dense;
  batch->dim = dense ? dim : 0;
  batch->fields = fields;
  batch->indices.assign(indices.begin(), indices.end());
  batch->labels.resize(rows);
  for (size_t i = 0; i < rows; ++i) batch->labels[i] = labels[indices[i]];
  batch->weights.resize(weights.empty() ? 0 : rows);
  for (size_t i = 0; i < batch->weights.size(); ++i) batch->weights[i] = weights[indices[i]];
  batch->features.resize(rows * batch->dim);
  batch->field_offsets.resize(fields > 0 ? rows * fields + 1 : 0);
  if (fields == 0) batch->categories.clear();
  if (!dense) return GatherSparse(*this, indices, batch);
  batch->row_offsets.clear();
  batch->ids.clear();
  batch->values.clear();
  if (bytes != nullptr) {
    GatherDense(*this, indices, batch);
  } else {
    GatherColumns(*this, indices, batch);
  }
}

}  // namespace penstock
