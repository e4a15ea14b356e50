#include "tests/sim/sim_pusher.h"

#include "tests/sim/sim_cluster.h"

namespace penstock::sim {
namespace {

constexpr uint64_t kDeadlineMs = 9000;
constexpr uint64_t kAttemptMs = 2500;
constexpr uint64_t kMapMs = 600;
constexpr uint64_t kGivenUpOneIn = 25;  // messages that are given up at once, and arrive nevertheless

using Reply = std::function<void(PushAnswer)>;

std::vector<GroupedCall::Group> GroupsOf(const std::vector<ShardId>& shards) {
  std::vector<GroupedCall::Group> groups(shards.size());
  for (size_t i = 0; i < shards.size(); ++i) groups[i].shard = shards[i];
  return groups;
}

std::vector<ShardId> ShardsOf(const std::vector<PushRequest>& units) {
  std::vector<ShardId> shards;
  for (const PushRequest& unit : units) shards.push_back(unit.shard);
  return shards;
}

GroupOutcome OutcomeOf(const PushAnswer& answer) {
  return {.code = answer.status.code(),
          .retry_after_ms = answer.status.retry_after_ms(),
          .epoch = answer.epoch,
          .lsn = answer.lsn,
          .logged = answer.logged,
          .held = answer.held,
          .message = answer.status.message()};
}

}  // namespace

// What a call looks like in the simulated network.
class SimPusher::Call : public GroupedCall {
 public:
  using GroupedCall::GroupedCall;
  std::string Describe(size_t group) const override { return StrCat("shard ", groups()[group].shard); }
  virtual void Prepare() {}
  // Runs at the server; `reply` is called once for the group.
  using Serve = std::function<void(SimCore&, const Reply&)>;
  virtual Serve ServeOf(uint32_t group) = 0;
  virtual Step sent() const { return Step::kNone; }
  virtual Step answered() const { return Step::kNone; }
  virtual void Complete(const Status& status) {}
};

class SimPusher::PushCall final : public SimPusher::Call {
 public:
  PushCall(SimPusher& pusher, std::vector<PushRequest> units, Low low, Done done)
      : Call(kDeadlineMs, GroupsOf(ShardsOf(units))),
        pusher_(pusher),
        units_(std::move(units)),
        low_(std::move(low)),
        done_(std::move(done)) {}

  std::string what() const override { return "push"; }
  bool changes() const override { return true; }
  Step sent() const override { return Step::kPushSent; }
  Step answered() const override { return Step::kPushAnswered; }

  void Prepare() override {
    const Sequence low = low_();
    for (PushRequest& unit : units_) unit.unit.low = std::min(low, unit.unit.sequence);
  }
  Serve ServeOf(uint32_t g) override {
    PushRequest request = units_[g];
    request.epoch = groups()[g].sent_epoch;
    return [request](SimCore& core, const Reply& reply) { core.Push(request, reply); };
  }
  void Note(uint32_t g, const PushAnswer& answer) {
    positions_[g] = {.shard = groups()[g].shard,
                     .epoch = groups()[g].sent_epoch,
                     .lsn = answer.lsn,
                     .logged = answer.logged,
                     .held = answer.held};
  }
  void Complete(const Status& status) override {
    Result result{.status = status, .units = {}};
    for (uint32_t g = 0; g < units_.size(); ++g) {
      const UnitPosition& at = positions_[g];
      const bool applied = groups()[g].state == GroupState::kDone;
      const bool unknown = status.code() == Code::kOutcomeUnknown;
      const UnitOutcome outcome = applied   ? UnitOutcome::kAcknowledged
                                  : unknown ? UnitOutcome::kUnknown
                                            : UnitOutcome::kRefused;
      pusher_.world_.Note(pusher_.self_, "unit ", units_[g].number, " ends as ", static_cast<int>(outcome),
                          ", lsn ", at.lsn, " ", status.message());
      pusher_.cluster_.truth.OnOutcome(units_[g].number, outcome, at.epoch, at.lsn);
      if (status.ok()) result.units.push_back(at);
    }
    done_(result);
  }

 private:
  SimPusher& pusher_;
  std::vector<PushRequest> units_;
  const Low low_;
  const Done done_;
  std::map<uint32_t, UnitPosition> positions_;  // of groups, as last answered
};

class SimPusher::AskCall final : public SimPusher::Call {
 public:
  AskCall(const std::vector<ShardId>& shards, uint64_t deadline_ms, Asked done)
      : Call(deadline_ms, GroupsOf(shards)), done_(std::move(done)) {}
  std::string what() const override { return "ask"; }
  Serve ServeOf(uint32_t g) override {
    return [shard = groups()[g].shard, epoch = groups()[g].sent_epoch](SimCore& core, const Reply& reply) {
      reply(core.AskLogged(shard, epoch));
    };
  }
  void Complete(const Status& status) override { done_(status); }

