// DispatchFsm: the transitions.
#include "client/dispatch_fsm.h"

#include <algorithm>
#include <utility>

namespace penstock {
namespace {

using GroupState = GroupedCall::GroupState;

// "table 'user', shard 17 (node 2 at 127.0.0.1:7100)"
std::string Described(const GroupedCall& call, size_t group) {
  const auto& where = call.groups()[group].where;
  return call.Describe(group) + " (" + (where == nullptr ? "not sent" : *where) + ")";
}

std::string NotServing(const ShardEntry& entry) {
  std::string text = "the shard is " + std::string(ToString(entry.state));
  if (!entry.detail.empty()) text += ": " + entry.detail;
  return text;
}

size_t CountDone(const GroupedCall& call) {
  return std::count_if(call.groups().begin(), call.groups().end(),
                       [](const GroupedCall::Group& group) { return group.state == GroupState::kDone; });
}

// A group may have been applied, though no answer says so.
bool AnyOpen(const GroupedCall& call) {
  return std::any_of(call.groups().begin(), call.groups().end(), [](const GroupedCall::Group& group) {
    return group.state == GroupState::kSent || group.retry.open();
  });
}

std::string Applied(const GroupedCall& call) {
  if (!call.changes()) return "";
  return "; " + std::to_string(CountDone(call)) + " of " + std::to_string(call.groups().size()) +
         " units were applied";
}

}  // namespace

std::optional<DispatchFsm::Action> DispatchFsm::NextAction() {
  if (next_action_ == actions_.size()) {
    actions_.clear();
    next_action_ = 0;
    return std::nullopt;
  }
  return std::move(actions_[next_action_++]);
}

void DispatchFsm::Start(CallPtr call) {
  calls_[call.get()] = call;
  call->unanswered_ = call->groups_.size();
  call->looks_ = map_.looks();
  if (call->unanswered_ == 0) return End(call, Status::Ok());
  Pump(call);
}

void DispatchFsm::Cancel() {
  for (auto& [key, call] : std::exchange(calls_, {})) {
    End(call, Cancelled(call->what() + ": the client is being destroyed"));
  }
}

// --- Sending ---

void DispatchFsm::Pump(const CallPtr& call) {
  if (call->over()) return;
  struct Open {
    std::string endpoint;
    std::vector<uint32_t> groups;
  };
  std::vector<Open> messages;
  std::unordered_map<std::string, size_t> latest;  // of each endpoint
  std::vector<uint32_t> parked;
  auto& groups = call->groups_;
  for (uint32_t g = 0; g < groups.size(); ++g) {
    if (groups[g].state != GroupState::kWaiting) continue;
    if (!Place(*call, g)) {
      if (!call->failure_.ok()) return Settle(call);
      parked.push_back(g);
      continue;
    }
    const std::string& endpoint = map_.entry(groups[g].shard).endpoint;
    groups[g].state = GroupState::kQueued;
    // Groups of one endpoint mostly follow each other.
    const bool again = !messages.empty() && messages.back().endpoint == endpoint;
    const auto it = again ? latest.end() : latest.find(endpoint);
    if (again || it != latest.end()) {
      auto& open = again ? messages.back().groups : messages[it->second].groups;
      if (groups[open.back()].piece == groups[g].piece && call->Joins(open.back(), g)) {
        open.push_back(g);
        continue;
      }
    }
    latest[endpoint] = messages.size();
    messages.push_back({endpoint, {g}});
  }
  if (!parked.empty()) WaitForMap(call, std::move(parked));
  for (Open& open : messages) Enqueue(call, open.endpoint, std::move(open.groups));
}

std::shared_ptr<const std::string> DispatchFsm::Where(const ShardEntry& entry) {
  if (where_ == nullptr || entry.node != where_node_ || entry.endpoint != where_endpoint_) {
    where_node_ = entry.node;
    where_endpoint_ = entry.endpoint;
    std::string where = entry.node == 0 ? "no node" : "node " + std::to_string(entry.node);
    if (!entry.endpoint.empty()) where += " at " + entry.endpoint;
    where_ = std::make_shared<const std::string>(std::move(where));
  }
  return where_;
}

bool DispatchFsm::Place(GroupedCall& call, uint32_t g) {
  GroupedCall::Group& group = call.groups_[g];
  const ShardEntry& entry = map_.entry(group.shard);
  group.where = Where(entry);
  if (entry.state == ShardState::kServing && !entry.endpoint.empty()) return true;
  // An operator may have acted since the map was looked at.
  if (entry.state == ShardState::kQuarantined && map_.looks() > call.looks_) {
    call.failure_ = DataLoss(Described(call, g) + ": " + NotServing(entry));
  } else {
    group.retry.OnNotSent(Unavailable(NotServing(entry)));
  }
  return false;
}

void DispatchFsm::Enqueue(const CallPtr& call, const std::string& endpoint, std::vector<uint32_t> groups) {
  auto message = std::make_shared<Message>();
  message->call = call;
  for (uint32_t g : groups) message->bytes += call->groups_[g].bytes;
  message->groups = std::move(groups);
  ChannelPtr& slot = channels_[endpoint];
  if (slot == nullptr) {
    slot = std::make_shared<Channel>();
    slot->endpoint = endpoint;
  }
  slot->queue.push_back(std::move(message));
  Feed(slot);
}

void DispatchFsm::Feed(const ChannelPtr& channel) {
  while (!channel->broken && !channel->queue.empty()) {
    const uint64_t bytes = channel->queue.front()->bytes;
    if (channel->inflight_bytes > 0 && channel->inflight_bytes + bytes > options_.max_inflight_bytes) return;
    MessagePtr message = std::move(channel->queue.front());
    channel->queue.pop_front();
    if (message->call->over()) continue;
    channel->inflight_bytes += bytes;
    Do({.kind = Action::Kind::kSend, .channel = channel, .message = std::move(message)});
  }
}

bool DispatchFsm::OnConnected(const ChannelPtr& channel, const MessagePtr& message, uint64_t now_ms) {
  GroupedCall& call = *message->call;
  if (call.over()) {
    channel->inflight_bytes -= message->bytes;
    Feed(channel);
    return false;
  }
  for (uint32_t g : message->groups) {
    call.groups_[g].state = GroupState::kSent;
    call.groups_[g].sent_epoch = map_.entry(call.groups_[g].shard).epoch;
  }
  ++call.flying_;
  if (channel->sent.empty()) channel->heard_ms = now_ms;
  channel->sent.push_back(message);
  if (!std::exchange(watching_, true)) Do({.kind = Action::Kind::kWatch, .ms = options_.silent_ms});
  return true;
}

// --- What comes back ---

void DispatchFsm::OnNotConnected(const ChannelPtr& channel, const MessagePtr& message, const Status& status) {
  channel->inflight_bytes -= message->bytes;
  const CallPtr& call = message->call;
  Break(channel);
  if (call->over()) return;
  for (uint32_t g : message->groups) {
    call->groups_[g].retry.OnNotSent(status);
    call->groups_[g].state = GroupState::kParked;
  }
  if (status.code() == Code::kPermissionDenied) {
    call->failure_ = status.Prepend(Described(*call, message->groups.front()));
    return Settle(call);
  }
  WaitForMap(call, message->groups);
}

std::span<const UnitPosition> DispatchFsm::OnAnswer(const ChannelPtr& channel, const MessagePtr& message,
                                                    Result<GroupedCall::Answer> answer, uint64_t now_ms) {
  const CallPtr& call = message->call;
  channel->inflight_bytes -= message->bytes;
  channel->heard_ms = now_ms;
  std::erase(channel->sent, message);
  --call->flying_;
  std::vector<GroupOutcome> outcomes;
  if (!answer.ok()) {
    Status status = answer.status();
    const bool unanswered = status.code() != Code::kPermissionDenied;
    if (unanswered) {
      // The messages that go down with a connection that was given up report whatever the RPC system says of
      // its own end.
      if (channel->broken) status = Unavailable("the connection was given up: " + status.message());
      Break(channel);
    }
    outcomes = Refused(*message, status, unanswered);
  } else if (!answer->ok()) {
    outcomes = Refused(*message, answer->status(), false);
  } else {
    outcomes = std::move(**answer);
  }
  seen_.clear();
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const GroupedCall::Group& group = call->groups_[message->groups[i]];
    if (outcomes[i].code != Code::kOk) continue;
    seen_.push_back({.shard = group.shard,
                     .epoch = group.sent_epoch,
                     .lsn = call->changes() ? outcomes[i].lsn : 0,
                     .logged = outcomes[i].logged,
                     .held = outcomes[i].held});
  }
  if (!call->ended_) Apply(call, message->groups, outcomes);
  Feed(channel);
  return seen_;
}

