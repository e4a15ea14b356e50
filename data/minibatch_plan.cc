#include "data/minibatch_plan.h"

#include <algorithm>
#include <numeric>

#include "common/base/shuffle.h"

namespace penstock {

MinibatchPlan::MinibatchPlan(uint32_t batch_size, bool shuffle, uint64_t seed, uint32_t pass,
                             uint32_t partition, size_t records)
    : count_((records + batch_size - 1) / batch_size), order_(records) {
  std::iota(order_.begin(), order_.end(), 0u);
  if (shuffle) SeededShuffle(ShuffleStream(seed, pass, partition), &order_);
}

std::span<const uint32_t> MinibatchPlan::Indices(uint64_t k) const {
  // The first `longer` minibatches have one example more.
  const size_t size = order_.size() / count_, longer = order_.size() % count_;
  return std::span(order_).subspan(k * size + std::min<size_t>(k, longer), size + (k < longer));
}

}  // namespace penstock
