#include "tests/sim/sim_pusher.h"

#include "tests/sim/sim_cluster.h"

namespace penstock::sim {
namespace {

constexpr uint64_t kDeadlineMs = 9000;
constexpr uint64_t kAttemptMs = 2500;
constexpr uint64_t kMapMs = 600;
constexpr uint64_t kTwiceOneIn = 15;  // whole calls that arrive twice

}  // namespace

SimPusher::SimPusher(SimCluster& cluster, Endpoint self, EpochSeen seen)
    : cluster_(cluster), world_(cluster.world), self_(self), seen_(std::move(seen)) {}

void SimPusher::Push(PushRequest request, Low low, Done done) {
  auto group = std::make_shared<Group>(Group{std::move(request), std::move(low), std::move(done)});
  world_.After(self_, kDeadlineMs * 1000, Step::kNone, [this, group] { OnDeadline(group); });
  Try(group);
}

// What may have been received may have been applied.
void SimPusher::OnDeadline(const GroupPtr& group) {
  if (group->over) return;
  const bool unknown = group->flying || group->retry.open();
  End(group, unknown ? UnitOutcome::kUnknown : UnitOutcome::kRefused, {});
}

void SimPusher::End(const GroupPtr& group, UnitOutcome outcome, const PushAnswer& answer) {
  if (group->over) return;
  group->over = true;
  world_.Note(self_, "unit ", group->request.number, " ends as ", static_cast<int>(outcome), ", lsn ",
              answer.lsn, " ", group->retry.last().message());
  cluster_.truth.OnOutcome(group->request.number, outcome, answer.epoch, answer.lsn);
  group->done({outcome, group->retry.last(), answer});
}

ChannelPtr SimPusher::ChannelTo(const std::string& endpoint) {
  const auto server = cluster_.FindServer(endpoint);
  if (!server) return nullptr;
  ChannelPtr& channel = channels_[endpoint];
  if (channel == nullptr || channel->broken) channel = world_.Connect(self_, *server);
  return channel;
}

void SimPusher::Try(const GroupPtr& group) {
  if (group->over) return;
  PushRequest& request = group->request;
  const bool known = request.shard < map_.shards.size();
  const ChannelPtr channel = known ? ChannelTo(map_.shards[request.shard].endpoint) : nullptr;
  if (channel == nullptr) {
    group->retry.OnNotSent(Unavailable("nobody serves it"));
    return world_.After(self_, 60'000, Step::kNone,
                        [this, group] { RefreshMap([this, group] { Try(group); }); });
  }
  request.unit.low = std::min(group->low(), request.unit.sequence);
  request.epoch = map_.shards[request.shard].epoch;
  group->flying = true;
  const auto serve = [&cluster = cluster_, request, server = channel->to](auto reply) {
    if (SimCore* core = cluster.FindCore(server)) core->Push(request, std::move(reply));
  };
  world_.Call<PushAnswer>(channel, Step::kPushSent, Step::kPushAnswered, kAttemptMs, serve,
                          [this, group, sent = request.epoch](std::optional<PushAnswer> answer) {
                            OnAnswer(group, sent, answer);
                          });
  if (!world_.OneIn(kTwiceOneIn)) return;
  // As an attempt that was given up and arrives nevertheless: whatever the first is told, it may be applied.
  group->retry.OnOutcome({.code = Code::kUnavailable, .message = "not answered", .unanswered = true},
                         request.epoch);
  const ChannelPtr other = world_.Connect(self_, channel->to);
  world_.Call<PushAnswer>(other, Step::kPushSent, Step::kPushAnswered, kAttemptMs, serve,
                          [other](const std::optional<PushAnswer>&) {});
}

void SimPusher::OnAnswer(const GroupPtr& group, Epoch sent, const std::optional<PushAnswer>& answer) {
  group->flying = false;
  if (group->over) return;
  GroupOutcome outcome{.code = Code::kUnavailable, .message = "not answered", .unanswered = true};
  if (answer) {
    outcome = {.code = answer->status.code(),
               .retry_after_ms = answer->status.retry_after_ms(),
               .epoch = answer->epoch,
               .lsn = answer->lsn,
               .logged = answer->logged,
               .message = answer->status.message()};
  }
  const ShardId shard = group->request.shard;
  if (answer && answer->epoch > map_.shards[shard].epoch) {
    map_.shards[shard].epoch = answer->epoch;
    seen_(shard, answer->epoch);
  }
  const RetryDecision decision = group->retry.OnOutcome(outcome, sent);
  switch (decision.action) {
    case RetryAction::kDone:
      return End(group, UnitOutcome::kAcknowledged, *answer);
    case RetryAction::kResend:
      return Try(group);
    case RetryAction::kRefreshMap:
      return RefreshMap([this, group] { Try(group); });
    case RetryAction::kBackOff:
      RefreshMap([] {});
      return world_.After(self_, uint64_t{decision.wait_ms} * 1000, Step::kNone,
                          [this, group] { Try(group); });
    case RetryAction::kFail:
      return End(group, group->retry.open() ? UnitOutcome::kUnknown : UnitOutcome::kRefused, {});
  }
}

void SimPusher::AskLogged(ShardId shard, std::function<void(std::optional<PushAnswer>)> done) {
  const bool known = shard < map_.shards.size();
  const ChannelPtr channel = known ? ChannelTo(map_.shards[shard].endpoint) : nullptr;
  if (channel == nullptr) return RefreshMap([done = std::move(done)] { done(std::nullopt); });
  const Epoch epoch = map_.shards[shard].epoch;
  world_.Call<PushAnswer>(
      channel, Step::kNone, Step::kNone, kAttemptMs,
      [&cluster = cluster_, shard, epoch, server = channel->to](auto reply) {
        if (SimCore* core = cluster.FindCore(server)) reply(core->AskLogged(shard, epoch));
      },
      [this, shard, done = std::move(done)](std::optional<PushAnswer> answer) {
        if (answer && answer->epoch > map_.shards[shard].epoch) {
          map_.shards[shard].epoch = answer->epoch;
          seen_(shard, answer->epoch);
        }
        const bool ok = answer && answer->status.ok();
        if (!ok) return RefreshMap([done] { done(std::nullopt); });
        done(answer);
      });
}

// --- The map.

void SimPusher::RefreshMap(Task then) {
  waiting_.push_back(std::move(then));
  if (looking_) return;
  looking_ = true;
  if (scheduler_ == nullptr || scheduler_->broken || scheduler_->to_life != world_.life(scheduler_->to))
    scheduler_ = world_.Connect(self_, cluster_.scheduler.self());
  world_.Call<MapReply>(
      scheduler_, Step::kNone, Step::kNone, kMapMs,
      [&cluster = cluster_](auto reply) { reply(cluster.scheduler.Map()); },
      [this](std::optional<MapReply> reply) {
        if (reply && reply->status.ok()) TakeMap(reply->map);
        world_.After(self_, 10'000, Step::kNone, [this] {
          looking_ = false;
          for (const Task& task : std::exchange(waiting_, {})) task();
        });
      });
}

void SimPusher::TakeMap(const ShardMap& map) {
  if (map.version <= map_.version) return;
  const ShardMap before = std::exchange(map_, map);
  for (ShardId id = 0; id < before.shards.size(); ++id) {
    // A server has said so already, which the scheduler may not have heard.
    if (before.shards[id].epoch > map_.shards[id].epoch) map_.shards[id].epoch = before.shards[id].epoch;
  }
  for (ShardId id = 0; id < map_.shards.size(); ++id) seen_(id, map_.shards[id].epoch);
}

}  // namespace penstock::sim
