#include "data/column_moments.h"

#include <cmath>

namespace penstock {

void ColumnMoments::Add(const std::vector<float>& features, size_t dim) {
  columns_.resize(dim);
  const size_t added = features.size() / dim;
  const auto n = static_cast<double>(added), before = static_cast<double>(records_);
  std::vector<Column> part(dim);
  for (size_t i = 0; i < added * dim; i += dim) {
    for (size_t c = 0; c < dim; ++c) part[c].mean += features[i + c];
  }
  for (Column& column : part) column.mean /= n;
  for (size_t i = 0; i < added * dim; i += dim) {
    for (size_t c = 0; c < dim; ++c) {
      const double apart = features[i + c] - part[c].mean;
      part[c].squares += apart * apart;
    }
  }
  for (size_t c = 0; c < dim; ++c) {
    const double apart = part[c].mean - columns_[c].mean;
    columns_[c].mean += apart * n / (before + n);
    columns_[c].squares += part[c].squares + apart * apart * before * n / (before + n);
  }
  records_ += added;
}

std::vector<NumericScale> ColumnMoments::Scales(const std::string& kind) const {
  std::vector<NumericScale> scales;
  if (kind == "none") return scales;
  for (const Column& column : columns_) {
    if (kind == "log1p") {
      scales.push_back({.logarithm = true});
      continue;
    }
    const double deviation = std::sqrt(column.squares / static_cast<double>(records_));
    // Values that are all equal have a deviation too, as their mean is rounded.
    const bool spread = deviation > 1e-9 * std::abs(column.mean) && std::isfinite(1 / deviation);
    scales.push_back({.mean = column.mean, .factor = spread ? 1 / deviation : 0});
  }
  return scales;
}

}  // namespace penstock
