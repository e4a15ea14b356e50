// ColumnMoments: mean and spread of the numeric columns of a data set, from which data.scale is made. Pure.
//
// Merged partition by partition (Chan, Golub and LeVeque 1983), in double precision, so that neither large
// means nor many records cost digits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "job/feature_schema.h"

namespace penstock {

class ColumnMoments {
 public:
  // features: [records, dim], as Examples has them, of one record at least; dim is the same in every call.
  void Add(const std::vector<float>& features, size_t dim);
  // For data.scale `kind` ("none", "standard", "log1p"); empty for "none". A column whose values are all
  // equal becomes 0.
  std::vector<NumericScale> Scales(const std::string& kind) const;

 private:
  struct Column {
    double mean = 0, squares = 0;  // squares: of the distances from the mean, summed
  };
  uint64_t records_ = 0;
  std::vector<Column> columns_;
};

}  // namespace penstock
