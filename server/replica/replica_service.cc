#include "server/replica/replica_service.h"

#include <cstring>

#include "common/base/strings.h"
#include "common/cluster/wire.h"

namespace penstock {
namespace {

constexpr uint32_t kMaxReplicas = 65536;  // of a call

ReplicaRef ReadRef(proto::ReplicaRef::Reader ref) {
  return {.shard = ref.getShard(), .incarnation = ref.getIncarnation(), .epoch = ref.getEpoch()};
}

void WriteAnswer(const ReplicaAnswer& answer, proto::ReplicaState::Builder state) {
  state.setCode(static_cast<proto::Code>(answer.status.code()));
  if (!answer.status.ok()) state.setMessage(answer.status.message());
  state.setEpoch(answer.seen);
  state.setComplete(answer.standing.complete);
  state.setPieces(answer.standing.pieces);
  state.setLsn(answer.standing.point.lsn);
  state.setChecksum(answer.standing.point.checksum);
  state.setLogged(answer.standing.logged);
  state.setSynced(answer.standing.synced);
  state.setNoRoom(answer.standing.no_room);
}

// All deltas of a call in one array: the message's buffer goes back to its pool, and the log needs them for
// longer.
class CopiedDeltas {
 public:
  explicit CopiedDeltas(capnp::List<proto::ReplicaSection>::Reader sections) {
    size_t words = 0;
    for (const auto section : sections) words += section.getDelta().size() / sizeof(capnp::word);
    auto copied = kj::heapArray<capnp::word>(words);
    capnp::word* to = copied.begin();
    for (const auto section : sections) {
      const auto data = section.getDelta();
      std::memcpy(to, data.begin(), data.size() / sizeof(capnp::word) * sizeof(capnp::word));
      to += data.size() / sizeof(capnp::word);
    }
    words_ = std::make_shared<DeltaWords::Words>(kj::mv(copied));
  }
  DeltaWords Next(capnp::Data::Reader data) {
    const size_t first = next_;
    next_ += data.size() / sizeof(capnp::word);
    return {words_, first, next_ - first};
  }

 private:
  std::shared_ptr<DeltaWords::Words> words_;
  size_t next_ = 0;
};

Status CheckCount(uint32_t count) {
  if (count <= kMaxReplicas) return Status::Ok();
  return InvalidArgument(StrCat("a call about ", count, " copies, allowed are ", kMaxReplicas));
}

}  // namespace

kj::Promise<void> ReplicaService::attach(AttachContext context) {
  const auto replicas = context.getParams().getReplicas();
  auto results = context.getResults();
  const Status status = CheckCount(replicas.size());
  WriteStatus(status, results.initStatus());
  if (!status.ok()) return kj::READY_NOW;
  auto states = results.initStates(replicas.size());
  for (uint32_t i = 0; i < replicas.size(); ++i) WriteAnswer(host_.Standing(ReadRef(replicas[i])), states[i]);
  return kj::READY_NOW;
}

kj::Promise<void> ReplicaService::append(AppendContext context) {
  const auto params = context.getParams();
  const auto sections = params.getSections();
  auto results = context.getResults();
  const Status status = CheckCount(sections.size());
  WriteStatus(status, results.initStatus());
  if (!status.ok()) return kj::READY_NOW;
  auto states = results.initStates(sections.size());
  std::vector<ReplicaRef> refs;
  bool taken = false;
  CopiedDeltas copied(sections);
  for (uint32_t i = 0; i < sections.size(); ++i) {
    const auto data = sections[i].getDelta();
    ReplicaAnswer answer;
    DeltaWords words = copied.Next(data);
    if (data.size() == 0 || data.size() % sizeof(capnp::word) != 0) {
      answer.status = InvalidArgument(StrCat("a delta of ", data.size(), " bytes"));
    } else {
      answer =
          host_.TakeSection(ReadRef(sections[i].getReplica()), std::move(words), sections[i].getChecksum());
    }
    taken |= answer.status.ok();
    refs.push_back(ReadRef(sections[i].getReplica()));
    WriteAnswer(answer, states[i]);
  }
  const Durability level = params.getSync() ? Durability::kSynced : Durability::kLogged;
  context.releaseParams();
  if (!taken) return kj::READY_NOW;
  return host_.Reached(level).then([this, context, refs = std::move(refs)](Status&& reached) mutable {
    auto results = context.getResults();
    if (!reached.ok()) WriteStatus(reached, results.getStatus());
    // A log that failed meanwhile has lost what was taken, though it can be written again by now.
    auto states = results.getStates();
    for (uint32_t i = 0; i < states.size(); ++i) {
      if (states[i].getCode() == proto::Code::OK) WriteAnswer(host_.Standing(refs[i]), states[i]);
    }
  });
}

kj::Promise<void> ReplicaService::digest(DigestContext context) {
  const ShardId id = context.getParams().getShard();
  return host_.Digest(id).then([this, id, context](Result<ContentHash>&& content) mutable {
    auto results = context.getResults();
    WriteStatus(content.status(), results.initStatus());
    if (!content.ok()) return;
    if (const ShardReplica* replica = host_.FindReplica(id)) results.setLsn(replica->shard().last_lsn());
    results.setRows(content->rows);
    results.setHash(content->hash);
  });
}

}  // namespace penstock