std::vector<GroupOutcome> DispatchFsm::Refused(const Message& message, const Status& status,
                                               bool unanswered) {
  GroupOutcome outcome;
  outcome.code = status.code();
  outcome.retry_after_ms = status.retry_after_ms();
  outcome.message = status.message();
  outcome.unanswered = unanswered;
  return std::vector<GroupOutcome>(message.groups.size(), outcome);
}

void DispatchFsm::Apply(const CallPtr& call, const std::vector<uint32_t>& groups,
                        const std::vector<GroupOutcome>& outcomes) {
  std::vector<uint32_t> for_map;
  std::vector<uint32_t> for_time;
  uint32_t wait_ms = 0;
  bool resend = false;
  for (size_t i = 0; i < groups.size(); ++i) {
    GroupedCall::Group& group = call->groups_[groups[i]];
    const RetryDecision decision = group.retry.OnOutcome(outcomes[i], group.sent_epoch);
    group.state = GroupState::kParked;
    switch (decision.action) {
      case RetryAction::kDone:
        group.state = GroupState::kDone;
        --call->unanswered_;
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
        if (call->failure_.ok()) call->failure_ = group.retry.last().Prepend(Described(*call, groups[i]));
        break;
    }
  }
  if (call->failure_.ok()) {
    if (!for_map.empty()) WaitForMap(call, std::move(for_map));
    if (!for_time.empty()) {
      Look();  // a shard that is refused for long may have gone elsewhere meanwhile
      Do({.kind = Action::Kind::kSleep, .waiting = {call, std::move(for_time), {}}, .ms = wait_ms});
    }
    if (resend) Pump(call);
  }
  Settle(call);
}

