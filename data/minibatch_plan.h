// MinibatchPlan: which examples make up minibatch k of a (pass, partition).
//
// A pure function of the arguments, so that a worker that takes over a partition re-runs the same minibatches
// under the same identity. With shuffle, the partition's examples are permuted by a Fisher-Yates shuffle
// whose draws come from a counter-based generator, Mix64 of (seed, pass, partition, position); without, they
// come in file order. They are cut into as few minibatches as batch_size allows, whose sizes differ by one at
// most: a remainder of a few examples would weigh as much as a full minibatch, and its noisy step would be
// the last of the pass. Immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace penstock {

class MinibatchPlan {
 public:
  // Minibatches of a stream of a sync job: as many as it has rounds in a pass, however few records that
  // leaves for each.
  static MinibatchPlan OfRounds(uint64_t rounds, bool shuffle, uint64_t seed, uint32_t pass, uint32_t stream,
                                size_t records) {
    MinibatchPlan plan(1, shuffle, seed, pass, stream, records);
    plan.count_ = rounds;
    return plan;
  }
  // batch_size at least 1; records below 2^32.
  MinibatchPlan(uint32_t batch_size, bool shuffle, uint64_t seed, uint32_t pass, uint32_t partition,
                size_t records);

  uint64_t count() const { return count_; }
  // Examples of minibatch k < count(), as Examples::Gather takes them.
  std::span<const uint32_t> Indices(uint64_t k) const;

 private:
  uint64_t count_;
  std::vector<uint32_t> order_;
};

}  // namespace penstock
