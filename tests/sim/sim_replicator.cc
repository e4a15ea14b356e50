#include "tests/sim/sim_replicator.h"

#include "tests/sim/sim_cluster.h"

namespace penstock::sim {
namespace {

constexpr uint64_t kTickUs = 50'000;
constexpr uint64_t kAnswerMs = 2000;

ReplicationOptions OptionsOf(const std::string& name) {
  return {.node_name = name,
          .copy_wait_ms = 6000,
          .tail_bytes = 1 << 20,
          .call_bytes = 1000,
          .in_flight_bytes = 2500,
          .seed_in_flight_bytes = 1500,
          .seed = {.piece_bytes = 160, .base_rows = 4}};
}

Step StepOf(const Replication::Call& call) {
  Step step = Step::kDeltaSent;
  for (const Replication::Item& item : call.items) {
    if (item.what.piece) step = item.what.last ? Step::kLastPieceSent : Step::kPieceSent;
  }
  return step;
}

}  // namespace

SimReplicator::SimReplicator(SimCluster& cluster, SimCore& core, Endpoint self, const std::string& name)
    : cluster_(cluster),
      world_(cluster.world),
      core_(core),
      self_(self),
      replication_(core, OptionsOf(name)) {
  world_.After(self_, kTickUs, Step::kNone, [this] { Tick(); });
}

void SimReplicator::Perform() {
  replication_.Perform([this](auto&& action) { Do(std::forward<decltype(action)>(action)); });
}

// --- Events.

void SimReplicator::NoteWanted(ShardId shard) {
  replication_.NoteWanted(shard, world_.now_ms());
  Perform();
}

void SimReplicator::Forget(ShardId shard) {
  replication_.Forget(shard, world_.now_ms());
  Perform();
}

void SimReplicator::Send() {
  replication_.Send();
  Perform();
}

void SimReplicator::Wait(std::vector<DeltaRef> deltas, Durability level, std::function<void(Status)> done) {
  if (auto said = replication_.Look(&deltas, level)) return done(*std::move(said));
  const auto since = waits_since_ms_.insert(world_.now_ms());
  replication_.Wait(std::move(deltas), level, world_.now_ms(),
                    [this, since, done = std::move(done)](Status status) {
                      waits_since_ms_.erase(since);
                      done(std::move(status));
                    });
}

void SimReplicator::Tick() {
  replication_.Tick(world_.now_ms());
  Perform();
  const uint64_t deadline_ms = OptionsOf("").copy_wait_ms + 1000;
  if (!waits_since_ms_.empty() && world_.now_ms() > *waits_since_ms_.begin() + deadline_ms &&
      !cluster_.StoodStill(self_))
    world_.Fail("no_wait_beyond_its_deadline", "a push waits for copies");
  world_.After(self_, kTickUs, Step::kNone, [this] { Tick(); });
}

// --- Actions.

void SimReplicator::Do(Replication::Connect&& action) {
  const auto server = cluster_.FindServer(action.endpoint);
  ChannelPtr& channel = channels_[action.link];
  if (server && channel == nullptr) channel = world_.Connect(self_, *server);
  const Status status = server ? Status::Ok() : Unavailable("nobody listens there any more");
  replication_.OnConnected(action.link, status, world_.now_ms());
}

void SimReplicator::Do(Replication::Drop&& action) {
  const auto channel = channels_.extract(action.link);
  if (!channel.empty() && channel.mapped() != nullptr) world_.Break(channel.mapped());
}

void SimReplicator::Do(Replication::Attach&& action) {
  const ChannelPtr& channel = channels_.at(action.link);
  using Answers = std::vector<ReplicaAnswer>;
  world_.Call<Answers>(
      channel, Step::kAttachSent, Step::kAttachAnswered, kAnswerMs,
      [&cluster = cluster_, server = channel->to, refs = std::move(action.copies)](auto reply) {
        if (SimCore* core = cluster.FindCore(server)) reply(core->Attach(refs));
      },
      [this, link = action.link](std::optional<Answers> answers) {
        const Status status = answers ? Status::Ok() : Unavailable("the connection broke");
        replication_.OnAttached(link, status, answers.value_or(Answers()), world_.now_ms());
        Perform();
      });
}

void SimReplicator::Do(Replication::Append&& action) {
  ReplicaRequest request{.sections = {}, .sync = action.call->sync};
  for (const Replication::Item& item : action.call->items)
    request.sections.push_back({item.ref(), item.what.delta.words, item.what.delta.checksum});
  const ChannelPtr channel = channels_.at(action.link);
  world_.Call<ReplicaAnswers>(
      channel, StepOf(*action.call), Step::kDeltaConfirmed, kAnswerMs,
      [&cluster = cluster_, server = channel->to, request = std::move(request)](auto reply) {
        if (SimCore* core = cluster.FindCore(server)) core->Append(request, std::move(reply));
      },
      [this, link = action.link, channel, call = action.call](std::optional<ReplicaAnswers> answers) {
        const Status sent = answers ? Status::Ok() : Unavailable("the connection broke");
        if (answers) CheckConfirmed(*channel, *call, *answers);
        const ReplicaAnswers said = std::move(answers).value_or(ReplicaAnswers());
        replication_.OnAppended(link, *call, sent, said.status, said.states, world_.now_ms());
        Perform();
      });
}

// A later life of the server may have lost it again.
void SimReplicator::CheckConfirmed(const Channel& channel, const Replication::Call& call,
                                   const ReplicaAnswers& answers) {
  if (!answers.status.ok() || channel.to_life != world_.life(channel.to)) return;
  for (size_t i = 0; i < call.items.size(); ++i) {
    const auto& [key, epoch, attachment, what] = call.items[i];
    if (!answers.states[i].status.ok() || (what.piece && !what.last)) continue;
    cluster_.truth.OnConfirmed(key.node, key.shard, key.incarnation, what.delta.lsn,
                               call.sync ? Durability::kSynced : Durability::kLogged);
  }
}

void SimReplicator::Do(Replication::MakePiece&& action) {
  world_.After(self_, world_.Between(10, 1800), action.first ? Step::kSeedBegun : Step::kNone,
               [this, seed = action.seed] {
                 replication_.FillPiece(seed);
                 Perform();
               });
}

void SimReplicator::Do(Replication::ReadBase&& action) {
  world_.After(self_, world_.Between(50, 1500), Step::kNone, [this, action] {
    replication_.OnBaseRead(action.seed, core_.ScanBase(action.range));
    Perform();
  });
}

// A moment later, so that something may come in between.
void SimReplicator::Do(Replication::CloseWhole&& action) {
  world_.After(self_, 0, Step::kSeedFinishing, [this, shard = action.shard] {
    if (FindServed(core_, shard) != nullptr) core_.CloseWhole(shard);
  });
}

void SimReplicator::Do(Replication::SyncCopies&& action) { core_.SyncCopies(action.shard); }

}  // namespace penstock::sim