void DispatchFsm::Break(const ChannelPtr& channel) {
  if (std::exchange(channel->broken, true)) return;
  auto it = channels_.find(channel->endpoint);
  if (it != channels_.end() && it->second == channel) channels_.erase(it);
  Do({.kind = Action::Kind::kDrop, .endpoint = channel->endpoint});
  for (const MessagePtr& message : std::exchange(channel->queue, {}))
    WaitForMap(message->call, message->groups);
}

// --- Silent servers ---

bool DispatchFsm::Silent(const Channel& channel, uint64_t now_ms) const {
  return !channel.sent.empty() && now_ms - channel.heard_ms >= options_.silent_ms;
}

bool DispatchFsm::Superseded(const Channel& channel) const {
  return std::any_of(channel.sent.begin(), channel.sent.end(), [&](const MessagePtr& message) {
    return std::any_of(message->groups.begin(), message->groups.end(), [&](uint32_t g) {
      const ShardEntry& entry = map_.entry(message->call->groups()[g].shard);
      return entry.state == ShardState::kServing && entry.endpoint != channel.endpoint;
    });
  });
}

void DispatchFsm::OnWatch(uint64_t now_ms) {
  bool owing = false;
  std::vector<ChannelPtr> silent;
  for (const auto& [endpoint, channel] : channels_) {
    owing = owing || !channel->sent.empty();
    if (Silent(*channel, now_ms)) silent.push_back(channel);
  }
  watching_ = owing;
  if (!owing) return;
  Do({.kind = Action::Kind::kWatch, .ms = options_.silent_ms});
  if (!silent.empty()) Do({.kind = Action::Kind::kLook, .waiting = {{}, {}, std::move(silent)}});
}

// --- Waiting ---

