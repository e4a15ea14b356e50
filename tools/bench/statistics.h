// Spread: least, median and greatest of repeated measurements, as every figure of the benchmarks is given.
#pragma once

#include <algorithm>
#include <vector>

namespace penstock {

struct Spread {
  double min = 0;
  double median = 0;
  double max = 0;

  // Of at least one value; the median of an even number is the mean of the two in the middle.
  static Spread Of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const size_t n = values.size();
    return {values.front(), (values[(n - 1) / 2] + values[n / 2]) / 2, values.back()};
  }
  Spread Times(double factor) const { return {min * factor, median * factor, max * factor}; }
};

}  // namespace penstock
