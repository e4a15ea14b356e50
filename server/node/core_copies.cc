// Which shards a core serves and follows, and what it does as a backup.
#include <capnp/serialize.h>
#include <glog/logging.h>

#include <algorithm>

#include "common/base/crc32c.h"
#include "common/base/strings.h"
#include "server/node/core.h"
#include "server/node/replicator.h"

namespace penstock {
namespace {

capnp::ReaderOptions DeltaReaderOptions() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = UINT64_MAX;  // its checksum was right
  return options;
}

}  // namespace

// --- The wanted state.

void ServerCore::ApplyWanted(const std::vector<Grant>& grants, const std::vector<Follow>& follows) {
  absl::flat_hash_map<ShardId, bool> wanted;  // to serve it
  for (const Follow& follow : follows) wanted[follow.shard] = false;
  for (const Grant& grant : grants) wanted[grant.shard] = true;
  for (auto& [id, slot] : slots_) {
    const auto want = wanted.find(id);
    if (slot->granted && (want == wanted.end() || !want->second)) {
      LOG(INFO) << options_.node_name << ": shard " << id << " is no longer granted (epoch "
                << slot->shard->epoch() << ")";
      slot->granted = slot->copied = false;
      if (replicator_ != nullptr) replicator_->Forget(id);
    }
    // What it holds stays, so that it can still be said; the scheduler decides what becomes of it.
    if (slot->following && want == wanted.end()) slot->following = false;
  }
  for (const Follow& follow : follows) TakeFollow(follow);
  for (const Grant& grant : grants) TakeGrant(grant);
}

// A shard that was never here, or instead of an earlier life of it: begins empty.
ServerCore::Slot& ServerCore::MakeSlot(ShardId shard, Incarnation incarnation) {
  auto fresh = std::make_unique<Slot>();
  fresh->shard = std::make_unique<Shard>(
      ShardOptions{.cluster = options_.cluster, .shard = shard, .incarnation = incarnation});
  for (const auto& [table, spec] : tables_) {
    const Status created = fresh->shard->CreateTable(spec);
    if (!created.ok())
      LOG(ERROR) << options_.node_name << ": shard " << shard << ": " << created.ToString();
  }
  std::erase(dirty_, shard);
  std::erase_if(taken_, [shard](const auto& taken) { return taken.first.shard == shard; });
  std::unique_ptr<Slot>& slot = slots_[shard];
  slot = std::move(fresh);
  return *slot;
}

void ServerCore::TakeGrant(const Grant& grant) {
  Slot* slot = GetSlot(grant.shard);
  if (slot == nullptr || slot->shard->incarnation() != grant.incarnation)
    slot = &MakeSlot(grant.shard, grant.incarnation);
  if (!slot->granted || slot->shard->epoch() != grant.epoch) {
    if (grant.epoch <= slot->shard->epoch() || grant.epoch < slot->seen) {
      LOG(WARNING) << options_.node_name << ": shard " << grant.shard << ": refused the grant of epoch "
                   << grant.epoch << ", it is in epoch " << std::max(slot->shard->epoch(), slot->seen);
      return;
    }
    if (slot->shard->pieces() > 0) {
      LOG(ERROR) << options_.node_name << ": shard " << grant.shard << ": refused the grant of epoch "
                 << grant.epoch << ": its seed has not ended";
      return;
    }
    BeginGrant(grant, *slot);
  }
  if (slot->granted && replicator_ != nullptr) {
    replicator_->Want(*slot->shard, grant.min_copies, grant.backups, std::exchange(slot->tail, std::nullopt));
    slot->copied = replicator_->Tracks(grant.shard);
  }
}

void ServerCore::BeginGrant(const Grant& grant, Slot& slot) {
  const bool promoted = slot.following;
  if (Status begun = slot.shard->BeginEpoch(grant.epoch, grant.min_lsn); !begun.ok()) {
    LOG(ERROR) << options_.node_name << ": shard " << grant.shard << ": " << begun.ToString();
    return;
  }
  slot.shard->SetForgetFloor(forget_floor_);
  slot.granted = true;
  slot.following = false;
  slot.seen = grant.epoch;
  if (promoted) {
    LOG(INFO) << options_.node_name << ": shard " << grant.shard << " is promoted at lsn "
              << slot.shard->last_lsn() << " in epoch " << grant.epoch;
    // Tables were dropped that the old primary had not logged yet.
    for (const TableId table : slot.shard->TableIds()) {
      if (!tables_.contains(table) && slot.shard->DropTable(table).ok()) Touch(grant.shard, slot);
    }
  }
  if (!slot.damage.empty()) {
    LOG(WARNING) << options_.node_name << ": shard " << grant.shard << ": loss accepted: " << slot.damage;
    slot.damage.clear();
    // A delta of the new epoch, empty or not: it tells the next replay where the shard goes on behind the
    // damage.
    Touch(grant.shard, slot);
  }
  for (const auto& [first, last] : finished_) slot.shard->FinishProducers(first, last);
}

