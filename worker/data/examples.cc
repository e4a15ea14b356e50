#include "worker/data/examples.h"

namespace penstock {
namespace {

void GatherDense(const Examples& e, std::span<const uint32_t> indices, Batch* batch) {
  batch->dim = e.dim;
  batch->features.resize(indices.size() * e.dim);
  float* to = batch->features.data();
  for (uint32_t index : indices) {
    const uint8_t* from = e.bytes->data() + (e.first_record + e.records[index]) * e.dim;
    for (size_t j = 0; j < e.dim; ++j) to[j] = static_cast<float>(from[j]) * e.scale - e.mean;
    to += e.dim;
  }
}

void GatherColumns(const Examples& e, std::span<const uint32_t> indices, Batch* batch) {
  batch->dim = e.dim;
  batch->fields = e.fields;
  if (e.fields > 0) batch->field_offsets.push_back(0);
  for (const uint32_t index : indices) {
    const auto row = e.features.begin() + static_cast<ptrdiff_t>(index * e.dim);
    batch->features.insert(batch->features.end(), row, row + static_cast<ptrdiff_t>(e.dim));
    const size_t first = index * e.fields;
    for (size_t f = first; f < first + e.fields; ++f) {
      for (uint64_t i = e.field_offsets[f]; i < e.field_offsets[f + 1]; ++i) {
        batch->categories.push_back(e.categories[i]);
      }
      batch->field_offsets.push_back(batch->categories.size());
    }
  }
}

void GatherSparse(const Examples& e, std::span<const uint32_t> indices, Batch* batch) {
  batch->row_offsets.push_back(0);
  for (uint32_t index : indices) {
    const auto begin = static_cast<ptrdiff_t>(e.row_offsets[index]);
    const auto end = static_cast<ptrdiff_t>(e.row_offsets[index + 1]);
    batch->ids.insert(batch->ids.end(), e.ids.begin() + begin, e.ids.begin() + end);
    batch->values.insert(batch->values.end(), e.values.begin() + begin, e.values.begin() + end);
    batch->row_offsets.push_back(batch->ids.size());
  }
}

}  // namespace

void Examples::Gather(std::span<const uint32_t> indices, Batch* batch) const {
  batch->Clear();
  batch->rows = indices.size();
  batch->dense = dense;
  batch->indices.assign(indices.begin(), indices.end());
  for (uint32_t index : indices) batch->labels.push_back(labels[index]);
  if (!weights.empty()) {
    for (uint32_t index : indices) batch->weights.push_back(weights[index]);
  }
  if (dense && bytes == nullptr) {
    GatherColumns(*this, indices, batch);
  } else if (dense) {
    GatherDense(*this, indices, batch);
  } else {
    GatherSparse(*this, indices, batch);
  }
}

}  // namespace penstock
