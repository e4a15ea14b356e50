// Dispatcher: the thin driver between operations, the retry policy, the map and the connections.
#include "client/dispatcher.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "common/net/rpc_status.h"

namespace penstock {
namespace {

using GroupState = Operation::GroupState;

// "table 'user', shard 17 (node 2 at 127.0.0.1:7100)"
std::string Described(const Operation& operation, size_t group) {
  const auto& where = operation.groups()[group].where;
  return operation.Describe(group) + " (" + (where == nullptr ? "not sent" : *where) + ")";
}

std::string NotServing(const ShardEntry& entry) {
  std::string text = "the shard is " + std::string(ToString(entry.state));
  if (!entry.detail.empty()) text += ": " + entry.detail;
  return text;
}

}  // namespace

Dispatcher::Dispatcher(KjLoop& loop, ConnectionCache& connections, MapKeeper& map, DispatcherOptions options,
                       LogSeen log_seen)
    : loop_(loop),
      connections_(connections),
      map_(map),
      options_(options),
      log_seen_(std::move(log_seen)),
      tasks_(*this) {}

Dispatcher::~Dispatcher() = default;

void Dispatcher::Start(std::shared_ptr<Operation> operation) {
  operations_[operation.get()] = operation;
  operation->unanswered_ = operation->groups_.size();
  if (operation->unanswered_ == 0) return End(operation, Status::Ok());
  operation->timer_ = loop_.Sleep(operation->deadline_ms_)
                          .then([this, weak = std::weak_ptr<Operation>(operation)] {
                            if (auto strong = weak.lock(); strong && !strong->ended_) OnDeadline(strong);
                          })
                          .eagerlyEvaluate([](kj::Exception&& e) {
                            LOG(ERROR) << "deadline: " << e.getDescription().cStr();
                          });
  Pump(operation);
}

void Dispatcher::Cancel() {
  for (auto& [key, operation] : std::exchange(operations_, {})) {
    End(operation, Cancelled(operation->what() + ": the client is being destroyed"));
  }
}

// --- Sending ---

void Dispatcher::Pump(const OperationPtr& operation) {
  if (operation->ended_ || !operation->failure_.ok()) return;
  struct Open {
    std::string endpoint;
    std::vector<uint32_t> groups;
  };
  std::vector<Open> calls;
  std::unordered_map<std::string, size_t> latest;  // of each endpoint
  std::vector<uint32_t> parked;
  auto& groups = operation->groups_;
  for (uint32_t g = 0; g < groups.size(); ++g) {
    if (groups[g].state != GroupState::kWaiting) continue;
    if (!Place(*operation, g)) {
      if (!operation->failure_.ok()) return Settle(operation);
      parked.push_back(g);
      continue;
    }
    const std::string& endpoint = map_.entry(groups[g].shard).endpoint;
    groups[g].state = GroupState::kQueued;
    // Groups of one endpoint mostly follow each other.
    const bool again = !calls.empty() && calls.back().endpoint == endpoint;
    const auto it = again ? latest.end() : latest.find(endpoint);
    if (again || it != latest.end()) {
      auto& call = again ? calls.back().groups : calls[it->second].groups;
      if (groups[call.back()].piece == groups[g].piece && operation->Joins(call.back(), g)) {
        call.push_back(g);
        continue;
      }
    }
    latest[endpoint] = calls.size();
    calls.push_back({endpoint, {g}});
  }
  if (!parked.empty()) WaitForMap(operation, std::move(parked));
  for (Open& call : calls) Enqueue(operation, call.endpoint, std::move(call.groups));
}

std::shared_ptr<const std::string> Dispatcher::Where(const ShardEntry& entry) {
  if (where_ == nullptr || entry.node != where_node_ || entry.endpoint != where_endpoint_) {
    where_node_ = entry.node;
    where_endpoint_ = entry.endpoint;
    std::string where = entry.node == 0 ? "no node" : "node " + std::to_string(entry.node);
    if (!entry.endpoint.empty()) where += " at " + entry.endpoint;
    where_ = std::make_shared<const std::string>(std::move(where));
  }
  return where_;
}

bool Dispatcher::Place(Operation& operation, uint32_t g) {
  Operation::Group& group = operation.groups_[g];
  const ShardEntry& entry = map_.entry(group.shard);
  group.where = Where(entry);
  if (entry.state == ShardState::kServing && !entry.endpoint.empty()) return true;
  if (entry.state == ShardState::kQuarantined) {
    // The next call shall know whether an operator has acted meanwhile: nobody waits for this look at the
    // map.
    tasks_.add(map_.Refresh().catch_([](kj::Exception&&) {}));
    operation.failure_ = DataLoss(Described(operation, g) + ": " + NotServing(entry));
  } else {
    group.retry.OnNotSent(Unavailable(NotServing(entry)));
  }
  return false;
}

void Dispatcher::Enqueue(const OperationPtr& operation, const std::string& endpoint,
                         std::vector<uint32_t> groups) {
  auto call = std::make_shared<Call>();
  call->operation = operation;
  for (uint32_t g : groups) call->bytes += operation->groups_[g].bytes;
  call->groups = std::move(groups);
  ChannelPtr& slot = channels_[endpoint];
  if (slot == nullptr) {
    slot = std::make_shared<Channel>();
    slot->endpoint = endpoint;
  }
  slot->queue.push_back(std::move(call));
  Feed(ChannelPtr(slot));
}

void Dispatcher::Feed(const ChannelPtr& channel) {
  while (!channel->broken && !channel->queue.empty()) {
    const CallPtr call = channel->queue.front();
    if (channel->inflight_bytes > 0 && channel->inflight_bytes + call->bytes > options_.max_inflight_bytes)
      return;
    channel->queue.pop_front();
    if (call->operation->ended_ || !call->operation->failure_.ok()) continue;
    channel->inflight_bytes += call->bytes;
    SendCall(channel, call);
  }
}

void Dispatcher::SendCall(const ChannelPtr& channel, const CallPtr& call) {
  tasks_.add(
      connections_.Get(channel->endpoint)
          .then([this, channel, call](Result<capnp::Capability::Client>&& service) -> kj::Promise<void> {
            Operation& operation = *call->operation;
            if (!service.ok()) {
              OnNotConnected(channel, call, service.status());
              return kj::READY_NOW;
            }
            if (operation.ended_ || !operation.failure_.ok()) {
              channel->inflight_bytes -= call->bytes;
              Feed(channel);
              return kj::READY_NOW;
            }
            for (uint32_t g : call->groups) {
              operation.groups_[g].state = GroupState::kSent;
              operation.groups_[g].sent_epoch = map_.entry(operation.groups_[g].shard).epoch;
            }
            ++operation.flying_;
            if (channel->sent.empty()) channel->heard = loop_.timer().now();
            channel->sent.push_back(call);
            if (!std::exchange(watching_, true)) Watch();
            auto server = service->castAs<proto::DataPlane>();
            auto sent = kj::evalNow([&] { return operation.Send(server, call->groups); });
            return WithDeadline<Operation::Answer>(loop_.timer(), options_.attempt_timeout_ms, kj::mv(sent),
                                                   "no answer")
                .then([this, channel, call](Result<Operation::Answer>&& result) {
                  OnAnswer(channel, call, std::move(result));
                });
          }));
}

// --- What comes back ---

void Dispatcher::OnNotConnected(const ChannelPtr& channel, const CallPtr& call, const Status& status) {
  channel->inflight_bytes -= call->bytes;
  const OperationPtr& operation = call->operation;
  const bool refused = status.code() == Code::kPermissionDenied;
  Break(channel);
  if (operation->ended_ || !operation->failure_.ok()) return;
  for (uint32_t g : call->groups) {
    operation->groups_[g].retry.OnNotSent(status);
    operation->groups_[g].state = GroupState::kParked;
  }
  if (refused) {
    operation->failure_ = status.Prepend(Described(*operation, call->groups.front()));
    return Settle(operation);
  }
  WaitForMap(operation, call->groups);
}

void Dispatcher::OnAnswer(const ChannelPtr& channel, const CallPtr& call, Result<Operation::Answer> result) {
  const OperationPtr& operation = call->operation;
  channel->inflight_bytes -= call->bytes;
  channel->heard = loop_.timer().now();
  std::erase(channel->sent, call);
  --operation->flying_;
  std::vector<GroupOutcome> outcomes;
  if (!result.ok()) {
    Status status = result.status();
    const bool unanswered = status.code() != Code::kPermissionDenied;
    if (unanswered) {
      // The calls that go down with a connection that was given up report whatever the RPC system says of its
      // own end.
      if (channel->broken) status = Unavailable("the connection was given up: " + status.message());
      Break(channel);
      // The message may be in the connection's queue still. The connection goes at the end of this turn of
      // the loop, this after it.
      tasks_.add(loop_.Sleep(1).then([operation] {}));
    }
    outcomes = Refused(*call, status, unanswered);
  } else if (!result->ok()) {
    outcomes = Refused(*call, result->status(), false);
  } else {
    outcomes = std::move(**result);
  }
  std::vector<UnitPosition> seen;
  seen.reserve(outcomes.size());
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const Operation::Group& group = operation->groups_[call->groups[i]];
    if (outcomes[i].code != Code::kOk) continue;
    seen.push_back({.shard = group.shard,
                    .epoch = group.sent_epoch,
                    .lsn = operation->changes() ? outcomes[i].lsn : 0,
                    .logged = outcomes[i].logged});
  }
  log_seen_(seen);
  if (!operation->ended_) Apply(operation, call->groups, outcomes);
  Feed(channel);
}