void ServerCore::TakeFollow(const Follow& follow) {
  Slot* slot = GetSlot(follow.shard);
  if (slot == nullptr || slot->shard->incarnation() != follow.incarnation) {
    if (slot != nullptr && slot->shard->incarnation() > follow.incarnation) return;  // an older word
    if (slot != nullptr) {
      LOG(INFO) << options_.node_name << ": shard " << follow.shard << ": what was held up to lsn "
                << slot->shard->last_lsn() << " is discarded for a new seed";
    }
    slot = &MakeSlot(follow.shard, follow.incarnation);
  }
  if (slot->granted) return;
  slot->following = true;
  slot->seen = std::max(slot->seen, follow.epoch);
}

// --- A primary calls.

ReplicaAnswer ServerCore::CheckReplica(const ReplicaRef& ref, Slot** slot) {
  Slot* found = *slot = GetSlot(ref.shard);
  const std::string name = StrCat(options_.node_name, ": shard ", ref.shard);
  if (found == nullptr || found->shard->incarnation() < ref.incarnation)
    return {.status = Unavailable(name + " is not followed here yet")};
  const Epoch seen = std::max(found->seen, found->granted ? found->shard->epoch() : 0);
  if (ref.epoch < seen || found->granted) {
    return {.status = WrongEpoch(StrCat(name, " has seen epoch ", seen, ", the primary is in ", ref.epoch)),
            .seen = seen};
  }
  if (found->shard->incarnation() != ref.incarnation)
    return {.status = FailedPrecondition(name + " has begun another life here")};
  if (!found->following) return {.status = Unavailable(name + " is not followed here yet")};
  if (!found->damage.empty()) return {.status = DataLoss(StrCat(name, ": ", found->damage))};
  found->seen = ref.epoch;
  return {};
}

ReplicaStanding ServerCore::StandingOf(const Slot& slot) {
  const Shard& shard = *slot.shard;
  return {.complete = shard.epoch() != 0 && shard.pieces() == 0,
          .pieces = shard.pieces(),
          .point = {shard.last_lsn(), shard.last_checksum()},
          .logged = slot.logged,
          .synced = slot.synced};
}

ReplicaAnswer ServerCore::Standing(const ReplicaRef& ref) {
  Slot* slot = nullptr;
  ReplicaAnswer answer = CheckReplica(ref, &slot);
  if (answer.status.ok()) answer.standing = StandingOf(*slot);
  return answer;
}

ReplicaAnswer ServerCore::TakeSection(const ReplicaRef& ref, DeltaWords words, uint32_t checksum) {
  Slot* slot = nullptr;
  ReplicaAnswer answer = CheckReplica(ref, &slot);
  if (!answer.status.ok()) return answer;
  if (!failure_.ok()) return {.status = failure_};
  if (Crc32c(0, words.begin(), words.bytes()) != checksum)
    return {.status = DataLoss(StrCat(options_.node_name, ": a delta of shard ", ref.shard, " came damaged"))};
  Shard& shard = *slot->shard;
  try {
    capnp::FlatArrayMessageReader message(words.ptr(), DeltaReaderOptions());
    const auto delta = message.getRoot<proto::Delta>();
    // Sent again after a connection had failed.
    const bool held = delta.getPiece() == 0 && delta.getLsn() <= shard.last_lsn();
    if (!held) {
      MakeRoom(shard, delta);
      answer.status = shard.ApplyDelta(delta, checksum).Prepend(options_.node_name);
      if (!answer.status.ok()) return answer;
      taken_.push_back({{.shard = ref.shard, .incarnation = ref.incarnation, .lsn = delta.getLsn()},
                        {ref.shard, ref.incarnation, std::move(words), checksum}});
      metrics_.replica_deltas++;
      KeepInTail(*slot, delta.getPiece() != 0);
      ScheduleClose();
    }
  } catch (const kj::Exception& e) {
    return {.status = DataLoss(StrCat(options_.node_name, ": a delta of shard ", ref.shard, ": ",
                                      e.getDescription().cStr()))};
  }
  answer.standing = StandingOf(*slot);
  return answer;
}

// Of what was taken last. A seed makes deltas from before it useless.
void ServerCore::KeepInTail(Slot& slot, bool piece) {
  const Shard& shard = *slot.shard;
  const ReplicaPoint point{shard.last_lsn(), shard.last_checksum()};
  if (piece || !slot.tail) {
    slot.tail.emplace(point);
    return;
  }
  slot.tail->Add({.lsn = point.lsn, .checksum = point.checksum, .words = taken_.back().second.delta});
  slot.tail->Trim(point.lsn, kKeptTailBytes);
}

const Shard* ServerCore::AnyShard(ShardId shard) const {
  const Slot* slot = GetSlot(shard);
  return slot != nullptr && (slot->granted || slot->following) ? slot->shard.get() : nullptr;
}

}  // namespace penstock
