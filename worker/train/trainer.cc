#include "worker/train/trainer.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>

#include "common/base/fault.h"
#include "worker/data/idx.h"
#include "worker/data/minibatch_plan.h"
#include "worker/train/best_copy.h"
#include "worker/train/ledger.h"
#include "worker/train/sync_loop.h"

namespace penstock {
namespace {

constexpr size_t kWeightRowsPerPull = 65536;

}  // namespace

// One minibatch on its way: its examples, its keys and the pull of their rows.
struct Trainer::Step {
  uint64_t k = 0;
  Batch batch;
  PreparedBatch prepared;
  std::future<Result<PullResult>> pull;
};

Trainer::Trainer(Client& client) : client_(client), cache_(std::make_shared<IdxCache>()) {}
Trainer::~Trainer() = default;

void Trainer::Run(LeaseTask& task) {
  const LeaseInfo& lease = task.info();
  const Status status = [&]() -> Status {
    auto& context = jobs_[lease.job];
    if (context == nullptr) {
      auto created = JobContext::Create(client_, lease, cache_);
      if (!created.ok()) return created.status();
      context = std::move(*created);
    }
    if (lease.training() && context->job().train.sync())
      return SyncLoop(client_, *context, task, patience_).Run();
    auto examples = context->ReadPartition(lease);
    if (!examples.ok()) return examples.status();
    for (const auto& message : examples->bad_messages)
      LOG(WARNING) << lease.Describe() << ": skipped: " << message;
    task.Update([&](LeaseProgress& p) { p.bad_records = examples->bad_records; });
    if (lease.training()) return Train(task, *context, *examples);
    if (lease.phase == proto::Lease::Phase::KEEP_BEST)
      return BestCopy(client_, *context, task, patience_).Run(*examples);
    return Evaluate(task, *context, *examples);
  }();
  if (status.ok() || task.dropped()) return;
  LOG(ERROR) << lease.Describe() << ": " << status.ToString();
  jobs_.erase(lease.job);  // what made it fail may have changed at the next attempt
  task.Update([&](LeaseProgress& p) { p.error = status; });
}

Status Trainer::Train(LeaseTask& task, JobContext& context, const Examples& examples) {
  const LeaseInfo& lease = task.info();
  const auto& train = context.job().train;
  const MinibatchPlan plan(train.batch_size, train.shuffle, train.seed, lease.pass, lease.partition,
                           examples.size());
  auto producer = client_.AttachProducer(lease.producer, lease.begin);
  uint64_t& clock = clocks_[lease.job];
  clock = std::max(clock, lease.clock);
  std::unique_ptr<ClockGate> gate;
  if (train.ssp()) gate = std::make_unique<ClockGate>(client_, task, train.staleness, clock);
  gate_ = gate.get();
  for (;;) {
    const Status status = TrainFrom(task, context, examples, plan, *producer);
    // All in flight get an answer now, also those of a lease that was taken away: nothing of it outlives it.
    const Status drained = FinishPushes(task, 0);
    Report(task, plan, *producer);
    if (gate != nullptr) clock = gate->reached();  // what failed is done again at the same clocks
    if (task.dropped()) return Status::Ok();
    if (status.ok()) {
      task.Update([](LeaseProgress& p) { p.done = true; });
      return status;
    }
    if (!Patience::Passes(status.code())) return status;
    patience_.Wait(
        task, drained.ok() ? status : Status(status.code(), status.message() + "; " + drained.message()));
  }
}

Status Trainer::TrainFrom(LeaseTask& task, JobContext& context, const Examples& examples,
                          const MinibatchPlan& plan, Producer& producer) {
  const LeaseInfo& lease = task.info();
  auto begin = producer.Rewind();
  if (!begin.ok()) return begin.status();
  Step steps[2];
  TableGradients gradients;
  const auto& train = context.job().train;
  const size_t inflight = train.ssp() ? std::min(train.inflight, train.staleness) : train.inflight;
  const ScheduleSteps schedule = context.ScheduleStepsOf(lease);
  uint64_t& clock = clocks_[lease.job];
  for (uint64_t k = *begin; k < plan.count(); ++k) {
    Step& step = steps[(k - *begin) % 2];
    if (!step.pull.valid()) {
      RETURN_IF_ERROR(PassGate(task, clock + 1));
      Prefetch(context, context.tables(), examples, plan, k, Purpose::kTrain, &step);
    }
    auto pulled = Await(step.pull);
    if (!pulled.ok()) return pulled.status();
    if (k + 1 < plan.count() && (gate_ == nullptr || gate_->Open(clock + 2)))
      Prefetch(context, context.tables(), examples, plan, k + 1, Purpose::kTrain,
               &steps[(k + 1 - *begin) % 2]);
    RETURN_IF_ERROR(PENSTOCK_FAULT("worker.step"));
    TableValues values(pulled->values.begin(), pulled->values.end());
    const double loss = context.model().Compute(step.batch, step.prepared, values, &gradients);
    std::vector<TablePush> pushes;
    for (size_t t = 0; t < gradients.size(); ++t) {
      if (step.prepared.keys[t].empty()) continue;
      pushes.push_back({context.tables()[t].id, std::move(step.prepared.keys[t]), std::move(gradients[t])});
    }
    if (context.ledger())
      pushes.push_back(
          LedgerRows(context.ledger()->id, context.LedgerBaseOf(lease, lease.partition), plan.Indices(k)));
    ++clock;
    pushes_.push_back(
        {clock, client_.PushAt(
                    producer, k, pushes,
                    {.clock = clock, .step = schedule.Of(k), .worker = lease.node, .pass = lease.pass + 1})});
    task.Update([&](LeaseProgress& p) { p.loss_sum += loss; });
    Report(task, plan, producer);
    RETURN_IF_ERROR(FinishPushes(task, inflight - 1));
    if (task.dropped()) return Cancelled("the lease was taken away");
    if (producer.rewound()) return Unavailable("a shard came back with less than it had answered", 50);
  }
  RETURN_IF_ERROR(FinishPushes(task, 0));
  while (producer.recorded() < plan.count()) {
    RETURN_IF_ERROR(client_.Flush());
    if (producer.rewound()) return Unavailable("a shard came back with less than it had answered", 50);
    if (task.dropped()) return Cancelled("the lease was taken away");
  }
  return Status::Ok();
}

template <typename T>
Result<T> Trainer::Await(std::future<Result<T>>& answer) {
  const auto begin = std::chrono::steady_clock::now();
  auto result = answer.get();
  waited_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

// Waits until the step to `clock` may begin.
Status Trainer::PassGate(LeaseTask& task, uint64_t clock) {
  if (gate_ == nullptr) return Status::Ok();
  // The scheduler must know of all the own steps that it waits for.
  RETURN_IF_ERROR(FinishPushes(task, gate_->staleness() - 1));
  return gate_->Wait(clock);
}

void Trainer::Prefetch(JobContext& context, const std::vector<TableSpec>& tables, const Examples& examples,
                       const MinibatchPlan& plan, uint64_t k, Purpose purpose, Step* step) {
  step->k = k;
  examples.Gather(plan.Indices(k), &step->batch);
  context.model().Prepare(step->batch, purpose, &step->prepared);
  std::vector<TableKeys> keys;
  for (size_t t = 0; t < step->prepared.keys.size(); ++t)
    keys.push_back({tables[t].id, step->prepared.keys[t]});
  step->pull = client_.Pull(std::move(keys));
}

// Waits until at most `leave` pushes have no answer. The first error is returned after the wait.
Status Trainer::FinishPushes(LeaseTask& task, size_t leave) {
  Status first;
  while (pushes_.size() > leave) {
    const uint64_t clock = pushes_.front().clock;
    auto result = Await(pushes_.front().answer);
    pushes_.pop_front();
    if (!result.ok() && first.ok()) first = result.status();
    if (first.ok() && gate_ != nullptr) gate_->Reach(clock);
  }
  return first;
}

void Trainer::Report(LeaseTask& task, const MinibatchPlan& plan, const Producer& producer) {
  const uint64_t recorded = std::min(producer.recorded(), plan.count());
  task.Update([&](LeaseProgress& p) {
    for (; p.recorded < recorded; ++p.recorded) p.examples += plan.Indices(p.recorded).size();
  });
}

Status Trainer::Evaluate(LeaseTask& task, JobContext& context, const Examples& examples) {
  const MinibatchPlan plan(std::max<uint32_t>(context.job().train.batch_size, 1024), /*shuffle=*/false, 0, 0,
                           0, examples.size());
  const auto& tables = task.info().best ? context.best_tables() : context.tables();
  Evaluation evaluation;
  Step steps[2];
  if (plan.count() > 0) Prefetch(context, tables, examples, plan, 0, Purpose::kEvaluate, &steps[0]);
  for (uint64_t k = 0; k < plan.count() && !task.dropped(); ++k) {
    Step& step = steps[k % 2];
    auto pulled = step.pull.get();
    if (!pulled.ok()) {
      if (!Patience::Passes(pulled.status().code())) return pulled.status();
      patience_.Wait(task, pulled.status());
      Prefetch(context, tables, examples, plan, k, Purpose::kEvaluate, &step);
      --k;
      continue;
    }
    if (k + 1 < plan.count())
      Prefetch(context, tables, examples, plan, k + 1, Purpose::kEvaluate, &steps[(k + 1) % 2]);
    context.model().Evaluate(step.batch, step.prepared,
                             TableValues(pulled->values.begin(), pulled->values.end()), &evaluation);
    task.Update([&](LeaseProgress& p) { p.examples += step.batch.rows; });
  }
  if (task.info().partition == 0) RETURN_IF_ERROR(EvaluateWeights(context, tables, &evaluation));
  task.Update([&](LeaseProgress& p) {
    p.loss_sum = evaluation.loss_sum();
    p.result = evaluation.ToJson().dump();
    p.done = true;
  });
  return Status::Ok();
}

Status Trainer::EvaluateWeights(JobContext& context, const std::vector<TableSpec>& tables,
                                Evaluation* evaluation) {
  for (size_t t = 0; t < tables.size(); ++t) {
    const uint64_t rows = context.model().RegularizedRows(t);
    for (uint64_t first = 0; first < rows; first += kWeightRowsPerPull) {
      TableKeys keys{tables[t].id, {}};
      for (uint64_t key = first; key < std::min<uint64_t>(rows, first + kWeightRowsPerPull); ++key)
        keys.keys.push_back(key);
      auto pulled = client_.Pull({std::move(keys)}).get();
      if (!pulled.ok()) return pulled.status();
      evaluation->AddWeights(pulled->values[0]);
    }
  }
  return Status::Ok();
}

}  // namespace penstock
