#include "worker/train/minibatch_feed.h"

namespace penstock {

void MinibatchFeed::Begin(const MinibatchSource& source) {
  source_ = source;
  for (Minibatch& minibatch : ring_) {
    minibatch.number = Minibatch{}.number;
    minibatch.rows = {};
  }
}

void MinibatchFeed::Prepare(uint64_t k) {
  Minibatch& minibatch = At(k);
  if (k >= source_.plan->count() || minibatch.number == k) return;
  source_.examples->Gather(source_.plan->Indices(k), &minibatch.batch);
  source_.model->Prepare(minibatch.batch, source_.purpose, &minibatch.prepared);
  minibatch.number = k;
  minibatch.rows = {};
}

void MinibatchFeed::Pull(uint64_t k) {
  if (k >= source_.plan->count()) return;
  Prepare(k);
  Minibatch& minibatch = At(k);
  if (minibatch.rows.valid()) return;
  keys_.clear();
  for (size_t t = 0; t < minibatch.prepared.keys.size(); ++t)
    keys_.push_back({(*source_.tables)[t].id, minibatch.prepared.keys[t]});
  minibatch.rows = client_.Pull(std::span<const TableKeysView>(keys_));
}

}  // namespace penstock
