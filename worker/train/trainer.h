// Trainer: works one lease off: reads the partition, and for each minibatch pulls rows, computes, and pushes
// gradients; or evaluates.
//
// One training thread calls Run for one lease after the other. While minibatch k computes, the rows of k + 1
// are on their way, and up to `inflight` pushes are unanswered; k + 2 is prepared before they are waited for.
// A minibatch counts as progress only when every unit of it is logged on all copies (rule 16). What comes
// next the lease's LeaseRun decides: whatever can pass is waited for and said once; then the partition goes
// on from what is recorded, under the same identities, so that what survived is not applied again.
#pragma once

#include <deque>
#include <future>
#include <map>
#include <memory>

#include "worker/train/clock_gate.h"
#include "worker/train/job_context.h"
#include "worker/train/minibatch_feed.h"
#include "worker/train/patience.h"

namespace penstock {

class Trainer {
 public:
  // data_memory_bytes: of parsed data that are kept from pass to pass (PartitionStore). roots: of the jobs of
  // clients.
  Trainer(Client& client, uint64_t data_memory_bytes, DataRoots roots);
  ~Trainer();

  // Returns when the lease is done (progress().done), failed (progress().error) or dropped.
  void Run(LeaseTask& task);
  // So long it has waited in all for rows and for answers of pushes, with nothing else to do.
  double waited_seconds() const { return waited_seconds_; }

 private:
  Status Train(LeaseTask& task, JobContext& context, const Examples& examples);
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
  std::shared_ptr<IdxCache> cache_;
  PartitionStore store_;
  std::map<uint32_t, std::unique_ptr<JobContext>> jobs_;
  struct PushInFlight {
    uint64_t clock = 0;
    std::future<Result<PushResult>> answer;
  };
  std::deque<PushInFlight> pushes_;
  MinibatchFeed feed_;
  TableGradients gradients_;
  std::vector<TablePushView> pushed_;    // scratch
  std::map<uint32_t, uint64_t> clocks_;  // by job: the steps of this worker
  ClockGate* gate_ = nullptr;            // of the lease in work; nullptr: there is none
  Patience patience_;
  double waited_seconds_ = 0;
};

}  // namespace penstock
