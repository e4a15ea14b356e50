#include "worker/data/minibatch_plan.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/base/hash.h"

namespace penstock {

MinibatchPlan::MinibatchPlan(uint32_t batch_size, bool shuffle, uint64_t seed, uint32_t pass,
                             uint32_t partition, size_t records)
    : count_((records + batch_size - 1) / batch_size), order_(records) {
  std::iota(order_.begin(), order_.end(), 0u);
  if (!shuffle) return;
  const uint64_t stream = Mix64(Mix64(seed + 0x9e3779b97f4a7c15ULL) + ((uint64_t{pass} << 32) | partition));
  for (size_t i = records; i > 1; --i) {
    // The high half of the product is uniform in [0, i) up to a bias of i / 2^64.
    const uint64_t draw = Mix64(stream + i * 0x9e3779b97f4a7c15ULL);
    const auto j = static_cast<size_t>((static_cast<unsigned __int128>(draw) * i) >> 64);
    std::swap(order_[i - 1], order_[j]);
  }
}

std::span<const uint32_t> MinibatchPlan::Indices(uint64_t k) const {
  // The first `longer` minibatches have one example more.
  const size_t size = order_.size() / count_, longer = order_.size() % count_;
  return std::span(order_).subspan(k * size + std::min<size_t>(k, longer), size + (k < longer));
}

}  // namespace penstock