 private:
  const Asked done_;
};

SimPusher::SimPusher(SimCluster& cluster, Endpoint self, Seen seen)
    : cluster_(cluster), world_(cluster.world), self_(self), seen_(std::move(seen)) {}

void SimPusher::Push(std::vector<PushRequest> units, Low low, Done done) {
  Start(std::make_shared<PushCall>(*this, std::move(units), std::move(low), std::move(done)));
}

void SimPusher::AskLogged(const std::vector<ShardId>& shards, uint64_t deadline_ms, Asked done) {
  Start(std::make_shared<AskCall>(shards, deadline_ms, std::move(done)));
}

// As Client::Connect, the first map comes before anything else.
void SimPusher::Start(std::shared_ptr<Call> call) {
  if (map_.map().size() == 0) return RefreshMap([this, call] { Start(call); });
  fsm_.Start(call);
  world_.After(self_, call->deadline_ms() * 1000, Step::kNone, [this, call] {
    fsm_.OnDeadline(call);
    Perform();
  });
  Perform();
}

// --- What the machine wants.

void SimPusher::Perform() {
  if (std::exchange(performing_, true)) return;
  while (const auto action = fsm_.NextAction()) Perform(*action);
  performing_ = false;
}

void SimPusher::Perform(const DispatchFsm::Action& action) {
  using Kind = DispatchFsm::Action::Kind;
  const auto wake = [this, waiting = action.waiting] {
    fsm_.OnWake(waiting, world_.now_ms());
    Perform();
  };
  switch (action.kind) {
    case Kind::kSend:
      return Send(action.channel, action.message);
    case Kind::kDrop:
      // As in the product, what waits on it hears of that later.
      return world_.After(self_, 0, Step::kNone,
                          [this, gone = std::exchange(channels_[action.endpoint], nullptr)] {
                            if (gone != nullptr) world_.Break(gone);
                          });
    case Kind::kLook:
      return RefreshMap(wake);
    case Kind::kSleep:
      return world_.After(self_, action.ms * 1000, Step::kNone, wake);
    case Kind::kWatch:
      return world_.After(self_, action.ms * 1000, Step::kNone, [this] {
        fsm_.OnWatch(world_.now_ms());
        Perform();
      });
    case Kind::kEnd:
      return static_cast<Call&>(*action.call).Complete(action.status);
  }
}

ChannelPtr SimPusher::ChannelTo(const std::string& endpoint) {
  const auto server = cluster_.FindServer(endpoint);
  if (!server) return nullptr;
  ChannelPtr& channel = channels_[endpoint];
  if (channel == nullptr || channel->broken) channel = world_.Connect(self_, *server);
  return channel;
}

void SimPusher::Send(const DispatchFsm::ChannelPtr& channel, const DispatchFsm::MessagePtr& message) {
  const ChannelPtr connection = ChannelTo(channel->endpoint);
  auto& call = static_cast<Call&>(*message->call);
  if (connection == nullptr)
    return fsm_.OnNotConnected(channel, message, Unavailable("nobody listens there"));
  call.Prepare();
  if (!fsm_.OnConnected(channel, message, world_.now_ms())) return;
  std::vector<Call::Serve> groups;
  for (const uint32_t g : message->groups) groups.push_back(call.ServeOf(g));
  using Answers = std::vector<PushAnswer>;
  // Answered when every group is.
  const auto serve = [&cluster = cluster_, groups, to = connection->to](auto reply) {
    SimCore* core = cluster.FindCore(to);
    if (core == nullptr) return;
    struct Answering {
      Answers answers;
      size_t left;
    };
    auto answering = std::make_shared<Answering>(Answering{Answers(groups.size()), groups.size()});
    for (size_t i = 0; i < groups.size(); ++i) {
      groups[i](*core, [answering, i, reply](PushAnswer answer) {
        answering->answers[i] = std::move(answer);
        if (--answering->left == 0) reply(answering->answers);
      });
    }
  };
  const auto answered = [this, channel, message](const std::optional<Answers>& answers) {
    OnAnswer(channel, message, answers);
  };
  if (call.changes() && world_.OneIn(kGivenUpOneIn)) {
    const ChannelPtr other = world_.Connect(self_, connection->to);
    world_.Call<Answers>(other, call.sent(), call.answered(), kAttemptMs, serve,
                         [other](const std::optional<Answers>&) {});
    return world_.After(self_, 0, Step::kNone, [answered] { answered(std::nullopt); });
  }
  world_.Call<Answers>(connection, call.sent(), call.answered(), kAttemptMs, serve, answered);
}

void SimPusher::OnAnswer(const DispatchFsm::ChannelPtr& channel, const DispatchFsm::MessagePtr& message,
                         const std::optional<std::vector<PushAnswer>>& answers) {
  penstock::Result<GroupedCall::Answer> answer = Unavailable("not answered");
  if (answers) {
    std::vector<GroupOutcome> outcomes;
    for (size_t i = 0; i < answers->size(); ++i) {
      if (auto* push = dynamic_cast<PushCall*>(message->call.get()))
        push->Note(message->groups[i], (*answers)[i]);
      outcomes.push_back(OutcomeOf((*answers)[i]));
    }
    answer = GroupedCall::Answer(std::move(outcomes));
  }
  for (const UnitPosition& at : fsm_.OnAnswer(channel, message, std::move(answer), world_.now_ms()))
    seen_(at);
  Perform();
}

// --- The map.

void SimPusher::RefreshMap(Task then) {
  waiting_.push_back(std::move(then));
  if (const auto pause_ms = map_.Want(world_.now_ms())) LookAfter(*pause_ms);
}

void SimPusher::LookAfter(uint64_t pause_ms) {
  world_.After(self_, pause_ms * 1000, Step::kNone, [this] {
    map_.LookBegins();
    if (scheduler_ == nullptr || scheduler_->broken || scheduler_->to_life != world_.life(scheduler_->to))
      scheduler_ = world_.Connect(self_, cluster_.scheduler.self());
    world_.Call<MapReply>(
        scheduler_, Step::kNone, Step::kNone, kMapMs,
        [&cluster = cluster_](auto reply) { reply(cluster.scheduler.Map()); },
        [this, asked = std::exchange(waiting_, {})](std::optional<MapReply> reply) {
          Status status = reply ? reply->status : Unavailable("not answered");
          if (status.ok()) status = map_.Take(reply->map).status();
          const auto again = map_.LookEnds(status, world_.now_ms());
          for (const Task& task : asked) task();
          if (again) LookAfter(*again);
        });
  });
}

}  // namespace penstock::sim
