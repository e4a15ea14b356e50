#include "worker/train/sync_loop.h"

#include <glog/logging.h>

#include <utility>

#include "client/loop_call.h"
#include "client/spin_get.h"
#include "common/base/fault.h"
#include "common/base/strings.h"
#include "common/cluster/scheduler_link.h"
#include "worker/train/ledger.h"
#include "worker/train/not_finite.h"

namespace penstock {
namespace {

using Action = proto::Scheduler::SyncAction;

constexpr uint64_t kCallMs = 10 * 1000;

}  // namespace

Status SyncLoop::Run() {
  while (!task_.dropped()) {
    auto order = Ask();
    if (!order.ok()) {
      // With the seat gone, the next report says so. What was done is told again.
      if (!LeaseRun::Passes(order.status().code()) && order.status().code() != Code::kCancelled)
        return order.status();
      patience_.Wait(task_, order.status());
      continue;
    }
    finished_ = {};
    committed_ = 0;
    if (order->action == Action::END) {
      task_.Update([](LeaseProgress& p) { p.done = true; });
      return Status::Ok();
    }
    PENSTOCK_RETURN_IF_ERROR(Carry(*order));
  }
  return Status::Ok();
}

Result<SyncLoop::Order> SyncLoop::Ask() {
  return CallOnLoop<Order>(client_.loop(), "minibatch", [this] {
    return client_.scheduler()
        .Call("minibatch", kCallMs,
              [this](proto::Scheduler::Client& scheduler) {
                auto request = scheduler.minibatchRequest();
                request.setNode(task_.info().node);
                request.setSession(task_.info().session);
                request.setJob(task_.info().job);
                request.setToken(task_.info().token);
                request.setCommitted(committed_);
                if (finished_.round == 0) return request;
                auto finished = request.initFinished();
                finished.setRound(finished_.round);
                finished.setStream(finished_.stream);
                finished.setExamples(finished_.examples);
                finished.setLossSum(finished_.loss_sum);
                finished.setBadRecords(finished_.bad_records);
                return request;
              })
        .then([](auto&& response) -> Result<Order> {
          if (!response.ok()) return response.status();
          auto& answer = *response;
          return Order{.action = answer.getAction(),
                       .round = answer.getRound(),
                       .stream = answer.getStream(),
                       .producer = answer.getProducer(),
                       .examples = answer.getExamples(),
                       .step = answer.getStep()};
        });
  });
}

// Until it is done or the seat is gone.
Status SyncLoop::Carry(const Order& order) {
  while (!task_.dropped()) {
    const Status status = order.action == Action::WORK     ? Work(order)
                          : order.action == Action::COMMIT ? Commit(order)
                                                           : Status::Ok();
    if (status.ok() || !LeaseRun::Passes(status.code())) return status;
    patience_.Wait(task_, status);
  }
  return Status::Ok();
}

Status SyncLoop::Commit(const Order& order) {
  std::vector<TableId> tables;
  for (const TableSpec& table : context_.tables()) tables.push_back(table.id);
  PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("worker.commit"));
  PENSTOCK_RETURN_IF_ERROR(task_.MayPush());
  PENSTOCK_RETURN_IF_ERROR(
      client_.CommitRound(tables, order.round, order.examples, order.step, task_.info().rewind));
  committed_ = order.round;
  return Status::Ok();
}

const MinibatchPlan& SyncLoop::PlanOf(uint32_t stream, size_t records) {
  const auto known = plans_.find(stream);
  if (known != plans_.end()) return known->second;
  const auto& train = context_.job().train;
  return plans_
      .emplace(stream, MinibatchPlan::OfRounds(context_.RoundsPerPass(), train.shuffle, train.seed,
                                               task_.info().pass, stream, records))
      .first->second;
}

