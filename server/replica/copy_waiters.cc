#include "server/replica/copy_waiters.h"

#include <algorithm>

#include "common/base/strings.h"

namespace penstock {

const ShardReplica* CopyWaiters::FindServed(const DeltaRef& delta) const {
  const ShardReplica* replica = penstock::FindServed(shards_, delta.shard);
  const bool same = replica != nullptr && replica->incarnation() == delta.incarnation &&
                    replica->shard().epoch() == delta.epoch;
  return same ? replica : nullptr;
}

Status CopyWaiters::Overtaken(const DeltaRef& delta) const {
  const std::string what = StrCat(node_, ": shard ", delta.shard, ": what was applied in epoch ", delta.epoch,
                                  " may not be on all copies: ");
  const ShardReplica* replica = penstock::FindServed(shards_, delta.shard);
  if (replica == nullptr) return WrongEpoch(what + "the shard is not served here any more");
  if (replica->incarnation() != delta.incarnation)
    return WrongEpoch(what + "the shard has begun another life here");
  return WrongEpoch(StrCat(what, "the shard is in epoch ", replica->shard().epoch()));
}

Status CopyWaiters::Late(const DeltaRef& delta) const {
  const CopySet* copies = FindServed(delta)->copies();
  return OutcomeUnknown(StrCat(node_, ": shard ", delta.shard, ": applied, but not confirmed by ",
                               copies->Missing(delta.lsn), " within ", wait_ms_,
                               " ms, and the scheduler has not taken it out of the set"));
}

std::optional<Status> CopyWaiters::Look(std::vector<DeltaRef>* deltas, Durability level) const {
  while (!deltas->empty()) {
    const DeltaRef& delta = deltas->back();
    const ShardReplica* replica = FindServed(delta);
    if (replica == nullptr) return Overtaken(delta);
    if (const CopySet* copies = replica->copies()) {
      const Lsn reached =
          level == Durability::kSynced ? copies->Synced(delta.lsn) : copies->Logged(delta.lsn);
      if (reached < delta.lsn) return std::nullopt;
    }
    deltas->pop_back();
  }
  return Status::Ok();
}

void CopyWaiters::Add(std::vector<DeltaRef> deltas, Durability level, uint64_t now_ms, Done done) {
  waiters_.push_back({std::move(deltas), level, now_ms + wait_ms_, std::move(done)});
}

void CopyWaiters::Check(uint64_t now_ms, const Wake& wake) {
  std::erase_if(waiters_, [&](Waiter& waiter) {
    std::optional<Status> status = Look(&waiter.deltas, waiter.level);
    if (!status && now_ms >= waiter.deadline_ms) status = Late(waiter.deltas.back());
    if (!status) return false;
    wake(std::move(waiter.done), *std::move(status));
    return true;
  });
}

void CopyWaiters::EndAll(const Status& status, const Wake& wake) {
  for (Waiter& waiter : waiters_) wake(std::move(waiter.done), status);
  waiters_.clear();
}

std::set<ShardId> CopyWaiters::Owed() const {
  std::set<ShardId> owed;
  for (const Waiter& waiter : waiters_) {
    if (waiter.level != Durability::kSynced) continue;
    for (const DeltaRef& delta : waiter.deltas) {
      const ShardReplica* replica = FindServed(delta);
      if (replica != nullptr && replica->copies() != nullptr && replica->copies()->OwesSync(delta.lsn))
        owed.insert(delta.shard);
    }
  }
  return owed;
}

}  // namespace penstock
