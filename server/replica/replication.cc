#include "server/replica/replication.h"

#include <algorithm>

#include "common/base/strings.h"

namespace penstock {
namespace {

// What passes by itself: the copy has heard of a newer epoch first, or has not heard of its task yet.
bool Passes(Code code) { return code == Code::kWrongEpoch || code == Code::kUnavailable; }

}  // namespace

Replication::Replication(const ReplicaShards& shards, const ReplicationOptions& options)
    : shards_(shards), options_(options), waiters_(shards, options.node_name, options.copy_wait_ms) {}

CopySet* Replication::FindSet(ShardId shard) const {
  ShardReplica* replica = FindServed(shards_, shard);
  return replica == nullptr ? nullptr : replica->copies();
}

Replication::Copy* Replication::FindCopy(const CopyKey& key) const {
  CopySet* set = FindSet(key.shard);
  return set == nullptr ? nullptr : set->Find(key.node, key.incarnation);
}

std::vector<CopySet*> Replication::Sets() const {
  std::vector<CopySet*> sets;
  for (const ShardId shard : replicated_) {
    if (CopySet* set = FindSet(shard)) sets.push_back(set);
  }
  return sets;
}

// --- The core says.

void Replication::NoteWanted(ShardId shard, uint64_t now_ms) {
  if (FindSet(shard) == nullptr) return Forget(shard, now_ms);
  replicated_.insert(shard);
  std::erase_if(seeds_, [&](const auto& entry) { return FindCopy(entry.first) == nullptr; });
  CheckWaiters(now_ms);
}

void Replication::Forget(ShardId shard, uint64_t now_ms) {
  if (replicated_.erase(shard) == 0) return;
  std::erase_if(seeds_, [shard](const auto& entry) { return entry.first.shard == shard; });
  CheckWaiters(now_ms);
}

void Replication::NoteAdded(const CopySet& copies) {
  for (const Copy& copy : copies.copies())
    MakeReady({copies.shard(), copy.grant.node, copy.grant.incarnation}, copy);
}

void Replication::Send() {
  if (replicated_.empty()) return;
  FinishSeeds();
  PumpAll();
}

void Replication::CheckWaiters(uint64_t now_ms) {
  waiters_.Check(now_ms, [this](CopyWaiters::Done done, Status status) {
    actions_.push_back(Wake{std::move(done), std::move(status)});
  });
}

void Replication::Stop() {
  seeds_.clear();
  waiters_.EndAll(OutcomeUnknown(options_.node_name + " ends"),
                  [this](CopyWaiters::Done done, Status status) {
                    actions_.push_back(Wake{std::move(done), std::move(status)});
                  });
}

// --- Links.

Replication::Link& Replication::LinkTo(const std::string& endpoint) {
  Link& link = links_[endpoint];
  if (link.id == 0) {
    link.id = ++last_link_;
    link.endpoint = endpoint;
  }
  return link;
}

Replication::Link* Replication::FindLink(LinkId id) {
  const auto found =
      std::find_if(links_.begin(), links_.end(), [id](const auto& entry) { return entry.second.id == id; });
  return found == links_.end() ? nullptr : &found->second;
}

void Replication::MakeReady(const CopyKey& key, const Copy& copy) {
  const bool attached = copy.stage == CopySet::Stage::kSeeding || copy.stage == CopySet::Stage::kFollowing;
  if (attached) LinkTo(copy.grant.endpoint).ready.push_back(key);
}

// Copies that are not attached are tried again and again.
void Replication::Tick(uint64_t now_ms) {
  now_ms_ = now_ms;
  std::erase_if(retry_ms_, [now_ms](const auto& retry) { return retry.second <= now_ms; });
  for (CopySet* set : Sets()) {
    for (const Copy& copy : set->copies()) {
      if (copy.stage != CopySet::Stage::kDetached || copy.grant.endpoint.empty()) continue;
      if (retry_ms_.contains(copy.grant.endpoint)) continue;
      Link& link = LinkTo(copy.grant.endpoint);
      if (link.busy) continue;
      link.busy = true;
      actions_.push_back(Connect{link.id, link.endpoint});
    }
    set->Trim();
    if (set->OwesQuestion(now_ms)) actions_.push_back(SyncCopies{set->shard()});
  }
  BoundTails(now_ms);
  PumpAll();
  AdvanceSeeds();
  CheckWaiters(now_ms);
  // Nothing else might ever be pushed to these.
  for (const ShardId shard : waiters_.Owed()) actions_.push_back(SyncCopies{shard});
}

void Replication::OnConnected(LinkId id, const Status& status, uint64_t now_ms) {
  Link* link = FindLink(id);
  if (link == nullptr) return;
  link->busy = false;
  if (!status.ok()) return Break(*link, status.message(), now_ms);
  link->connected = true;
  AttachAll(*link);
}

void Replication::AttachAll(Link& link) {
  std::vector<ReplicaRef> refs;
  link.attaching.clear();
  for (const CopySet* set : Sets()) {
    for (const Copy& copy : set->copies()) {
      if (copy.stage != CopySet::Stage::kDetached || copy.grant.endpoint != link.endpoint) continue;
      link.attaching.push_back({set->shard(), copy.grant.node, copy.grant.incarnation});
      refs.push_back({set->shard(), copy.grant.incarnation, set->epoch()});
    }
  }
  if (refs.empty()) return;
  link.busy = true;
  actions_.push_back(Attach{link.id, std::move(refs)});
}

void Replication::OnAttached(LinkId id, const Status& status, std::span<const ReplicaAnswer> answers,
                             uint64_t now_ms) {
  Link* link = FindLink(id);
  if (link == nullptr) return;
  link->busy = false;
  if (!status.ok()) return Break(*link, status.message(), now_ms);
  if (answers.size() != link->attaching.size()) {
    return Break(*link,
                 StrCat("asked about ", link->attaching.size(), " copies, it answers about ", answers.size()),
                 now_ms);
  }
  for (size_t i = 0; i < answers.size(); ++i) TakeStanding(link->attaching[i], answers[i], now_ms);
  Pump(*link);
  AdvanceSeeds();
  CheckWaiters(now_ms);
}

void Replication::TakeStanding(const CopyKey& key, const ReplicaAnswer& answer, uint64_t now_ms) {
  CopySet* set = FindSet(key.shard);
  Copy* copy = FindCopy(key);
  if (copy == nullptr || copy->stage != CopySet::Stage::kDetached) return;
  if (Passes(answer.status.code())) return;  // with the next tick again
  if (!answer.status.ok()) return FailCopy(*set, *copy, answer.status.message());
  const bool was_seeded = copy->BeingSeeded();
  const bool seed = set->Attached(*copy, answer.standing, now_ms);
  copy->attachment = ++last_attachment_;
  if (copy->stage == CopySet::Stage::kFailed) {
    actions_.push_back(Say{true, StrCat("shard ", key.shard, ": the copy on ", copy->grant.name,
                                        " must be seeded again: ", copy->failure)});
  }
  MakeReady(key, *copy);
  if (seed) return BeginSeed(key);
  if (copy->BeingSeeded()) return ResumeSeed(key);
  if (was_seeded && copy->stage == CopySet::Stage::kFollowing) NoteSeeded(key, *copy);
}

void Replication::FailCopy(CopySet& set, Copy& copy, const std::string& why) {
  if (copy.stage == CopySet::Stage::kFailed) return;
  set.Fail(copy, why);
  actions_.push_back(
      Say{true, StrCat("shard ", set.shard(), ": the copy on ", copy.grant.name, " has failed: ", why)});
}

void Replication::Break(Link& link, const std::string& why, uint64_t now_ms) {
  const std::string endpoint = link.endpoint;
  if (link.connected) actions_.push_back(Say{true, StrCat("backups at ", endpoint, ": ", why)});
  actions_.push_back(Drop{link.id});
  links_.erase(endpoint);
  retry_ms_[endpoint] = now_ms + options_.retry_ms;
  for (CopySet* set : Sets()) {
    for (Copy& copy : set->copies()) {
      if (copy.grant.endpoint != endpoint || copy.stage == CopySet::Stage::kDetached) continue;
      if (copy.BeingSeeded()) {
        actions_.push_back(Say{true, StrCat("shard ", set->shard(), ": the seed of the copy on ",
                                            copy.grant.name, " waits at piece ", copy.pieces)});
      }
      set->Detached(copy);
    }
  }
}

// --- Sending.

void Replication::PumpAll() {
  for (auto& [endpoint, link] : links_) Pump(link);
}

void Replication::Pump(Link& link) {
  while (link.connected && !link.ready.empty() && link.inflight_bytes < options_.in_flight_bytes) {
    auto call = std::make_shared<Call>();
    while (!link.ready.empty() && call->bytes < options_.call_bytes) {
      const CopyKey key = link.ready.front();
      CopySet* set = FindSet(key.shard);
      Copy* copy = FindCopy(key);
      auto next = copy == nullptr ? std::nullopt : set->Next(*copy);
      if (!next) {
        link.ready.pop_front();
        continue;
      }
      call->bytes += next->delta.words.bytes();
      call->sync |= next->delta.sync;
      call->items.push_back({key, set->epoch(), copy->attachment, std::move(*next)});
    }
    if (call->items.empty()) return;
    link.inflight_bytes += call->bytes;
    actions_.push_back(Append{link.id, std::move(call)});
  }
}

void Replication::OnAppended(LinkId id, const Call& call, const Status& sent, const Status& status,
                             std::span<const ReplicaAnswer> answers, uint64_t now_ms) {
  now_ms_ = now_ms;
  Link* link = FindLink(id);
  if (link == nullptr) return;  // what was sent on it is sent again
  link->inflight_bytes -= call.bytes;
  if (!sent.ok()) return Break(*link, sent.message(), now_ms);
  Status refused = status;
  if (status.ok() && answers.size() != call.items.size())
    refused = Internal(StrCat("of ", call.items.size(), " sections it answers about ", answers.size()));
  for (size_t i = 0; i < call.items.size(); ++i) {
    const Item& item = call.items[i];
    CopySet* set = FindSet(item.key.shard);
    Copy* copy = FindCopy(item.key);
    // Of an earlier attachment: what it says was settled by the next one.
    if (copy == nullptr || copy->attachment != item.attachment) continue;
    if (!refused.ok()) {
      FailCopy(*set, *copy, refused.message());
    } else {
      TakeAnswer(*set, *copy, item, call.sync, answers[i], now_ms);
    }
  }
  CheckWaiters(now_ms);
  Pump(*link);
  AdvanceSeeds();
}

void Replication::TakeAnswer(CopySet& set, Copy& copy, const Item& item, bool sync,
                             const ReplicaAnswer& answer, uint64_t now_ms) {
  if (copy.stage == CopySet::Stage::kFailed) return;
  if (Passes(answer.status.code())) return set.Detached(copy);
  if (!answer.status.ok()) return FailCopy(set, copy, answer.status.message());
  set.NoteRoom(copy, answer.standing.no_room, now_ms);
  if (item.what.piece != 0) set.PieceConfirmed(copy, item.what);
  if (item.what.last) NoteSeeded(item.key, copy);
  set.Confirmed(copy, item.what.delta.lsn, sync, now_ms);
}

// A copy that takes too little holds back who pushes. One that lets too much pile up nevertheless is given
// up: it is seeded again when it can keep up.
void Replication::BoundTails(uint64_t now_ms) {
  const bool crowded = tail_bytes_ > options_.tail_bytes / 2;
  tail_bytes_ = 0;
  CopySet* largest = nullptr;
  for (CopySet* set : Sets()) {
    tail_bytes_ += set->tail().bytes();
    // Where most of the room is taken, those who take much of it may have little.
    const bool much = crowded && set->tail().bytes() > options_.tail_bytes / 16;
    const PushDelay::Change change = set->UpdateDelay(options_.tail_bytes / (much ? 64 : 8), now_ms);
    if (change == PushDelay::Change::kBegins)
      actions_.push_back(
          Say{true, StrCat("shard ", set->shard(), ": a copy takes less than is pushed: answers to ",
                           "pushes of this shard are delayed until it has caught up")});
    if (change == PushDelay::Change::kEnds)
      actions_.push_back(
          Say{false, StrCat("shard ", set->shard(), ": its copies have caught up; answers to pushes ",
                            "were delayed by up to ", set->delay().most_ms(), " ms")});
    if (largest == nullptr || set->tail().bytes() > largest->tail().bytes()) largest = set;
  }
  if (tail_bytes_ <= options_.tail_bytes) return;
  Copy* slowest = largest->Slowest();
  if (slowest == nullptr) return;
  FailCopy(*largest, *slowest,
           StrCat("it fell behind by more than ", options_.tail_bytes >> 20, " MiB of deltas"));
  largest->Trim();
}

}  // namespace penstock