Status SyncLoop::Work(const Order& order) {
  PENSTOCK_ASSIGN_OR_RETURN(const Examples* examples, context_.ReadStream(task_.info(), order.stream));
  const MinibatchPlan& plan = PlanOf(order.stream, examples->size());
  const uint64_t k = order.round - task_.info().pass * plan.count() - 1;
  if (k >= plan.count()) {
    return Internal("round " + std::to_string(order.round) + " is not of pass " +
                    std::to_string(task_.info().pass + 1));
  }
  const std::span<const uint32_t> indices = plan.Indices(k);
  Finished done{.round = order.round,
                .stream = order.stream,
                .examples = indices.size(),
                .bad_records = k == 0 ? examples->bad_records : 0};
  if (!indices.empty()) {
    examples->Gather(indices, &batch_);
    context_.model().Prepare(batch_, Purpose::kTrain, &prepared_);
    PENSTOCK_RETURN_IF_ERROR(PullRows(order.round, prepared_.keys));
    PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("worker.step"));
    const TableValues values(pulled_.values.begin(), pulled_.values.end());
    done.loss_sum = context_.model().Compute(batch_, prepared_, values, &gradients_);
    metrics_.examples.Increment(static_cast<double>(indices.size()));
    const auto count = static_cast<float>(indices.size());
    for (std::vector<float>& table : gradients_) {
      for (float& g : table) g *= count;  // the mean, of the model
    }
    if (!IsFinite(done.loss_sum, gradients_)) {
      return NotFiniteLoss(done.loss_sum, {.where = StrCat("step ", order.round),
                                           .tables = context_.tables(),
                                           .prepared = prepared_,
                                           .values = values,
                                           .gradients = &gradients_});
    }
    std::vector<TablePush> pushes;
    for (size_t t = 0; t < gradients_.size(); ++t) {
      if (prepared_.keys[t].empty()) continue;
      pushes.push_back({context_.tables()[t].id, prepared_.keys[t], std::move(gradients_[t])});
    }
    PENSTOCK_RETURN_IF_ERROR(Push(order, std::move(pushes), indices));
  }
  finished_ = done;
  task_.Update([&](LeaseProgress& p) {
    p.examples += done.examples;
    p.loss_sum += done.loss_sum;
    p.bad_records += done.bad_records;
    p.recorded = order.round;
  });
  return Status::Ok();
}

// Into pulled_, unless it has them already.
Status SyncLoop::PullRows(uint64_t round, const std::vector<std::vector<Key>>& keys) {
  if (round == pulled_round_ && keys == pulled_keys_) return Status::Ok();
  std::vector<TableKeys> tables;
  for (size_t t = 0; t < keys.size(); ++t) tables.push_back({context_.tables()[t].id, keys[t]});
  auto pulled = SpinGet(client_.Pull(tables), client_.options().spin_us);
  if (!pulled.ok()) return pulled.status();
  pulled_ = std::move(*pulled);
  pulled_round_ = round;
  pulled_keys_ = keys;
  return Status::Ok();
}

// Everything below the round is committed everywhere. The ledger is no table of rounds: its rows travel
// apart, under the same identity.
Status SyncLoop::Push(const Order& order, std::vector<TablePush> pushes, std::span<const uint32_t> indices) {
  const PushOptions options{.round = order.round,
                            .step = order.round,
                            .worker = task_.info().node,
                            .pass = task_.info().pass + 1,
                            .rewind = task_.info().rewind,
                            .combine = false};
  // The rows may have come from a shard that was waited for.
  PENSTOCK_RETURN_IF_ERROR(task_.MayPush());
  const auto producer = client_.AttachProducer(order.producer, order.round);
  auto gradients = client_.PushAt(*producer, order.round, pushes, options);
  if (context_.ledger()) {
    PushOptions plain = options;
    plain.round = 0;
    const auto again = client_.AttachProducer(order.producer, order.round);
    auto ledger = client_.PushAt(
        *again, order.round,
        {LedgerRows(context_.ledger()->id, context_.LedgerBaseOf(task_.info(), order.stream), indices)},
        plain);
    const auto pushed = ledger.get();
    if (!pushed.ok()) {
      (void)gradients.get();
      return pushed.status();
    }
    if (!pushed->logged()) PENSTOCK_RETURN_IF_ERROR(client_.Flush());
  }
  const auto pushed = gradients.get();
  return pushed.ok() ? CheckRows(*pushed, context_.tables(), StrCat("step ", order.round)) : pushed.status();
}

}  // namespace penstock
