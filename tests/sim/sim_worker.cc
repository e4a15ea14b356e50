#include "tests/sim/sim_worker.h"

#include <numeric>

#include "tests/sim/sim_cluster.h"

namespace penstock::sim {
namespace {

constexpr uint64_t kReportMs = 300;
constexpr uint64_t kWorkMs = 70;
constexpr uint64_t kCallMs = 800;
constexpr size_t kInFlight = 2;
constexpr size_t kLeases = 2;
constexpr Key kLedger = 10'000, kProofs = 2'000'000;

}  // namespace

SimWorker::SimWorker(SimCluster& cluster, uint32_t number)
    : cluster_(cluster),
      world_(cluster.world),
      name_(StrCat("worker-", number)),
      self_(cluster.world.Add(name_)) {}

void SimWorker::Start() {
  world_.Start(self_);
  pusher_ = std::make_unique<SimPusher>(cluster_, self_, [this](const UnitPosition& at) {
    for (const HeldPtr& held : held_) held->window.Observe(at);
  });
  Register();
}

void SimWorker::End() {
  world_.Note(self_, "is killed");
  world_.End(self_, false);
  DropAll();
  pusher_.reset();
  session_ = 0;
}

void SimWorker::DropAll() {
  for (const HeldPtr& held : held_) held->over = true;
  held_.clear();
}

// --- Sessions and leases.

void SimWorker::Register() {
  DropAll();
  scheduler_ = world_.Connect(self_, cluster_.scheduler.self());
  const RegisterRequest request{.role = NodeRole::kWorker, .node = node_, .name = name_};
  world_.Call<RegisterReply>(
      scheduler_, Step::kNone, Step::kNone, kCallMs,
      [&cluster = cluster_, request](auto reply) { reply(cluster.scheduler.Register(request)); },
      [this](std::optional<RegisterReply> reply) {
        if (!reply || !reply->status.ok())
          return world_.After(self_, 200'000, Step::kNone, [this] { Register(); });
        node_ = reply->answer.node;
        session_ = reply->answer.session;
        reported_ms_ = world_.now_ms();
        world_.After(self_, kReportMs * 1000, Step::kNone, [this, session = session_] {
          if (session == session_) Report();
        });
        world_.After(self_, 1000, Step::kNone, [this, session = session_] {
          if (session == session_) Lease();
        });
        world_.After(self_, kWorkMs * 1000, Step::kNone, [this, session = session_] {
          if (session == session_) Work();
        });
      });
}

void SimWorker::Lease() {
  const auto again = [this, session = session_] {
    world_.After(self_, 300'000, Step::kNone, [this, session] {
      if (session == session_) Lease();
    });
  };
  if (held_.size() >= kLeases) return again();
  if (scheduler_->broken || scheduler_->to_life != world_.life(scheduler_->to))
    scheduler_ = world_.Connect(self_, cluster_.scheduler.self());
  world_.Call<LeaseReply>(
      scheduler_, Step::kNone, Step::kLeaseGiven, kCallMs,
      [&cluster = cluster_, node = node_, session = session_](auto reply) {
        reply(cluster.scheduler.Lease(node, session, 1));
      },
      [this, again, session = session_](std::optional<LeaseReply> reply) {
        if (session != session_) return;
        if (reply && reply->status.code() == Code::kFailedPrecondition) return Register();
        if (reply && reply->status.ok()) Take(*reply);
        again();
      });
}

void SimWorker::Take(const LeaseReply& reply) {
  for (const GivenPartition& given : reply.given) {
    world_.Note(self_, "holds lease ", given.token, " of pass ", given.pass, ", partition ", given.partition,
                " from ", given.begin, " on");
    auto held =
        std::make_shared<Held>(Held{given, reply.tables, ProducerWindow(ProducerKind::kJob, given.begin)});
    held_.push_back(held);
    const Step step = given.begin > 0 ? Step::kTakenOver : Step::kNone;
    world_.After(self_, world_.Between(1000, 60'000), step, [this, held] { Advance(held); });
  }
}

// --- Minibatches.

void SimWorker::Work() {
  // A worker that was not heard for as long as its leases last has none.
  if (world_.now_ms() > reported_ms_ + static_cast<uint64_t>(cluster_.options().lease_ms) * 8 / 10) DropAll();
  const bool poll = world_.now_ms() >= polled_ms_ + 250;
  if (poll) polled_ms_ = world_.now_ms();
  for (const HeldPtr& held : std::vector(held_)) {
    Advance(held);
    if (poll) Poll(held);
  }
  world_.After(self_, kWorkMs * 1000, Step::kNone, [this, session = session_] {
    if (session == session_) Work();
  });
}

void SimWorker::Advance(const HeldPtr& held) {
  if (held->over || held->failed) return;
  ProducerWindow& window = held->window;
  if (window.rewound()) {
    if (window.in_flight() > 0) return;
    cluster_.truth.OnRewound(self_);
    if (const auto rewound = window.Rewind(); rewound.ok())
      world_.Note(self_, "rewinds lease ", held->given.token, " to ", *rewound);
  }
  if (window.in_flight() >= kInFlight || window.next() >= kMinibatches) return;
  if (const auto sequence = window.BeginNext(); sequence.ok()) Push(held, *sequence);
}

PushRequest SimWorker::MakeUnit(const HeldPtr& held, Sequence minibatch, bool ledger) {
  const GivenPartition& given = held->given;
  const TableSpec& spec = held->tables[ledger ? 1 : 0];
  const Key key = (given.pass * 100 + given.partition) * kMinibatches + minibatch;
  // As a pure function of the minibatch.
  const uint64_t mix = Mix64(key * 2 + ledger);
  UnitRecord unit{.shard = static_cast<ShardId>(mix % cluster_.options().shards),
                  .table = spec.id,
                  .level = spec.durability,
                  .keys = {key + (ledger ? kLedger : kProofs)},
                  .values = {1},
                  .of_job = true};
  if (!ledger) {
    unit.keys.push_back(mix / 16 % 8);
    unit.values.push_back(static_cast<float>(1 + mix / 256 % 5));
  }
  PushRequest request{.unit = {.producer = given.producer, .sequence = minibatch, .pass = given.pass},
                      .table = unit.table,
                      .shard = unit.shard,
                      .keys = unit.keys,
                      .values = unit.values};
  cluster_.truth.WantJobRow(unit.table, unit.shard, unit.keys[0], given.pass,
                            unit.level == Durability::kSynced);
  request.number = cluster_.NumberOf(key * 2 + ledger, std::move(unit));
  return request;
}

void SimWorker::Push(const HeldPtr& held, Sequence minibatch) {
  pusher_->Push(
      {MakeUnit(held, minibatch, true), MakeUnit(held, minibatch, false)},
      [held] { return held->over ? SimPusher::kNoLow : held->window.low(); },
      [held, minibatch](const SimPusher::Result& result) {
        if (result.status.ok()) return held->window.Finish(minibatch, result.units);
        held->window.Fail(minibatch);
        held->failed = true;
        held->error = result.status;
      });
}

// What `memory` tables have logged meanwhile, and shards that nothing is pushed to now.
void SimWorker::Poll(const HeldPtr& held) {
  if (held->window.recorded() >= held->window.next()) return;
  std::vector<ShardId> all(cluster_.options().shards);
  std::iota(all.begin(), all.end(), 0);
  pusher_->AskLogged(all);
}

// --- Reports.

void SimWorker::Report() {
  const auto again = [this, session = session_] {
    world_.After(self_, kReportMs * 1000, Step::kNone, [this, session] {
      if (session == session_) Report();
    });
  };
  std::vector<ReportedProgress> lines;
  std::vector<bool> done;
  for (const HeldPtr& held : held_) {
    done.push_back(held->window.recorded() >= kMinibatches && !held->window.rewound());
    lines.push_back({.job = held->given.job,
                     .token = held->given.token,
                     .recorded = held->window.recorded(),
                     .tally = {.examples = held->window.recorded()},
                     .done = done.back(),
                     .result = "{}",
                     .error = held->failed && held->window.in_flight() == 0 ? held->error : Status::Ok()});
  }
  if (scheduler_->broken || scheduler_->to_life != world_.life(scheduler_->to))
    scheduler_ = world_.Connect(self_, cluster_.scheduler.self());
  world_.Call<ReportReply>(
      scheduler_, Step::kReportSent, Step::kReportTaken, kCallMs,
      [&cluster = cluster_, node = node_, session = session_, lines](auto reply) {
        reply(cluster.scheduler.Report(node, session, lines));
      },
      [this, again, done, held = held_, session = session_](std::optional<ReportReply> reply) {
        if (session != session_) return;
        if (reply && reply->status.code() == Code::kFailedPrecondition) return Register();
        if (reply && reply->status.ok()) OnReported(held, done, *reply);
        again();
      });
}

void SimWorker::OnReported(const std::vector<HeldPtr>& lines, const std::vector<bool>& done,
                           const ReportReply& reply) {
  reported_ms_ = world_.now_ms();
  for (size_t i = 0; i < lines.size(); ++i) {
    const HeldPtr& held = lines[i];
    const bool given_back = held->failed && held->window.in_flight() == 0;
    if (reply.lines[i].ok() && !done[i] && !given_back) continue;
    world_.Note(self_, "lease ", held->given.token, " is over: ", reply.lines[i].message());
    held->over = true;
    std::erase(held_, held);
  }
}

}  // namespace penstock::sim
