#include "server/replica/replicator.h"

#include <glog/logging.h>

#include "common/cluster/wire.h"
#include "common/net/payloads.h"
#include "common/net/rpc_status.h"

namespace penstock {
namespace {

constexpr uint64_t kTickMs = 50;
constexpr uint64_t kAnswerMs = 10000;

ReplicaAnswer ReadAnswer(proto::ReplicaState::Reader state) {
  const Code code = static_cast<Code>(state.getCode());
  return {.status = code == Code::kOk ? Status::Ok() : Status(code, state.getMessage().cStr()),
          .seen = state.getEpoch(),
          .standing = {.complete = state.getComplete(),
                       .pieces = state.getPieces(),
                       .point = {state.getLsn(), state.getChecksum()},
                       .logged = state.getLogged(),
                       .synced = state.getSynced(),
                       .no_room = state.getNoRoom()}};
}

void WriteRef(const ReplicaRef& ref, proto::ReplicaRef::Builder out) {
  out.setShard(ref.shard);
  out.setEpoch(ref.epoch);
  out.setIncarnation(ref.incarnation);
}

}  // namespace

Replicator::Replicator(KjLoop& loop, ReplicaHost& host, std::shared_ptr<ClusterIdentity> identity,
                       const ReplicationOptions& options, const Counters& counters)
    : loop_(loop),
      host_(host),
      node_name_(options.node_name),
      counters_(counters),
      connections_(loop, std::move(identity)),
      replication_(host, options),
      tasks_(*this) {
  Tick();
}

Replicator::~Replicator() {
  replication_.Stop();
  Perform();
}

uint64_t Replicator::NowMs() const {
  return (loop_.timer().now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS;
}

void Replicator::Spawn(kj::Promise<void> promise, const char* what) {
  tasks_.add(promise.catch_([this, what](kj::Exception&& e) {
    LOG(ERROR) << node_name_ << ": " << what << ": " << e.getDescription().cStr();
  }));
}

void Replicator::taskFailed(kj::Exception&& e) {
  LOG(ERROR) << node_name_ << ": " << e.getDescription().cStr();
}

void Replicator::Perform() {
  replication_.Perform([this]<typename Action>(Action&& action) { Do(std::forward<Action>(action)); });
}

// --- Events.

void Replicator::NoteWanted(ShardId shard) {
  replication_.NoteWanted(shard, NowMs());
  Perform();
}

void Replicator::Forget(ShardId shard) {
  replication_.Forget(shard, NowMs());
  Perform();
}

void Replicator::Send() {
  replication_.Send();
  Perform();
}

kj::Promise<Status> Replicator::Wait(std::vector<DeltaRef> deltas, Durability level) {
  if (auto said = replication_.Look(&deltas, level)) return *std::move(said);
  auto paf = kj::newPromiseAndFulfiller<Status>();
  replication_.Wait(std::move(deltas), level, NowMs(), [done = kj::mv(paf.fulfiller)](Status status) mutable {
    done->fulfill(std::move(status));
  });
  return kj::mv(paf.promise);
}

void Replicator::Tick() {
  replication_.Tick(NowMs());
  counters_.tail_bytes += replication_.tail_bytes() - tail_bytes_;
  tail_bytes_ = replication_.tail_bytes();
  Perform();
  Spawn(loop_.Sleep(kTickMs).then([this] { Tick(); }), "replication");
}

// --- Actions.

void Replicator::Do(Replication::Say&& action) {
  (action.warning ? LOG(WARNING) : LOG(INFO)) << node_name_ << ": " << action.what;
}

void Replicator::Do(Replication::Connect&& action) {
  links_[action.link].endpoint = action.endpoint;
  Spawn(connections_.Get(action.endpoint)
            .then([this, id = action.link](Result<capnp::Capability::Client>&& service) {
              if (const auto link = links_.find(id); link != links_.end() && service.ok())
                link->second.client = service->castAs<proto::Replica>();
              replication_.OnConnected(id, service.status(), NowMs());
              Perform();
            }),
        "connect to a backup");
}

void Replicator::Do(Replication::Drop&& action) {
  const auto link = links_.find(action.link);
  if (link == links_.end()) return;
  connections_.Drop(link->second.endpoint);
  links_.erase(link);
}

void Replicator::ReadAnswers(capnp::List<proto::ReplicaState>::Reader states) {
  answers_.clear();
  for (const auto state : states) answers_.push_back(ReadAnswer(state));
}

void Replicator::Do(Replication::Attach&& action) {
  Link& link = links_.at(action.link);
  auto request = KJ_ASSERT_NONNULL(link.client).attachRequest();
  auto replicas = request.initReplicas(static_cast<uint32_t>(action.copies.size()));
  for (uint32_t i = 0; i < action.copies.size(); ++i) WriteRef(action.copies[i], replicas[i]);
  using Response = capnp::Response<proto::Replica::AttachResults>;
  Spawn(WithDeadline<Response>(loop_.timer(), kAnswerMs, request.send(), "attach copies at " + link.endpoint)
            .then([this, id = action.link](Result<Response>&& response) {
              const Status status = response.ok() ? ReadStatus((*response).getStatus()) : response.status();
              answers_.clear();
              if (status.ok()) ReadAnswers((*response).getStates());
              replication_.OnAttached(id, status, answers_, NowMs());
              Perform();
            }),
        "attach copies");
}

void Replicator::Do(Replication::Append&& action) {
  Link& link = links_.at(action.link);
  auto request = KJ_ASSERT_NONNULL(link.client).appendRequest();
  const auto& items = action.call->items;
  request.setSync(action.call->sync);
  auto sections = request.initSections(static_cast<uint32_t>(items.size()));
  Payloads payloads(
      capnp::Orphanage::getForMessageContaining(proto::Replica::AppendParams::Builder(request)));
  for (uint32_t i = 0; i < items.size(); ++i) {
    const TailDelta& delta = items[i].what.delta;
    WriteRef(items[i].ref(), sections[i].initReplica());
    sections[i].adoptDelta(payloads.Take(delta.words.ptr().begin(), delta.words.bytes()));
    sections[i].setChecksum(delta.checksum);
  }
  counters_.sent_bytes += action.call->bytes;
  using Response = capnp::Response<proto::Replica::AppendResults>;
  Spawn(
      WithDeadline<Response>(loop_.timer(), kAnswerMs, request.send(), "append to copies at " + link.endpoint)
          .then([this, id = action.link, call = std::move(action.call)](Result<Response>&& response) {
            Status status;
            answers_.clear();
            if (response.ok()) {
              status = ReadStatus((*response).getStatus());
              if (status.ok()) ReadAnswers((*response).getStates());
            } else {
              // The message may be in the connection's queue still, which goes at the end of this turn.
              tasks_.add(loop_.Sleep(1).then([call] {}));
            }
            replication_.OnAppended(id, *call, response.status(), status, answers_, NowMs());
            Perform();
          }),
      "append to copies");
}

void Replicator::Do(Replication::MakePiece&& action) {
  Spawn(kj::evalLast([this, seed = action.seed] {
          replication_.FillPiece(seed);
          Perform();
        }),
        "seed");
}

void Replicator::Do(Replication::ReadBase&& action) {
  const auto& [incarnation, table, first, rows] = action.range;
  Spawn(host_.ScanBase(incarnation, table, first, rows)
            .then([this, seed = action.seed](Result<StoredRows>&& read) {
              replication_.OnBaseRead(seed, std::move(read));
              Perform();
            }),
        "seed");
}

}  // namespace penstock
