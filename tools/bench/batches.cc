#include "tools/bench/batches.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/base/hash.h"

namespace penstock {
namespace {

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

uint64_t Scaled(uint64_t random, uint64_t range) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(random) * range) >> 64);
}

}  // namespace

BatchMaker::BatchMaker(uint64_t rows, uint64_t seed) : permutation_(rows), state_(Mix64(seed + kGolden)) {
  std::iota(permutation_.begin(), permutation_.end(), 0u);
}

// The first steps of a Fisher-Yates shuffle of what the last batch left: uniform, distinct, and as quick for
// few keys as for all.
std::vector<Key> BatchMaker::Next(uint64_t keys) {
  std::vector<Key> batch(keys);
  for (uint64_t i = 0; i < keys; ++i) {
    const uint64_t j = i + Scaled(Mix64(state_ += kGolden), permutation_.size() - i);
    std::swap(permutation_[i], permutation_[j]);
    batch[i] = permutation_[i];
  }
  return batch;
}

// The stride visits every row: ranks that follow each other are not neighbours.
KeySampler::KeySampler(uint64_t rows, std::optional<double> zipf, uint64_t seed)
    : rows_(rows), stride_(0x9e3779b1 % rows | 1), state_(Mix64(seed + kGolden)) {
  while (std::gcd(stride_, rows) != 1) ++stride_;
  if (zipf) zipf_.emplace(rows, *zipf);
}

double KeySampler::Uniform() { return static_cast<double>(Mix64(state_ += kGolden) >> 11) * 0x1p-53; }

std::vector<Key> KeySampler::Next(uint64_t keys) {
  std::vector<Key> batch(keys);
  for (Key& key : batch) {
    const uint64_t rank =
        zipf_ ? zipf_->Draw([this] { return Uniform(); }) - 1 : Scaled(Mix64(state_ += kGolden), rows_);
    key = static_cast<Key>(static_cast<unsigned __int128>(rank) * stride_ % rows_);
  }
  return batch;
}

}  // namespace penstock
