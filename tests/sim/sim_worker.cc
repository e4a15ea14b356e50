#include "tests/sim/sim_worker.h"

#include <algorithm>
#include <numeric>

#include "tests/sim/sim_cluster.h"

namespace penstock::sim {
namespace {

constexpr uint64_t kWorkMs = 70;
constexpr uint64_t kWorkerCallMs = 800;
constexpr uint64_t kPullMs = 9000;
constexpr uint64_t kPollMs = 2500;
constexpr size_t kPushesInFlight = 2;
constexpr std::ptrdiff_t kLeases = 2;  // beside those of which it only waits for logs
constexpr size_t kMaxHeld = 6;
constexpr Key kLedger = 10'000, kProofs = 2'000'000;

LeaseWindow WindowOf(const ProducerWindow& window) {
  return {.next = window.next(),
          .recorded = window.recorded(),
          .in_flight = window.in_flight(),
          .rewound = window.rewound()};
}

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
  DropAll("its worker ends");
  pusher_.reset();
  session_ = 0;
}

// What is in flight goes on without it.
void SimWorker::End(const HeldPtr& held, const std::string& why) {
  held->run.End(why);
  world_.Note(self_, "lease ", held->given.token, " is over: ", why);
  std::erase(held_, held);
}

void SimWorker::DropAll(const std::string& why) {
  for (const HeldPtr& held : std::vector(held_)) End(held, why);
}

// --- Sessions and leases.

void SimWorker::Register() {
  DropAll("it was of an ended session");
  scheduler_ = world_.Connect(self_, cluster_.scheduler.self());
  const RegisterRequest request{.role = NodeRole::kWorker, .node = node_, .name = name_};
  world_.Call<RegisterReply>(
      scheduler_, Step::kNone, Step::kNone, kWorkerCallMs,
      [&cluster = cluster_, request](auto reply) { reply(cluster.scheduler.Register(request)); },
      [this](std::optional<RegisterReply> reply) {
        if (!reply || !reply->status.ok())
          return world_.After(self_, 200'000, Step::kNone, [this] { Register(); });
        node_ = reply->answer.node;
        session_ = reply->answer.session;
        world_.After(self_, cluster_.options().report_ms * 1000, Step::kNone, [this, session = session_] {
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
  const auto works = [this](const HeldPtr& held) { return !held->run.Report(WindowOf(held->window)).pushed; };
  if (std::ranges::count_if(held_, works) >= kLeases || held_.size() >= kMaxHeld) return again();
  if (scheduler_->broken || scheduler_->to_life != world_.life(scheduler_->to))
    scheduler_ = world_.Connect(self_, cluster_.scheduler.self());
  world_.Call<LeaseReply>(
      scheduler_, Step::kNone, Step::kLeaseGiven, kWorkerCallMs,
      [&cluster = cluster_, node = node_, session = session_](auto reply) {
        reply(cluster.scheduler.Lease(node, session, 1));
      },
      [this, again, session = session_, asked_ms = world_.now_ms()](std::optional<LeaseReply> reply) {
        if (session != session_) return;
        if (reply && reply->status.code() == Code::kFailedPrecondition) return Register();
        if (reply && reply->status.ok()) Take(*reply, asked_ms);
        again();
      });
}

void SimWorker::Take(const LeaseReply& reply, uint64_t asked_ms) {
  for (const GivenPartition& given : reply.given) {
    world_.Note(self_, "holds lease ", given.token, " of pass ", given.pass, ", partition ", given.partition,
                " from ", given.begin, " on");
    const LeaseTerms terms{.rewind = given.rewind,
                           .lease_ms = static_cast<uint64_t>(cluster_.options().lease_ms)};
    auto held = std::make_shared<Held>(Held{
        given, reply.tables, ProducerWindow(ProducerKind::kJob, given.begin), LeaseRun(terms, asked_ms)});
    held->run.Plan(kMinibatches, kPushesInFlight);
    held_.push_back(held);
    const Step step = given.begin > 0 ? Step::kTakenOver : Step::kNone;
    world_.After(self_, world_.Between(1000, 60'000), step, [this, held] { Advance(held); });
  }
}

// --- Minibatches.

void SimWorker::Work() {
  const bool poll = world_.now_ms() >= polled_ms_ + 250;
  if (poll) polled_ms_ = world_.now_ms();
  for (const HeldPtr& held : std::vector(held_)) {
    Advance(held);
    if (const Status may = held->run.MayPush(world_.now_ms()); !may.ok()) {
      End(held, may.message());
    } else if (poll) {
      Poll(held);
    }
  }
  world_.After(self_, kWorkMs * 1000, Step::kNone, [this, session = session_] {
    if (session == session_) Work();
  });
}

void SimWorker::Advance(const HeldPtr& held) {
  if (held->pulling) return;
  switch (held->run.Next(WindowOf(held->window), world_.now_ms())) {
    case LeaseStep::kMinibatch:
      held->pulling = true;
      return Pull(held, held->window.next());
    case LeaseStep::kRewind:
      if (held->window.rewound()) cluster_.truth.OnRewound(self_);
      if (const auto rewound = held->window.Rewind(); rewound.ok())
        world_.Note(self_, "rewinds lease ", held->given.token, " to ", *rewound);
      return held->run.Rewound();
    case LeaseStep::kAwait:
    case LeaseStep::kFlush:  // Poll
    case LeaseStep::kEnd:    // Report
      return;
  }
}

void SimWorker::Pull(const HeldPtr& held, Sequence minibatch) {
  pusher_->AskLogged({ShardOf(*held, minibatch, false)}, kPullMs, [this, held](const Status& answered) {
    held->pulling = false;
    if (answered.ok()) return Begin(held);
    held->run.Note(answered);
  });
}

void SimWorker::Begin(const HeldPtr& held) {
  if (const Status may = held->run.MayPush(world_.now_ms()); !may.ok()) return held->run.Note(may);
  const auto sequence = held->window.BeginNext();
  if (!sequence.ok()) return held->run.Note(sequence.status());
  Push(held, *sequence);
  Advance(held);
}

// As a pure function of the minibatch.
ShardId SimWorker::ShardOf(const Held& held, Sequence minibatch, bool ledger) const {
  const Key key = (held.given.pass * 100 + held.given.partition) * kMinibatches + minibatch;
  return static_cast<ShardId>(Mix64(key * 2 + ledger) % cluster_.options().shards);
}

PushRequest SimWorker::MakeUnit(const HeldPtr& held, Sequence minibatch, bool ledger) {
  const GivenPartition& given = held->given;
  const TableSpec& spec = held->tables[ledger ? 1 : 0];
  const Key key = (given.pass * 100 + given.partition) * kMinibatches + minibatch;
  const uint64_t mix = Mix64(key * 2 + ledger);
  UnitRecord unit{.shard = ShardOf(*held, minibatch, ledger),
                  .table = spec.id,
                  .level = spec.durability,
                  .keys = {key + (ledger ? kLedger : kProofs)},
                  .values = {1},
                  .of_job = true};
  if (!ledger) {
    unit.keys.push_back(mix / 16 % 8);
    unit.values.push_back(static_cast<float>(1 + mix / 256 % 5));
  }
  PushRequest request{
      .unit = {.producer = given.producer, .sequence = minibatch, .rewind = given.rewind, .pass = given.pass},
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
      [held] { return held->window.low(); },
      [held, minibatch](const SimPusher::Result& result) {
        if (result.status.ok()) return held->window.Finish(minibatch, result.units);
        held->window.Fail(minibatch);
        held->run.Note(result.status);
      });
}

// What `memory` tables have logged meanwhile, and shards that nothing is pushed to now.
void SimWorker::Poll(const HeldPtr& held) {
  if (held->window.recorded() >= held->window.next()) return;
  std::vector<ShardId> all(cluster_.options().shards);
  std::iota(all.begin(), all.end(), 0);
  pusher_->AskLogged(all, kPollMs, [](const Status&) {});
}

// --- Reports.

void SimWorker::Report() {
  const auto again = [this, session = session_] {
    world_.After(self_, cluster_.options().report_ms * 1000, Step::kNone, [this, session] {
      if (session == session_) Report();
    });
  };
  std::vector<ReportedProgress> lines;
  std::vector<bool> over;
  for (const HeldPtr& held : held_) {
    const LeaseReport report = held->run.Report(WindowOf(held->window));
    over.push_back(report.done || !report.error.ok());
    lines.push_back({.job = held->given.job,
                     .token = held->given.token,
                     .recorded = report.recorded,
                     .answered = report.answered,
                     .pushed = report.pushed,
                     .tally = {.examples = report.recorded},
                     .done = report.done,
                     .result = "{}",
                     .error = report.error});
  }
  if (scheduler_->broken || scheduler_->to_life != world_.life(scheduler_->to))
    scheduler_ = world_.Connect(self_, cluster_.scheduler.self());
  world_.Call<ReportReply>(
      scheduler_, Step::kReportSent, Step::kReportTaken, kWorkerCallMs,
      [&cluster = cluster_, node = node_, session = session_, lines](auto reply) {
        reply(cluster.scheduler.Report(node, session, lines));
      },
      [this, again, over, held = held_, session = session_,
       sent_ms = world_.now_ms()](std::optional<ReportReply> reply) {
        if (session != session_) return;
        if (reply && reply->status.code() == Code::kFailedPrecondition) return Register();
        if (reply && reply->status.ok()) OnReported(held, over, sent_ms, *reply);
        again();
      });
}

void SimWorker::OnReported(const std::vector<HeldPtr>& lines, const std::vector<bool>& over, uint64_t sent_ms,
                           const ReportReply& reply) {
  for (size_t i = 0; i < lines.size(); ++i) {
    if (reply.lines[i].ok() && !over[i]) {
      lines[i]->run.Renew(sent_ms);
    } else {
      End(lines[i], reply.lines[i].message());
    }
  }
}

}  // namespace penstock::sim
