// Trainer: works leases off: reads a partition, and for each minibatch pulls rows, computes, and pushes
// gradients; or evaluates.
//
// One training thread calls Run for one lease after the other. While minibatch k computes, the rows of k + 1
// are on their way, and up to `inflight` pushes are unanswered; k + 2 is prepared before they are waited for.
// A minibatch counts as progress only when every unit of it is logged on all copies (rule 16). What comes
// next the lease's LeaseRun decides: whatever can pass is waited for and said once; then the partition goes
// on from what is recorded, under the same identities, so that what survived is not applied again.
//
// Servers log what tables of level memory hold once a lag. A lease of which everything is answered is not
// waited for: it stays in the trainer, and Settle looks after it between other leases.
#pragma once

#include <deque>
#include <future>
#include <map>
#include <memory>
#include <vector>

#include "data/minibatch_plan.h"
#include "worker/train/clock_gate.h"
#include "worker/train/job_context.h"
#include "worker/train/minibatch_feed.h"
#include "worker/train/patience.h"
#include "worker/train/worker_metrics.h"

namespace penstock {

class Trainer {
 public:
  // data_memory_bytes: of parsed data that are kept from pass to pass (PartitionStore). roots: of the jobs of
  // clients. `metrics` must outlive it.
  Trainer(Client& client, uint64_t data_memory_bytes, DataRoots roots, WorkerMetrics& metrics);
  ~Trainer();

  // True: the lease is done (progress().done), failed (progress().error) or dropped. False: everything of it
  // is answered and not all of it logged; Settle says when it has ended.
  bool Run(const std::shared_ptr<LeaseTask>& task);
  // Of the leases that wait for logs, those that have ended since. What a server lost of them before it was
  // logged is worked off again first. With `flush` the servers are asked to log now, until none waits.
  std::vector<std::shared_ptr<LeaseTask>> Settle(bool flush);
  // How many wait for logs.
  size_t unlogged() const { return unlogged_.size(); }

 private:
  // Everything of it is answered.
  struct Unlogged {
    std::shared_ptr<LeaseTask> task;
    std::shared_ptr<Producer> producer;
    MinibatchPlan plan;

    LeaseWindow Window() const;
  };

  Status Work(const std::shared_ptr<LeaseTask>& task);
  bool Ended(LeaseTask& task, const Status& status);
  Status Train(const std::shared_ptr<LeaseTask>& shared, JobContext& context, const Examples& examples);
  Status TrainOn(LeaseTask& task, JobContext& context, uint64_t k, Producer& producer);
  std::future<Result<PushResult>> PushGradients(const LeaseTask& task, JobContext& context,
                                                const Minibatch& minibatch, uint64_t clock,
                                                Producer& producer);
  Status Evaluate(LeaseTask& task, JobContext& context, const Examples& examples);
  Status EvaluateWeights(JobContext& context, const std::vector<TableSpec>& tables, Evaluation* evaluation);
  template <typename T>
  Result<T> Await(std::future<Result<T>>& answer);
  Status FinishPushes(LeaseTask& task, size_t leave);
  Status PassGate(LeaseTask& task, uint64_t clock);
  void Report(LeaseTask& task, const MinibatchPlan& plan, const Producer& producer);

  Client& client_;
  const DataRoots roots_;
  WorkerMetrics& metrics_;
  std::shared_ptr<IdxCache> cache_;
  PartitionStore store_;
  std::map<uint32_t, std::unique_ptr<JobContext>> jobs_;
  struct PushInFlight {
    uint64_t clock = 0;
    uint64_t step = 0;  // ScheduleSteps
    std::future<Result<PushResult>> answer;
  };
  std::deque<PushInFlight> pushes_;
  std::vector<Unlogged> unlogged_;
  MinibatchFeed feed_;
  TableGradients gradients_;
  std::vector<TablePushView> pushed_;    // scratch
  std::map<uint32_t, uint64_t> clocks_;  // by job: the steps of this worker
  ClockGate* gate_ = nullptr;            // of the lease in work; nullptr: there is none
  Patience patience_;
};

}  // namespace penstock
