// Which shards a core serves and follows, and what it does as a backup.
#include <glog/logging.h>

#include <algorithm>

#include "common/base/mutant.h"
#include "common/base/strings.h"
#include "server/node/core.h"
#include "server/replica/replicator.h"

namespace penstock {

// --- The wanted state.

void ServerCore::ApplyWanted(const WantedShards& wanted) {
  absl::flat_hash_map<ShardId, bool> held;  // to serve it
  for (const Follow& follow : wanted.follows) held[follow.shard] = false;
  for (const Grant& grant : wanted.grants) held[grant.shard] = true;
  for (auto& [id, slot] : slots_) {
    const auto want = held.find(id);
    if (slot->replica.granted() && (want == held.end() || !want->second)) {
      LOG(INFO) << options_.node_name << ": shard " << id << " is no longer granted (epoch "
                << slot->shard->epoch() << ")";
      replicator_->Forget(id);
      slot->replica.Release();
    }
    // What it holds stays, so that it can still be said; the scheduler decides what becomes of it.
    if (slot->replica.following() && want == held.end()) slot->replica.Unfollow();
  }
  for (const Follow& follow : wanted.follows) TakeFollow(follow);
  // After the follows: what producers have done is in no delta yet, and a shard that is led elsewhere from
  // now on must have nothing of that kind. Before the grants: what a shard has lost that is granted is no
  // longer complete.
  SetProducers(wanted);
  for (const Grant& grant : wanted.grants) TakeGrant(grant);
  for (const Follow& life : wanted.discards) Discard(life);
}

// Its rows on disk go with the next fold, which begins behind what is in the log of it.
void ServerCore::Discard(const Follow& life) {
  if (ShardSlot* slot = slots_.Held(life.shard, life.incarnation)) {
    if (slot->replica.granted() || slot->replica.following()) return;
    LOG(INFO) << options_.node_name << ": shard " << life.shard << ": what was held up to lsn "
              << slot->shard->last_lsn() << " is needed elsewhere alone, and discarded";
    replicator_->Forget(life.shard);
    window_.Drop(*slot);
    slots_.Erase(life.shard);
  }
  asks_.discarded(life);
}

// A shard that was never here, or instead of an earlier life of it: begins empty.
ShardSlot& ServerCore::MakeSlot(ShardId id, Incarnation incarnation) {
  auto shard = std::make_unique<Shard>(
      ShardOptions{.cluster = options_.cluster, .shard = id, .incarnation = incarnation});
  for (const auto& [table, spec] : tables_) {
    const Status created = shard->CreateTable(spec);
    if (!created.ok()) LOG(ERROR) << options_.node_name << ": shard " << id << ": " << created.ToString();
  }
  replicator_->Forget(id);
  if (ShardSlot* earlier = slots_.Held(id)) window_.Drop(*earlier);
  ShardSlot& slot = slots_.Put(std::make_unique<ShardSlot>(std::move(shard), options_.node_name));
  window_.Hold(slot);
  return slot;
}

void ServerCore::TakeGrant(const Grant& grant) {
  ShardSlot* slot = slots_.Held(grant.shard);
  if (slot == nullptr || slot->shard->incarnation() != grant.incarnation)
    slot = &MakeSlot(grant.shard, grant.incarnation);
  const ShardReplica::Begun begun = slot->replica.TakeGrant(grant, NowMs());
  if (!begun.refused.empty()) {
    LOG(WARNING) << options_.node_name << ": shard " << grant.shard << ": refused the grant of epoch "
                 << grant.epoch << ": " << begun.refused;
    return;
  }
  if (begun.epoch) OnBegun(grant, *slot, begun);
  replicator_->NoteWanted(grant.shard);
  if (begun.fenced) WriteLastDelta(*slot);
}

// All that was taken before the fence, synced here and on the copies.
void ServerCore::WriteLastDelta(ShardSlot& slot) {
  if (Defended(Defence::kLastDelta)) {
    window_.TouchWhole(slot);
  } else {
    window_.Touch(slot);
  }
  Spawn(Reached(Durability::kSynced, {slot.replica.DeltaAt(slot.shard->NextLsn())}).ignoreResult(),
        "last delta before a hand-over");
}

void ServerCore::OnBegun(const Grant& grant, ShardSlot& slot, const ShardReplica::Begun& begun) {
  slot.shard->SetForgetFloor(forget_floor_);
  if (begun.promoted) {
    LOG(INFO) << options_.node_name << ": shard " << grant.shard << " is promoted at lsn "
              << slot.shard->last_lsn() << " in epoch " << grant.epoch;
    // Tables were dropped that the old primary had not logged yet.
    for (const TableId table : slot.shard->TableIds()) {
      if (!tables_.contains(table) && slot.shard->DropTable(table).ok()) Touch(slot);
    }
  }
  if (!begun.accepted.empty()) {
    LOG(WARNING) << options_.node_name << ": shard " << grant.shard << ": loss accepted: " << begun.accepted;
    // A delta of the new epoch, empty or not: it tells the next replay where the shard goes on behind the
    // damage.
    Touch(slot);
  }
  for (const auto& [first, last] : finished_) slot.shard->FinishProducers(first, last);
  for (const auto& [first, last] : complete_) slot.shard->CompleteProducers(first, last);
}

void ServerCore::TakeFollow(const Follow& follow) {
  ShardSlot* slot = slots_.Held(follow.shard);
  if (slot == nullptr || slot->shard->incarnation() != follow.incarnation) {
    if (slot != nullptr && slot->shard->incarnation() > follow.incarnation) return;  // an older word
    if (slot != nullptr) {
      LOG(INFO) << options_.node_name << ": shard " << follow.shard << ": what was held up to lsn "
                << slot->shard->last_lsn() << " is discarded for a new seed";
    }
    slot = &MakeSlot(follow.shard, follow.incarnation);
  }
  slot->replica.TakeFollow(follow.epoch);
}

// --- A primary calls.

Status ServerCore::NotFollowed(ShardId shard) const {
  return Unavailable(StrCat(options_.node_name, ": shard ", shard, " is not followed here yet"));
}

// What copies take is not refused for lack of room, as they would only have to be seeded again. Their
// primaries hear of it.
bool ServerCore::HasRoomForCopies() {
  return !memory_.Full() && metrics_.log_bytes <= options_.log_limit_bytes;
}

ReplicaAnswer ServerCore::Standing(const ReplicaRef& ref) {
  ShardSlot* slot = slots_.Held(ref.shard);
  if (slot == nullptr) return {.status = NotFollowed(ref.shard)};
  ReplicaAnswer answer = slot->replica.Standing(ref);
  answer.standing.no_room = !HasRoomForCopies();
  return answer;
}

ReplicaAnswer ServerCore::TakeSection(const ReplicaRef& ref, DeltaWords words, uint32_t checksum) {
  ShardSlot* slot = slots_.Held(ref.shard);
  if (slot == nullptr) return {.status = NotFollowed(ref.shard)};
  if (!window_.failure().ok()) return {.status = window_.failure()};
  ReplicaAnswer answer = slot->replica.Take(
      ref, words, checksum,
      [this](Shard& shard, proto::Delta::Reader delta) { memory_.MakeRoom(shard, delta); });
  if (answer.taken && answer.status.ok()) {
    window_.Take(*slot, {ref.shard, ref.incarnation, std::move(words), checksum});
    metrics_.replica_deltas++;
    ScheduleClose();
  }
  answer.standing.no_room = !HasRoomForCopies();
  return answer;
}

ShardReplica* ServerCore::FindReplica(ShardId shard) const {
  ShardSlot* slot = slots_.Held(shard);
  return slot == nullptr ? nullptr : &slot->replica;
}

}  // namespace penstock
