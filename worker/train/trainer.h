// Trainer: works one lease off: reads the partition, and for each minibatch pulls rows, computes, and pushes
// gradients; or evaluates.
//
// One training thread calls Run for one lease after the other. While minibatch k computes, the rows of k + 1
// are on their way, and up to `inflight` pushes are unanswered. A minibatch counts as progress only when
// every unit of it is logged on all copies (rule 16). Whatever can pass (a server that restarts, a full log)
// is waited for and said once; then the partition goes on from what is recorded, under the same identities,
// so that what survived is not applied again.
#pragma once

#include <deque>
#include <future>
#include <map>
#include <memory>

#include "worker/train/job_context.h"

namespace penstock {

class Trainer {
 public:
  explicit Trainer(Client& client);
  ~Trainer();

  // Returns when the lease is done (progress().done), failed (progress().error) or dropped.
  void Run(LeaseTask& task);

 private:
  struct Step;

  Status Train(LeaseTask& task, JobContext& context, const Examples& examples);
  Status TrainFrom(LeaseTask& task, JobContext& context, const Examples& examples,
                   const class MinibatchPlan& plan, Producer& producer);
  Status Evaluate(LeaseTask& task, JobContext& context, const Examples& examples);
  Status EvaluateWeights(JobContext& context, Evaluation* evaluation);
  void Prefetch(JobContext& context, const Examples& examples, const MinibatchPlan& plan, uint64_t k,
                Purpose purpose, Step* step);
  Status FinishPushes(LeaseTask& task, size_t leave);
  void WaitFor(LeaseTask& task, const Status& status);
  void Report(LeaseTask& task, const MinibatchPlan& plan, const Producer& producer);

  Client& client_;
  std::shared_ptr<IdxCache> cache_;
  std::map<uint32_t, std::unique_ptr<JobContext>> jobs_;
  std::deque<std::future<Result<PushResult>>> pushes_;
  uint64_t clock_ = 0;  // steps done by this worker
  std::string said_;    // the last reason for waiting
};

}  // namespace penstock
