#include "worker/train/trainer.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "client/spin_get.h"
#include "common/base/fault.h"
#include "common/base/strings.h"
#include "data/idx.h"
#include "data/minibatch_plan.h"
#include "worker/train/best_copy.h"
#include "worker/train/ledger.h"
#include "worker/train/not_finite.h"
#include "worker/train/sync_loop.h"

namespace penstock {
namespace {

constexpr size_t kWeightRowsPerPull = 65536;

}  // namespace

Trainer::Trainer(Client& client, uint64_t data_memory_bytes, DataRoots roots, WorkerMetrics& metrics)
    : client_(client),
      roots_(std::move(roots)),
      metrics_(metrics),
      cache_(std::make_shared<IdxCache>()),
      store_(data_memory_bytes),
      feed_(client) {}
Trainer::~Trainer() = default;

bool Trainer::Run(const std::shared_ptr<LeaseTask>& task) {
  const Status status = Work(task);
  return (unlogged_.empty() || unlogged_.back().task != task) && Ended(*task, status);
}

// What came of it.
bool Trainer::Ended(LeaseTask& task, const Status& status) {
  if (status.ok() || task.dropped()) return true;
  LOG(ERROR) << task.info().Describe() << ": " << status.ToString();
  jobs_.erase(task.info().job);  // what made it fail may have changed at the next attempt
  task.Update([&](LeaseProgress& p) { p.error = status; });
  return true;
}

LeaseWindow Trainer::Unlogged::Window() const {
  return {
      .next = plan.count(), .recorded = producer->recorded(), .in_flight = 0, .rewound = producer->rewound()};
}

std::vector<std::shared_ptr<LeaseTask>> Trainer::Settle(bool flush) {
  std::vector<std::shared_ptr<LeaseTask>> ended;
  do {
    // Of those that are held no more nobody waits for anything.
    const bool held = std::ranges::any_of(unlogged_, [](const Unlogged& l) { return !l.task->dropped(); });
    const Status flushed = flush && held ? client_.Flush() : Status::Ok();
    for (Unlogged& lease : std::exchange(unlogged_, {})) {
      LeaseTask& task = *lease.task;
      task.Note(flushed);
      Report(task, lease.plan, *lease.producer);
      const LeaseWindow window = lease.Window();
      const LeaseStep step = task.Next(window);
      if (step == LeaseStep::kFlush) {
        unlogged_.push_back(std::move(lease));
      } else if (step == LeaseStep::kEnd) {
        Ended(task, task.Conclude(window));
        ended.push_back(lease.task);
      } else {
        const auto from = patience_.Rewind(task, *lease.producer);
        if (from.ok() ? Run(lease.task) : Ended(task, from.status())) ended.push_back(lease.task);
      }
    }
  } while (flush && !unlogged_.empty());
  return ended;
}

Status Trainer::Work(const std::shared_ptr<LeaseTask>& shared) {
  LeaseTask& task = *shared;
  const LeaseInfo& lease = task.info();
  auto& context = jobs_[lease.job];
  if (context == nullptr) {
    auto created = JobContext::Create(client_, lease, roots_, cache_, store_);
    if (!created.ok()) return created.status();
    context = std::move(*created);
  }
  if (lease.training() && context->job().train.sync())
    return SyncLoop(client_, *context, task, patience_, metrics_).Run();
  auto read = context->ReadPartition(lease);
  if (!read.ok()) return read.status();
  context->ReadAhead(lease);
  const Examples& examples = **read;
  for (const auto& message : examples.bad_messages)
    LOG(WARNING) << lease.Describe() << ": skipped: " << message;
  task.Update([&](LeaseProgress& p) { p.bad_records = examples.bad_records; });
  if (lease.training()) return Train(shared, *context, examples);
  if (lease.phase == proto::Lease::Phase::KEEP_BEST)
    return BestCopy(client_, *context, task, patience_).Run(examples);
  return Evaluate(task, *context, examples);
}

Status Trainer::Train(const std::shared_ptr<LeaseTask>& shared, JobContext& context,
                      const Examples& examples) {
  LeaseTask& task = *shared;
  const LeaseInfo& lease = task.info();
  const auto& train = context.job().train;
  MinibatchPlan plan(train.batch_size, train.shuffle, train.seed, lease.pass, lease.partition,
                     examples.size());
  const uint64_t begin = task.progress().recorded;  // above the lease's where it is worked off again
  auto producer = client_.AttachProducer(lease.producer, begin);
  uint64_t& clock = clocks_[lease.job];
  clock = std::max(clock, lease.clock);
  std::unique_ptr<ClockGate> gate;
  if (train.ssp()) gate = std::make_unique<ClockGate>(client_, task, train.staleness, clock);
  gate_ = gate.get();
  const MinibatchSource source{&context.model(), &context.tables(), &examples, &plan, Purpose::kTrain};
  feed_.Begin(source);
  task.Plan(plan.count(), train.ssp() ? std::min(train.inflight, train.staleness) : train.inflight);
  for (uint64_t next = begin;;) {
    const LeaseWindow window{.next = next,
                             .recorded = producer->recorded(),
                             .in_flight = pushes_.size(),
                             .rewound = producer->rewound()};
    Status came;
    switch (task.Next(window)) {
      case LeaseStep::kMinibatch:
        came = TrainOn(task, context, next, *producer);
        next += came.ok();
        break;
      case LeaseStep::kAwait:
        came = FinishPushes(task, pushes_.size() - 1);
        break;
      case LeaseStep::kRewind: {
        PENSTOCK_ASSIGN_OR_RETURN(next, patience_.Rewind(task, *producer));
        if (gate != nullptr) clock = gate->reached();  // what failed is done again at the same clocks
        feed_.Begin(source);
        break;
      }
      case LeaseStep::kFlush:
        if (gate != nullptr) clock = gate->reached();
        Report(task, plan, *producer);
        unlogged_.push_back({shared, std::move(producer), std::move(plan)});
        return Status::Ok();
      case LeaseStep::kEnd:
        if (gate != nullptr) clock = gate->reached();
        return task.Conclude(window);
    }
    task.Note(came);
    Report(task, plan, *producer);
  }
}

// Minibatch k, up to its push; while that is on its way, those behind it are prepared.
Status Trainer::TrainOn(LeaseTask& task, JobContext& context, uint64_t k, Producer& producer) {
  uint64_t& clock = clocks_[task.info().job];
  if (!feed_.Pulling(k)) {
    PENSTOCK_RETURN_IF_ERROR(PassGate(task, clock + 1));
    feed_.Pull(k);
  }
  feed_.Prepare(k + 1);
  Minibatch& minibatch = feed_.At(k);
  auto pulled = Await(minibatch.rows);
  if (!pulled.ok()) return pulled.status();
  if (gate_ == nullptr || gate_->Open(clock + 2)) feed_.Pull(k + 1);
  PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("worker.step"));
  TableValues values(pulled->values.begin(), pulled->values.end());
  const double loss = context.model().Compute(minibatch.batch, minibatch.prepared, values, &gradients_);
  metrics_.examples.Increment(static_cast<double>(minibatch.batch.rows));
  const uint64_t step = context.ScheduleStepsOf(task.info()).Of(k);
  if (!IsFinite(loss, gradients_)) {
    return NotFiniteLoss(loss, {.where = StrCat("step ", step),
                                .tables = context.tables(),
                                .prepared = minibatch.prepared,
                                .values = values,
                                .gradients = &gradients_});
  }
  // The rows may have come from a shard that was waited for, for longer than the lease has lasted.
  PENSTOCK_RETURN_IF_ERROR(task.MayPush());
  ++clock;
  pushes_.push_back({clock, step, PushGradients(task, context, minibatch, clock, producer)});
  task.Update([&](LeaseProgress& p) { p.loss_sum += loss; });
  feed_.Prepare(k + 2);
  return Status::Ok();
}

