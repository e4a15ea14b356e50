// What the benchmarks draw before their clocks start: batches of keys.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/ids.h"
#include "tools/bench/zipf.h"

namespace penstock {

// Batches of distinct keys below `rows`, uniformly; the same for the same seed and number of calls.
class BatchMaker {
 public:
  BatchMaker(uint64_t rows, uint64_t seed);
  // 1 <= keys <= rows.
  std::vector<Key> Next(uint64_t keys);

 private:
  std::vector<uint32_t> permutation_;
  uint64_t state_;
};

// Keys below `rows`, each drawn for itself, so that a batch may name one more than once: uniformly, or from a
// Zipf distribution of this exponent, whose ranks are strewn over the keys.
class KeySampler {
 public:
  KeySampler(uint64_t rows, std::optional<double> zipf, uint64_t seed);
  std::vector<Key> Next(uint64_t keys);

 private:
  double Uniform();

  const uint64_t rows_;
  uint64_t stride_;
  std::optional<ZipfSampler> zipf_;
  uint64_t state_;
};

}  // namespace penstock
