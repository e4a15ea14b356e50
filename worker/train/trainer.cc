#include "worker/train/trainer.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "worker/data/idx.h"
#include "worker/data/minibatch_plan.h"
#include "worker/train/ledger.h"

namespace penstock {
namespace {

constexpr size_t kWeightRowsPerPull = 65536;

// What passes by itself or by an operator's act: the job waits for it instead of failing.
bool Passes(Code code) {
  switch (code) {
    case Code::kUnavailable:
    case Code::kWrongEpoch:
    case Code::kOverloaded:
    case Code::kNotEnoughCopies:
    case Code::kDeadlineExceeded:
    case Code::kOutcomeUnknown:
    case Code::kDataLoss:
    case Code::kFailedPrecondition:
      return true;
    default:
      return false;
  }
}

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
    auto examples = context->ReadPartition(lease);
    if (!examples.ok()) return examples.status();
    for (const auto& message : examples->bad_messages)
      LOG(WARNING) << lease.Describe() << ": skipped: " << message;
    task.Update([&](LeaseProgress& p) { p.bad_records = examples->bad_records; });
    return lease.training() ? Train(task, *context, *examples) : Evaluate(task, *context, *examples);
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
  for (;;) {
    const Status status = TrainFrom(task, context, examples, plan, *producer);
    // All in flight get an answer now, also those of a lease that was taken away: nothing of it outlives it.
    const Status drained = FinishPushes(task, 0);
    Report(task, plan, *producer);
    if (task.dropped()) return Status::Ok();
    if (status.ok()) {
      task.Update([](LeaseProgress& p) { p.done = true; });
      return status;
    }
    if (!Passes(status.code())) return status;
    WaitFor(task, drained.ok() ? status : Status(status.code(), status.message() + "; " + drained.message()));
  }
}

// Something that passes: says so, once for each reason, and waits a moment.
void Trainer::WaitFor(LeaseTask& task, const Status& status) {
  if (status.message() != said_) {
    said_ = status.message();
    LOG(WARNING) << task.info().Describe() << ": waiting at minibatch " << task.progress().recorded << ": "
                 << status.ToString();
  }
  std::this_thread::sleep_for(
      std::chrono::milliseconds(std::clamp<uint32_t>(status.retry_after_ms(), 50, 1000)));
}

Status Trainer::TrainFrom(LeaseTask& task, JobContext& context, const Examples& examples,
                          const MinibatchPlan& plan, Producer& producer) {
  const LeaseInfo& lease = task.info();
  auto begin = producer.Rewind();
  if (!begin.ok()) return begin.status();
  Step steps[2];
  TableGradients gradients;
  const size_t inflight = context.job().train.inflight;
  if (*begin < plan.count()) Prefetch(context, examples, plan, *begin, Purpose::kTrain, &steps[0]);
  for (uint64_t k = *begin; k < plan.count(); ++k) {
    Step& step = steps[(k - *begin) % 2];
    auto pulled = step.pull.get();
    if (!pulled.ok()) return pulled.status();
    if (k + 1 < plan.count())
      Prefetch(context, examples, plan, k + 1, Purpose::kTrain, &steps[(k + 1 - *begin) % 2]);
    TableValues values(pulled->values.begin(), pulled->values.end());
    const double loss = context.model().Compute(step.batch, step.prepared, values, &gradients);
    std::vector<TablePush> pushes;
    for (size_t t = 0; t < gradients.size(); ++t) {
      if (step.prepared.keys[t].empty()) continue;
      pushes.push_back({context.tables()[t].id, std::move(step.prepared.keys[t]), std::move(gradients[t])});
    }
    if (context.ledger())
      pushes.push_back(LedgerRows(context.ledger()->id, context.LedgerBaseOf(lease), plan.Indices(k)));
    pushes_.push_back(client_.PushAt(producer, k, std::move(pushes), {.clock = ++clock_}));
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

void Trainer::Prefetch(JobContext& context, const Examples& examples, const MinibatchPlan& plan, uint64_t k,
                       Purpose purpose, Step* step) {
  step->k = k;
  examples.Gather(plan.Indices(k), &step->batch);
  context.model().Prepare(step->batch, purpose, &step->prepared);
  std::vector<TableKeys> tables;
  for (size_t t = 0; t < step->prepared.keys.size(); ++t)
    tables.push_back({context.tables()[t].id, step->prepared.keys[t]});
  step->pull = client_.Pull(std::move(tables));
}

// Waits until at most `leave` pushes have no answer. The first error is returned after the wait.
Status Trainer::FinishPushes(LeaseTask& task, size_t leave) {
  Status first;
  while (pushes_.size() > leave) {
    auto result = pushes_.front().get();
    pushes_.pop_front();
    if (!result.ok() && first.ok()) first = result.status();
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
  Evaluation evaluation;
  Step steps[2];
  if (plan.count() > 0) Prefetch(context, examples, plan, 0, Purpose::kEvaluate, &steps[0]);
  for (uint64_t k = 0; k < plan.count() && !task.dropped(); ++k) {
    Step& step = steps[k % 2];
    auto pulled = step.pull.get();
    if (!pulled.ok()) {
      if (!Passes(pulled.status().code())) return pulled.status();
      WaitFor(task, pulled.status());
      Prefetch(context, examples, plan, k, Purpose::kEvaluate, &step);
      --k;
      continue;
    }
    if (k + 1 < plan.count())
      Prefetch(context, examples, plan, k + 1, Purpose::kEvaluate, &steps[(k + 1) % 2]);
    context.model().Evaluate(step.batch, step.prepared,
                             TableValues(pulled->values.begin(), pulled->values.end()), &evaluation);
    task.Update([&](LeaseProgress& p) { p.examples += step.batch.rows; });
  }
  if (task.info().partition == 0) RETURN_IF_ERROR(EvaluateWeights(context, &evaluation));
  task.Update([&](LeaseProgress& p) {
    p.loss_sum = evaluation.loss_sum();
    p.result = evaluation.ToJson().dump();
    p.done = true;
  });
  return Status::Ok();
}

Status Trainer::EvaluateWeights(JobContext& context, Evaluation* evaluation) {
  for (size_t t = 0; t < context.tables().size(); ++t) {
    const uint64_t rows = context.model().RegularizedRows(t);
    for (uint64_t first = 0; first < rows; first += kWeightRowsPerPull) {
      TableKeys keys{context.tables()[t].id, {}};
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
