// MinibatchFeed: the minibatches of one partition on their way to the model: gathered, their keys found, and
// their rows asked for, each ahead of its turn.
//
// At most three are under way: the one that computes, the next, whose rows are being pulled, and the one
// after that, which is prepared while there is nothing but answers to wait for. Their buffers are kept from
// one partition to the next. The training thread's.
#pragma once

#include <array>
#include <cstdint>
#include <future>
#include <limits>
#include <vector>

#include "client/client.h"
#include "data/examples.h"
#include "data/minibatch_plan.h"
#include "model/model.h"

namespace penstock {

struct Minibatch {
  uint64_t number = std::numeric_limits<uint64_t>::max();
  Batch batch;
  PreparedBatch prepared;
  std::future<Result<PullResult>> rows;  // valid from Pull until it is taken
};

// What minibatches are made of. All of it must live until the feed is given something else.
struct MinibatchSource {
  const Model* model = nullptr;
  const std::vector<TableSpec>* tables = nullptr;  // whose rows are pulled, in the order of the model's
  const Examples* examples = nullptr;
  const MinibatchPlan* plan = nullptr;
  Purpose purpose = Purpose::kTrain;
};

class MinibatchFeed {
 public:
  explicit MinibatchFeed(Client& client) : client_(client) {}

  // What was under way is forgotten.
  void Begin(const MinibatchSource& source);
  // Gathers minibatch k and finds its keys, unless that was done. Beyond the plan's end nothing happens.
  void Prepare(uint64_t k);
  // Prepares minibatch k and asks for its rows, unless they are on their way.
  void Pull(uint64_t k);
  bool Pulling(uint64_t k) { return At(k).number == k && At(k).rows.valid(); }
  // Minibatch k, which was prepared; it stays until k + 3 is.
  Minibatch& At(uint64_t k) { return ring_[k % ring_.size()]; }

 private:
  Client& client_;
  MinibatchSource source_;
  std::array<Minibatch, 3> ring_;
  std::vector<TableKeysView> keys_;  // scratch
};

}  // namespace penstock