std::vector<GroupOutcome> Dispatcher::Refused(const Call& call, const Status& status, bool unanswered) const {
  GroupOutcome outcome;
  outcome.code = status.code();
  outcome.retry_after_ms = status.retry_after_ms();
  outcome.message = status.message();
  outcome.unanswered = unanswered;
  return std::vector<GroupOutcome>(call.groups.size(), outcome);
}

void Dispatcher::Apply(const OperationPtr& operation, const std::vector<uint32_t>& groups,
                       const std::vector<GroupOutcome>& outcomes) {
  std::vector<uint32_t> for_map;
  std::vector<uint32_t> for_time;
  uint32_t wait_ms = 0;
  bool resend = false;
  for (size_t i = 0; i < groups.size(); ++i) {
    Operation::Group& group = operation->groups_[groups[i]];
    const RetryDecision decision = group.retry.OnOutcome(outcomes[i], group.sent_epoch);
    group.state = GroupState::kParked;
    switch (decision.action) {
      case RetryAction::kDone:
        group.state = GroupState::kDone;
        --operation->unanswered_;
        break;
      case RetryAction::kResend:
        map_.Adopt(group.shard, outcomes[i].epoch);
        group.state = GroupState::kWaiting;
        resend = true;
        break;
      case RetryAction::kRefreshMap:
        for_map.push_back(groups[i]);
        break;
      case RetryAction::kBackOff:
        for_time.push_back(groups[i]);
        wait_ms = std::max(wait_ms, decision.wait_ms);
        break;
      case RetryAction::kFail:
        if (operation->failure_.ok()) {
          operation->failure_ = group.retry.last().Prepend(Described(*operation, groups[i]));
        }
        break;
    }
  }
  if (operation->failure_.ok()) {
    if (!for_map.empty()) WaitForMap(operation, std::move(for_map));
    if (!for_time.empty()) WaitFor(operation, std::move(for_time), wait_ms);
    if (resend) Pump(operation);
  }
  Settle(operation);
}