// Of what the model has computed last.
std::future<Result<PushResult>> Trainer::PushGradients(const LeaseTask& task, JobContext& context,
                                                       const Minibatch& minibatch, uint64_t clock,
                                                       Producer& producer) {
  const LeaseInfo& lease = task.info();
  const auto& keys = minibatch.prepared.keys;
  pushed_.clear();
  for (size_t t = 0; t < gradients_.size(); ++t) {
    if (!keys[t].empty()) pushed_.push_back({context.tables()[t].id, keys[t], gradients_[t]});
  }
  TablePush ledger;
  if (context.ledger()) {
    ledger = LedgerRows(context.ledger()->id, context.LedgerBaseOf(lease, lease.partition),
                        minibatch.batch.indices);
    pushed_.push_back({ledger.table, ledger.keys, ledger.values});
  }
  const uint64_t k = minibatch.number;
  return client_.PushAt(producer, k, std::span<const TablePushView>(pushed_),
                        {.clock = clock,
                         .step = context.ScheduleStepsOf(lease).Of(k),
                         .worker = lease.node,
                         .pass = lease.pass + 1,
                         .rewind = lease.rewind,
                         .combine = false});
}

template <typename T>
Result<T> Trainer::Await(std::future<Result<T>>& answer) {
  const auto begin = std::chrono::steady_clock::now();
  auto result = SpinGet(std::move(answer), client_.options().spin_us);
  metrics_.wait_seconds.Increment(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  return result;
}

// Waits until the step to `clock` may begin.
Status Trainer::PassGate(LeaseTask& task, uint64_t clock) {
  if (gate_ == nullptr) return Status::Ok();
  // The scheduler must know of all the own steps that it waits for.
  PENSTOCK_RETURN_IF_ERROR(FinishPushes(task, gate_->staleness() - 1));
  return gate_->Wait(clock);
}

// Waits until at most `leave` pushes have no answer. The first error is returned after the wait. Clocks
// behind one that failed are not reached.
Status Trainer::FinishPushes(LeaseTask& task, size_t leave) {
  const bool failed = !task.failure().ok();
  Status first;
  while (pushes_.size() > leave) {
    const uint64_t clock = pushes_.front().clock, step = pushes_.front().step;
    auto result = Await(pushes_.front().answer);
    pushes_.pop_front();
    Status came = result.status();
    if (result.ok() && !result->not_finite.empty())
      came = CheckRows(*result, jobs_.at(task.info().job)->tables(), StrCat("step ", step));
    if (!came.ok() && first.ok()) first = std::move(came);
    if (first.ok() && !failed && gate_ != nullptr) gate_->Reach(clock);
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
  feed_.Begin({&context.model(), &tables, &examples, &plan, Purpose::kEvaluate});
  for (uint64_t k = 0; k < plan.count() && !task.dropped();) {
    feed_.Pull(k);
    feed_.Prepare(k + 1);
    Minibatch& minibatch = feed_.At(k);
    auto pulled = minibatch.rows.get();
    if (!pulled.ok()) {
      if (!LeaseRun::Passes(pulled.status().code())) return pulled.status();
      patience_.Wait(task, pulled.status());
      continue;
    }
    feed_.Pull(k + 1);
    const TableValues values(pulled->values.begin(), pulled->values.end());
    context.model().Evaluate(minibatch.batch, minibatch.prepared, values, &evaluation);
    metrics_.examples.Increment(static_cast<double>(minibatch.batch.rows));
    if (!std::isfinite(evaluation.loss_sum())) {
      PENSTOCK_RETURN_IF_ERROR(NotFiniteEvaluation(
          evaluation.loss_sum(),
          {.where = "evaluation", .tables = tables, .prepared = minibatch.prepared, .values = values}));
    }
    task.Update([&](LeaseProgress& p) { p.examples += minibatch.batch.rows; });
    ++k;
  }
  if (task.info().partition == 0) PENSTOCK_RETURN_IF_ERROR(EvaluateWeights(context, tables, &evaluation));
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