void DispatchFsm::WaitForMap(const CallPtr& call, std::vector<uint32_t> groups) {
  for (uint32_t g : groups) call->groups_[g].state = GroupState::kParked;
  Do({.kind = Action::Kind::kLook, .waiting = {call, std::move(groups), {}}});
}

void DispatchFsm::OnWake(const Waiting& waiting, uint64_t now_ms) {
  // With the connection go the messages on it: each comes back unanswered, and is sent again by the new map.
  for (const ChannelPtr& channel : waiting.silent) {
    if (Silent(*channel, now_ms) && Superseded(*channel)) Break(channel);
  }
  const CallPtr call = waiting.call.lock();
  if (call == nullptr || call->ended_) return;
  for (uint32_t g : waiting.groups) call->groups_[g].state = GroupState::kWaiting;
  Pump(call);
}

// --- The end ---

void DispatchFsm::OnDeadline(const CallPtr& call) {
  if (call->ended_) return;
  End(call, call->failure_.ok() ? DeadlineStatus(*call) : FailureStatus(*call));
}

void DispatchFsm::Settle(const CallPtr& call) {
  if (call->ended_) return;
  if (!call->failure_.ok()) {
    // What is in flight decides how much of a push was applied.
    if (call->flying_ == 0 || !call->changes()) End(call, FailureStatus(*call));
  } else if (call->unanswered_ == 0) {
    End(call, Status::Ok());
  }
}

void DispatchFsm::End(const CallPtr& call, Status status) {
  call->ended_ = true;
  Do({.kind = Action::Kind::kEnd, .call = call, .status = std::move(status)});
  calls_.erase(call.get());
}

Status DispatchFsm::FailureStatus(const GroupedCall& call) {
  const Status& failure = call.failure_;
  // The contents are wrong wherever they were received; otherwise an attempt before may have been applied.
  // What a producer has pushed in part before it was forgotten must not be pushed again under another one.
  const bool partly = failure.code() == Code::kUnknownProducer && CountDone(call) > 0;
  const bool unknown =
      call.changes() && (AnyOpen(call) || partly) && failure.code() != Code::kInvalidArgument;
  return Status(unknown ? Code::kOutcomeUnknown : failure.code(),
                call.what() + ": " + failure.message() + Applied(call), failure.retry_after_ms());
}

std::string DispatchFsm::Waits(uint64_t now_ms, uint64_t for_ms) const {
  std::string text;
  uint64_t before_ms = now_ms < for_ms ? 0 : now_ms - for_ms + 1;
  for (const auto& [key, call] : calls_) {
    if (call->begun_ms >= before_ms) continue;
    for (size_t g = 0; g < call->groups_.size(); ++g) {
      const GroupedCall::Group& group = call->groups_[g];
      if (group.state == GroupState::kDone || group.retry.last().ok()) continue;
      text = call->what() + ": " + Described(*call, g) + ": " + group.retry.last().ToString();
      before_ms = call->begun_ms;
      break;
    }
  }
  return text;
}

Status DispatchFsm::DeadlineStatus(const GroupedCall& call) const {
  const auto it = std::find_if(call.groups_.begin(), call.groups_.end(), [](const GroupedCall::Group& group) {
    return group.state != GroupState::kDone;
  });
  const GroupedCall::Group& group = *it;
  std::string message = call.what() + ": " + Described(call, static_cast<size_t>(it - call.groups_.begin())) +
                        ": " + (group.retry.last().ok() ? "no answer" : group.retry.last().ToString()) +
                        "; gave up after " + std::to_string(call.deadline_ms_) + " ms and " +
                        std::to_string(group.retry.attempts()) + " attempts" + Applied(call);
  if (!map_.last_error().ok())
    message += "; the shard map cannot be refreshed: " + map_.last_error().message();
  if (call.changes() && (AnyOpen(call) || CountDone(call) > 0)) return OutcomeUnknown(std::move(message));
  if (!call.changes() && group.retry.last().code() == Code::kUnavailable)
    return Unavailable(std::move(message));
  return DeadlineExceeded(std::move(message));
}

}  // namespace penstock