void Dispatcher::Break(const ChannelPtr& channel) {
  if (std::exchange(channel->broken, true)) return;
  auto it = channels_.find(channel->endpoint);
  if (it != channels_.end() && it->second == channel) channels_.erase(it);
  connections_.Drop(channel->endpoint);
  for (const CallPtr& call : std::exchange(channel->queue, {})) {
    for (uint32_t g : call->groups) call->operation->groups_[g].state = GroupState::kParked;
    WaitForMap(call->operation, call->groups);
  }
}

// --- Silent servers ---

bool Dispatcher::Silent(const Channel& channel) const {
  return !channel.sent.empty() &&
         loop_.timer().now() - channel.heard >= options_.silent_ms * kj::MILLISECONDS;
}

bool Dispatcher::Superseded(const Channel& channel) const {
  return std::any_of(channel.sent.begin(), channel.sent.end(), [&](const CallPtr& call) {
    return std::any_of(call->groups.begin(), call->groups.end(), [&](uint32_t g) {
      const ShardEntry& entry = map_.entry(call->operation->groups()[g].shard);
      return entry.state == ShardState::kServing && entry.endpoint != channel.endpoint;
    });
  });
}

void Dispatcher::Watch() {
  tasks_.add(loop_.Sleep(options_.silent_ms).then([this]() -> kj::Promise<void> {
    bool owing = false;
    std::vector<ChannelPtr> silent;
    for (const auto& [endpoint, channel] : channels_) {
      owing = owing || !channel->sent.empty();
      if (Silent(*channel)) silent.push_back(channel);
    }
    if (!owing) {
      watching_ = false;
      return kj::READY_NOW;
    }
    Watch();
    if (silent.empty()) return kj::READY_NOW;
    return map_.Refresh().then([this, silent = std::move(silent)] {
      // With the connection go the calls on it: each comes back unanswered, and is sent again by the new map.
      for (const ChannelPtr& channel : silent) {
        if (Silent(*channel) && Superseded(*channel)) Break(channel);
      }
    });
  }));
}

// --- Waiting ---

void Dispatcher::WaitForMap(const OperationPtr& operation, std::vector<uint32_t> groups) {
  for (uint32_t g : groups) operation->groups_[g].state = GroupState::kParked;
  auto wake = [this, weak = std::weak_ptr<Operation>(operation),
               groups = std::make_shared<std::vector<uint32_t>>(std::move(groups))] { Wake(weak, *groups); };
  // A copy: then() keeps a reference to a named function object.
  tasks_.add(map_.Refresh().then(kj::cp(wake), [wake](kj::Exception&&) { wake(); }));
}

