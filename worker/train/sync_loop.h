// SyncLoop: a worker's part in a pass of a sync job: it asks the scheduler what to do, computes a minibatch
// of some stream or commits a round, and asks again.
//
// A minibatch's gradients are pushed as sums over its examples, tagged with the round, under the stream's
// producer with the round as the sequence and as low; it is finished when the push is answered, because
// tables that accumulate answer when they have logged. Weights do not change within a round, so whatever has
// to be done again is computed anew and comes out the same, and pulled rows serve all minibatches of the
// round. Rule 27.
//
// The training thread's.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "data/minibatch_plan.h"
#include "proto/control.capnp.h"
#include "worker/train/job_context.h"
#include "worker/train/patience.h"
#include "worker/train/worker_metrics.h"

namespace penstock {

class SyncLoop {
 public:
  // `task` is a seat of the job in training.
  SyncLoop(Client& client, JobContext& context, LeaseTask& task, Patience& patience, WorkerMetrics& metrics)
      : client_(client), context_(context), task_(task), patience_(patience), metrics_(metrics) {}

  // Returns when the pass is over (progress().done), the seat is gone, or with what cannot pass.
  Status Run();

 private:
  struct Order {
    proto::Scheduler::SyncAction action = proto::Scheduler::SyncAction::WAIT;
    uint64_t round = 0;
    uint32_t stream = 0;
    ProducerId producer = 0;
    uint64_t examples = 0;
    uint64_t step = 0;
  };
  struct Finished {
    uint64_t round = 0;
    uint32_t stream = 0;
    uint64_t examples = 0;
    double loss_sum = 0;
    uint64_t bad_records = 0;
  };

  Result<Order> Ask();
  Status Carry(const Order& order);
  Status Work(const Order& order);
  Status Commit(const Order& order);
  const MinibatchPlan& PlanOf(uint32_t stream, size_t records);
  Status PullRows(uint64_t round, const std::vector<std::vector<Key>>& keys);
  Status Push(const Order& order, std::vector<TablePush> pushes, std::span<const uint32_t> indices);

  Client& client_;
  JobContext& context_;
  LeaseTask& task_;
  Patience& patience_;
  WorkerMetrics& metrics_;
  // What the next question tells.
  Finished finished_;
  uint64_t committed_ = 0;
  std::map<uint32_t, MinibatchPlan> plans_;  // by stream, of this pass
  // The rows pulled last.
  uint64_t pulled_round_ = 0;
  std::vector<std::vector<Key>> pulled_keys_;
  PullResult pulled_;
  // Scratch.
  Batch batch_;
  PreparedBatch prepared_;
  TableGradients gradients_;
};

}  // namespace penstock