void Dispatcher::WaitFor(const OperationPtr& operation, std::vector<uint32_t> groups, uint32_t ms) {
  // Where a shard is refused for long, it may have gone elsewhere meanwhile: nobody waits for this look at
  // the map.
  tasks_.add(map_.Refresh().catch_([](kj::Exception&&) {}));
  tasks_.add(loop_.Sleep(ms).then([this, weak = std::weak_ptr<Operation>(operation),
                                   groups = std::move(groups)] { Wake(weak, groups); }));
}

void Dispatcher::Wake(const std::weak_ptr<Operation>& weak, const std::vector<uint32_t>& groups) {
  const OperationPtr operation = weak.lock();
  if (operation == nullptr || operation->ended_) return;
  for (uint32_t g : groups) operation->groups_[g].state = GroupState::kWaiting;
  Pump(operation);
}

// --- The end ---

void Dispatcher::OnDeadline(const OperationPtr& operation) {
  End(operation, operation->failure_.ok() ? DeadlineStatus(*operation) : FailureStatus(*operation));
}

void Dispatcher::Settle(const OperationPtr& operation) {
  if (operation->ended_) return;
  if (!operation->failure_.ok()) {
    // What is in flight decides how much of a push was applied.
    if (operation->flying_ == 0 || !operation->changes()) End(operation, FailureStatus(*operation));
  } else if (operation->unanswered_ == 0) {
    End(operation, Status::Ok());
  }
}

void Dispatcher::End(const OperationPtr& operation, Status status) {
  const OperationPtr keep = operation;
  operation->ended_ = true;
  operations_.erase(operation.get());
  // Not here: this may be the timer's own continuation.
  tasks_.add(kj::evalLater([timer = kj::mv(operation->timer_)]() mutable { timer = nullptr; }));
  operation->timer_ = nullptr;
  operation->Complete(std::move(status));
}

std::string Dispatcher::Applied(const Operation& operation) const {
  if (!operation.changes()) return "";
  return "; " + std::to_string(operation.groups_.size() - operation.unanswered_) + " of " +
         std::to_string(operation.groups_.size()) + " units were applied";
}

bool Dispatcher::MayHaveChanged(const Operation& operation) const {
  return operation.changes() &&
         std::any_of(operation.groups_.begin(), operation.groups_.end(), [](const Operation::Group& group) {
           return group.state == GroupState::kDone || group.state == GroupState::kSent || group.retry.open();
         });
}

Status Dispatcher::FailureStatus(const Operation& operation) const {
  const Status& failure = operation.failure_;
  // The contents are wrong wherever they were received; otherwise an attempt before may have been applied.
  const bool open = std::any_of(
      operation.groups_.begin(), operation.groups_.end(),
      [](const Operation::Group& group) { return group.state == GroupState::kSent || group.retry.open(); });
  // What a producer has pushed in part before it was forgotten must not be pushed again under another one.
  const bool partly = failure.code() == Code::kUnknownProducer && MayHaveChanged(operation);
  const bool unknown = operation.changes() && (open || partly) && failure.code() != Code::kInvalidArgument;
  return Status(unknown ? Code::kOutcomeUnknown : failure.code(),
                operation.what() + ": " + failure.message() + Applied(operation), failure.retry_after_ms());
}

Status Dispatcher::DeadlineStatus(const Operation& operation) const {
  const auto it =
      std::find_if(operation.groups_.begin(), operation.groups_.end(),
                   [](const Operation::Group& group) { return group.state != GroupState::kDone; });
  const Operation::Group& group = *it;
  std::string message = operation.what() + ": " +
                        Described(operation, static_cast<size_t>(it - operation.groups_.begin())) + ": " +
                        (group.retry.last().ok() ? "no answer" : group.retry.last().ToString()) +
                        "; gave up after " + std::to_string(operation.deadline_ms_) + " ms and " +
                        std::to_string(group.retry.attempts()) + " attempts" + Applied(operation);
  if (!map_.last_error().ok())
    message += "; the shard map cannot be refreshed: " + map_.last_error().message();
  if (MayHaveChanged(operation)) return OutcomeUnknown(std::move(message));
  if (!operation.changes() && group.retry.last().code() == Code::kUnavailable)
    return Unavailable(std::move(message));
  return DeadlineExceeded(std::move(message));
}

void Dispatcher::taskFailed(kj::Exception&& e) {
  LOG(ERROR) << loop_.name() << ": " << e.getDescription().cStr();
}

}  // namespace penstock
