#include "server/replica/replicator.h"

#include <glog/logging.h>

#include <algorithm>

#include "common/base/strings.h"
#include "common/cluster/wire.h"
#include "common/net/rpc_status.h"

namespace penstock {
namespace {

constexpr uint64_t kTickMs = 50;
constexpr uint64_t kCallBytes = 4 << 20;          // of deltas in a call, about
constexpr uint64_t kInFlightBytes = 64 << 20;     // unanswered on a link
constexpr uint64_t kSeedInFlightBytes = 8 << 20;  // above it no piece of a seed is made
constexpr uint64_t kAnswerMs = 10000;
constexpr uint64_t kRetryMs = 200;  // after a connection that failed

ReplicaStanding ReadStanding(proto::ReplicaState::Reader state) {
  return {.complete = state.getComplete(),
          .pieces = state.getPieces(),
          .point = {state.getLsn(), state.getChecksum()},
          .logged = state.getLogged(),
          .synced = state.getSynced()};
}

Code ReadCode(proto::ReplicaState::Reader state) { return static_cast<Code>(state.getCode()); }

// What passes by itself: the copy has heard of a newer epoch first, or has not heard of its task yet.
bool Passes(Code code) { return code == Code::kWrongEpoch || code == Code::kUnavailable; }

}  // namespace

Replicator::Replicator(KjLoop& loop, ServerCore& core, std::shared_ptr<ClusterIdentity> identity,
                       ServerMetrics& metrics)
    : loop_(loop), core_(core), metrics_(metrics), connections_(loop, std::move(identity)), tasks_(*this) {
  Tick();
}

Replicator::~Replicator() {
  seeds_.clear();
  for (Waiter& waiter : waiters_) waiter.done->fulfill(OutcomeUnknown("the server ends"));
}

uint64_t Replicator::NowMs() const {
  return (loop_.timer().now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS;
}

void Replicator::Spawn(kj::Promise<void> promise, const char* what) {
  tasks_.add(promise.catch_([this, what](kj::Exception&& e) {
    LOG(ERROR) << core_.options().node_name << ": " << what << ": " << e.getDescription().cStr();
  }));
}

void Replicator::taskFailed(kj::Exception&& e) {
  LOG(ERROR) << core_.options().node_name << ": " << e.getDescription().cStr();
}

std::vector<CopySet*> Replicator::Sets() const {
  std::vector<CopySet*> sets;
  for (const ShardId shard : shards_) {
    if (CopySet* set = FindSet(shard)) sets.push_back(set);
  }
  return sets;
}

Replicator::Copy* Replicator::FindCopy(const CopyKey& key) const {
  CopySet* set = FindSet(key.shard);
  return set == nullptr ? nullptr : set->Find(key.node, key.incarnation);
}

// --- What the core says.

void Replicator::NoteWanted(ShardId shard) {
  if (FindSet(shard) == nullptr) {
    Forget(shard);
    return;
  }
  shards_.insert(shard);
  std::erase_if(seeds_, [&](const auto& entry) { return FindCopy(entry.first) == nullptr; });
  CheckWaiters();
}

void Replicator::Forget(ShardId shard) {
  if (shards_.erase(shard) == 0) return;
  std::erase_if(seeds_, [shard](const auto& entry) { return entry.first.shard == shard; });
  CheckWaiters();
}

void Replicator::NoteAdded(const CopySet& copies) {
  for (const Copy& copy : copies.copies())
    MakeReady({copies.shard(), copy.grant.node, copy.grant.incarnation}, copy);
}

void Replicator::Send() {
  if (shards_.empty()) return;
  FinishSeeds();
  for (const auto& [endpoint, link] : links_) Pump(link);
}

// --- Waiting for copies.

// The deltas that are reached leave the list, so that each is looked at seldom.
bool Replicator::Reached(Waiter& waiter, Status* result) const {
  while (!waiter.deltas.empty()) {
    const auto [shard, lsn] = waiter.deltas.back();
    if (core_.ServedShard(shard) == nullptr) {
      *result = OutcomeUnknown(StrCat("shard ", shard, " is not served by ", core_.options().node_name,
                                      " any more; what was pushed may have been applied"));
      return true;
    }
    // The primary itself has it.
    const CopySet* set = FindSet(shard);
    const Lsn reached = set == nullptr                        ? lsn
                        : waiter.level == Durability::kSynced ? set->Synced(lsn)
                                                              : set->Logged(lsn);
    if (reached < lsn) return false;
    waiter.deltas.pop_back();
  }
  return true;
}

kj::Promise<Status> Replicator::Wait(std::vector<ShardLsn> deltas, Durability level) {
  auto paf = kj::newPromiseAndFulfiller<Status>();
  Waiter waiter{std::move(deltas), level, NowMs() + core_.options().copy_wait_ms, kj::mv(paf.fulfiller)};
  Status result;
  if (Reached(waiter, &result)) return result;
  waiters_.push_back(std::move(waiter));
  return kj::mv(paf.promise);
}

void Replicator::CheckWaiters() {
  if (waiters_.empty()) return;
  const uint64_t now = NowMs();
  std::erase_if(waiters_, [&](Waiter& waiter) {
    Status result;
    bool done = Reached(waiter, &result);
    if (!done && now >= waiter.deadline_ms) {
      const auto [shard, lsn] = waiter.deltas.back();
      const CopySet* set = FindSet(shard);
      result = OutcomeUnknown(
          StrCat(core_.options().node_name, ": shard ", shard, ": applied, but not confirmed by ",
                 set == nullptr ? "" : set->Missing(lsn), " within ", core_.options().copy_wait_ms,
                 " ms, and the scheduler has not taken it out of the set"));
      done = true;
    }
    if (done) waiter.done->fulfill(Status(result));
    return done;
  });
}

// Nothing else might ever be pushed to the shard.
void Replicator::SyncWhatIsOwed() {
  std::set<ShardId> owed;
  for (const Waiter& waiter : waiters_) {
    if (waiter.level != Durability::kSynced) continue;
    for (const auto& [shard, lsn] : waiter.deltas) {
      const CopySet* set = FindSet(shard);
      if (set != nullptr && set->OwesSync(lsn)) owed.insert(shard);
    }
  }
  for (const ShardId shard : owed) core_.SyncCopies(shard);
}

// --- Links.

Replicator::LinkPtr Replicator::LinkTo(const std::string& endpoint) {
  LinkPtr& link = links_[endpoint];
  if (link == nullptr) {
    link = std::make_shared<Link>();
    link->endpoint = endpoint;
  }
  return link;
}

void Replicator::MakeReady(const CopyKey& key, const Copy& copy) {
  const bool attached = copy.stage == CopySet::Stage::kSeeding || copy.stage == CopySet::Stage::kFollowing;
  if (!attached) return;
  LinkTo(copy.grant.endpoint)->ready.push_back(key);
}

// Copies that are not attached are tried again and again.
void Replicator::Tick() {
  std::erase_if(retry_ms_, [now = NowMs()](const auto& retry) { return retry.second <= now; });
  for (CopySet* set : Sets()) {
    for (Copy& copy : set->copies()) {
      if (copy.stage != CopySet::Stage::kDetached || copy.grant.endpoint.empty()) continue;
      if (retry_ms_.contains(copy.grant.endpoint)) continue;
      const LinkPtr link = LinkTo(copy.grant.endpoint);
      if (!link->busy) Connect(link);
    }
    set->Trim();
  }
  BoundTails();
  for (const auto& [endpoint, link] : links_) Pump(link);
  AdvanceSeeds();
  CheckWaiters();
  SyncWhatIsOwed();
  Spawn(loop_.Sleep(kTickMs).then([this] { Tick(); }), "replication");
}

void Replicator::Connect(const LinkPtr& link) {
  link->busy = true;
  Spawn(connections_.Get(link->endpoint).then([this, link](Result<capnp::Capability::Client>&& service) {
    link->busy = false;
    if (link->broken) return;
    if (!service.ok()) return Break(link, service.status().message());
    link->client = service->castAs<proto::Replica>();
    AttachAll(link);
  }),
        "connect to a backup");
}

void Replicator::AttachAll(const LinkPtr& link) {
  std::vector<CopyKey> keys;
  for (const CopySet* set : Sets()) {
    for (const Copy& copy : set->copies()) {
      if (copy.stage == CopySet::Stage::kDetached && copy.grant.endpoint == link->endpoint)
        keys.push_back({set->shard(), copy.grant.node, copy.grant.incarnation});
    }
  }
  if (keys.empty()) return;
  link->busy = true;
  auto request = KJ_ASSERT_NONNULL(link->client).attachRequest();
  auto replicas = request.initReplicas(static_cast<uint32_t>(keys.size()));
  for (uint32_t i = 0; i < keys.size(); ++i) {
    replicas[i].setShard(keys[i].shard);
    replicas[i].setEpoch(FindSet(keys[i].shard)->epoch());
    replicas[i].setIncarnation(keys[i].incarnation);
  }
  using Response = capnp::Response<proto::Replica::AttachResults>;
  Spawn(WithDeadline<Response>(loop_.timer(), kAnswerMs, request.send(), "attach copies at " + link->endpoint)
            .then([this, link, keys = std::move(keys)](Result<Response>&& response) {
              link->busy = false;
              if (link->broken) return;
              const Status status = response.ok() ? ReadStatus((*response).getStatus()) : response.status();
              if (!status.ok() || (*response).getStates().size() != keys.size())
                return Break(link, status.message());
              OnAttached(link, keys, (*response).getStates());
            }),
        "attach copies");
}

void Replicator::OnAttached(const LinkPtr& link, const std::vector<CopyKey>& keys,
                            capnp::List<proto::ReplicaState>::Reader states) {
  for (uint32_t i = 0; i < keys.size(); ++i) {
    CopySet* set = FindSet(keys[i].shard);
    Copy* copy = FindCopy(keys[i]);
    if (copy == nullptr || copy->stage != CopySet::Stage::kDetached) continue;
    const Code code = ReadCode(states[i]);
    if (Passes(code)) continue;  // with the next tick again
    if (code != Code::kOk) {
      FailCopy(*set, *copy, states[i].getMessage().cStr());
      continue;
    }
    const bool seed = set->Attached(*copy, ReadStanding(states[i]), NowMs());
    if (copy->stage == CopySet::Stage::kFailed) {
      LOG(WARNING) << core_.options().node_name << ": shard " << keys[i].shard << ": the copy on "
                   << copy->grant.name << " must be seeded again: " << copy->failure;
    }
    MakeReady(keys[i], *copy);
    if (seed) BeginSeed(keys[i]);
  }
  Pump(link);
  AdvanceSeeds();
  CheckWaiters();
}

void Replicator::FailCopy(CopySet& set, Copy& copy, const std::string& why) {
  if (copy.stage == CopySet::Stage::kFailed) return;
  set.Fail(copy, why);
  LOG(WARNING) << core_.options().node_name << ": shard " << set.shard() << ": the copy on "
               << copy.grant.name << " has failed: " << why;
}

void Replicator::Break(const LinkPtr& link, const std::string& why) {
  if (link->broken) return;
  link->broken = true;
  connections_.Drop(link->endpoint);
  links_.erase(link->endpoint);
  retry_ms_[link->endpoint] = NowMs() + kRetryMs;
  for (CopySet* set : Sets()) {
    for (Copy& copy : set->copies()) {
      if (copy.grant.endpoint == link->endpoint && copy.stage != CopySet::Stage::kDetached)
        set->Detached(copy, why);
    }
  }
  LOG_IF(WARNING, link->client != nullptr)
      << core_.options().node_name << ": backups at " << link->endpoint << ": " << why;
}

// --- Sending.

void Replicator::Pump(const LinkPtr& link) {
  while (!link->ready.empty() && link->inflight_bytes < kInFlightBytes && !link->broken &&
         link->client != nullptr) {
    auto call = std::make_shared<Call>();
    while (!link->ready.empty() && call->bytes < kCallBytes) {
      const CopyKey key = link->ready.front();
      CopySet* set = FindSet(key.shard);
      Copy* copy = FindCopy(key);
      auto next = copy == nullptr ? std::nullopt : set->Next(*copy);
      if (!next) {
        link->ready.pop_front();
        continue;
      }
      call->bytes += next->delta.words.bytes();
      call->sync |= next->delta.sync;
      call->items.push_back({key, copy->attachment, std::move(*next)});
    }
    if (call->items.empty()) return;
    SendCall(link, std::move(call));
  }
}

void Replicator::SendCall(const LinkPtr& link, CallPtr call) {
  auto request = KJ_ASSERT_NONNULL(link->client).appendRequest();
  request.setSync(call->sync);
  auto sections = request.initSections(static_cast<uint32_t>(call->items.size()));
  const auto orphanage =
      capnp::Orphanage::getForMessageContaining(proto::Replica::AppendParams::Builder(request));
  for (uint32_t i = 0; i < call->items.size(); ++i) {
    const Item& item = call->items[i];
    auto replica = sections[i].initReplica();
    replica.setShard(item.key.shard);
    replica.setEpoch(FindSet(item.key.shard)->epoch());
    replica.setIncarnation(item.key.incarnation);
    const auto words = item.what.delta.words.ptr();
    sections[i].adoptDelta(orphanage.referenceExternalData(words.asBytes()));
    sections[i].setChecksum(item.what.delta.checksum);
  }
  link->inflight_bytes += call->bytes;
  metrics_.replicated_bytes += call->bytes;
  using Response = capnp::Response<proto::Replica::AppendResults>;
  Spawn(WithDeadline<Response>(loop_.timer(), kAnswerMs, request.send(),
                               "append to copies at " + link->endpoint)
            .then([this, link, call](Result<Response>&& response) {
              link->inflight_bytes -= call->bytes;
              const Status status = response.ok() ? ReadStatus((*response).getStatus()) : response.status();
              if (!response.ok()) {
                Break(link, status.message());
                // The message may be in the connection's queue still, which goes at the end of this turn.
                tasks_.add(loop_.Sleep(1).then([call] {}));
                return;
              }
              if (status.ok() && (*response).getStates().size() == call->items.size())
                return OnAppended(link, *call, (*response).getStates());
              for (const Item& item : call->items) {
                if (Copy* copy = FindCopy(item.key))
                  FailCopy(*FindSet(item.key.shard), *copy, status.message());
              }
            }),
        "append to copies");
}

void Replicator::OnAppended(const LinkPtr& link, const Call& call,
                            capnp::List<proto::ReplicaState>::Reader states) {
  for (uint32_t i = 0; i < call.items.size(); ++i) TakeState(call.items[i], call.sync, states[i]);
  CheckWaiters();
  Pump(link);
  AdvanceSeeds();
}

void Replicator::TakeState(const Item& item, bool sync, proto::ReplicaState::Reader state) {
  CopySet* set = FindSet(item.key.shard);
  Copy* copy = FindCopy(item.key);
  // Of an earlier attachment: what it says was settled by the next one.
  if (copy == nullptr || copy->attachment != item.attachment || copy->stage == CopySet::Stage::kFailed)
    return;
  const Code code = ReadCode(state);
  if (Passes(code)) return set->Detached(*copy, state.getMessage().cStr());
  if (code != Code::kOk) return FailCopy(*set, *copy, state.getMessage().cStr());
  if (item.what.last) {
    set->Seeded(*copy);
    seeds_.erase(item.key);
    LOG(INFO) << core_.options().node_name << ": shard " << item.key.shard << ": the copy on "
              << copy->grant.name << " is seeded, " << copy->pieces << " pieces";
  }
  if (!item.what.piece || item.what.last) set->Confirmed(*copy, item.what.delta.lsn, sync, NowMs());
}

// A copy that lets too much pile up is given up: it is seeded again when it can keep up.
void Replicator::BoundTails() {
  uint64_t bytes = 0;
  CopySet* largest = nullptr;
  for (CopySet* set : Sets()) {
    bytes += set->tail().bytes();
    if (largest == nullptr || set->tail().bytes() > largest->tail().bytes()) largest = set;
  }
  metrics_.replica_tail_bytes += bytes - tail_bytes_;
  tail_bytes_ = bytes;
  if (bytes <= core_.options().copy_tail_bytes) return;
  Copy* slowest = largest->Slowest();
  if (slowest == nullptr) return;
  FailCopy(*largest, *slowest,
           StrCat("it fell behind by more than ", core_.options().copy_tail_bytes >> 20, " MiB of deltas"));
  largest->Trim();
}

// --- Seeds.

void Replicator::BeginSeed(const CopyKey& key) {
  seeds_[key] = std::make_shared<Seeding>();
  seeds_[key]->seed = std::make_unique<Seed>(core_, key.shard);
  // Without rows, before any is looked at (CopySet::Attached).
  AddPiece(key, {.number = 1});
}

void Replicator::AddPiece(const CopyKey& key, const SeedPiece& piece) {
  CopySet* set = FindSet(key.shard);
  Copy* copy = FindCopy(key);
  auto built = core_.ServedShard(key.shard)->BuildPiece(piece);
  if (!built.ok()) return FailCopy(*set, *copy, built.status().message());
  set->AddPiece(*copy, {.lsn = built->lsn, .checksum = built->checksum, .words = kj::mv(built->words)},
                false);
  MakeReady(key, *copy);
}

void Replicator::AdvanceSeeds() {
  std::vector<CopyKey> keys;
  for (const auto& [key, seeding] : seeds_) keys.push_back(key);
  for (const CopyKey& key : keys) AdvanceSeed(key);
}

void Replicator::AdvanceSeed(const CopyKey& key) {
  const auto found = seeds_.find(key);
  if (found == seeds_.end()) return;
  Copy* copy = FindCopy(key);
  if (copy == nullptr || copy->stage != CopySet::Stage::kSeeding) {
    seeds_.erase(found);
    return;
  }
  const std::shared_ptr<Seeding> held = found->second;
  Seeding& seeding = *held;
  const LinkPtr link = LinkTo(copy->grant.endpoint);
  if (seeding.filling || seeding.finishing || seeding.finished || !copy->unsent_pieces.empty() ||
      link->inflight_bytes >= kSeedInFlightBytes)
    return;
  seeding.filling = true;
  seeding.piece = SeedPiece{.number = copy->pieces + 1};
  Spawn(seeding.seed->Fill(&seeding.piece, [this, key, held] { OnPieceFilled(key, *held); })
            .then([this, key, held](Result<bool>&& filled) {
              if (!filled.ok() || !*filled) OnAllFilled(key, *held, filled.status());
            }),
        "seed");
}

// The copy that is being seeded; nullptr: no longer so.
Replicator::Copy* Replicator::FindSeeded(const CopyKey& key, Seeding& seeding) {
  seeding.filling = false;
  const auto found = seeds_.find(key);
  if (found == seeds_.end() || found->second.get() != &seeding) return nullptr;
  Copy* copy = FindCopy(key);
  const bool seeded = copy != nullptr && copy->stage == CopySet::Stage::kSeeding;
  if (seeded && core_.ServedShard(key.shard) != nullptr) return copy;
  seeds_.erase(found);
  return nullptr;
}

void Replicator::OnPieceFilled(const CopyKey& key, Seeding& seeding) {
  Copy* copy = FindSeeded(key, seeding);
  if (copy == nullptr) return;
  const LinkPtr link = LinkTo(copy->grant.endpoint);
  AddPiece(key, seeding.piece);
  // After what waits on the loop: pushes go first.
  Spawn(kj::evalLast([this, key, link] {
          Pump(link);
          AdvanceSeed(key);
        }),
        "seed");
}

void Replicator::OnAllFilled(const CopyKey& key, Seeding& seeding, const Status& status) {
  Copy* copy = FindSeeded(key, seeding);
  if (copy == nullptr) return;
  if (!status.ok()) return FailCopy(*FindSet(key.shard), *copy, status.message());
  seeding.finishing = true;
  core_.CloseWhole(key.shard);
}

// The window that has just closed took everything of the shards that are to be finished.
void Replicator::FinishSeeds() {
  for (auto& [key, held] : seeds_) {
    Seeding& seeding = *held;
    CopySet* set = FindSet(key.shard);
    Copy* copy = FindCopy(key);
    Shard* shard = core_.ServedShard(key.shard);
    if (!seeding.finishing || copy == nullptr || shard == nullptr ||
        copy->stage != CopySet::Stage::kSeeding || shard->HasUnlogged() || !copy->unsent_pieces.empty())
      continue;
    auto built = shard->BuildLastPiece(copy->pieces + 1);
    if (!built.ok()) {
      FailCopy(*set, *copy, built.status().message());
      continue;
    }
    seeding.finishing = false;
    seeding.finished = true;
    set->AddPiece(*copy, {.lsn = built->lsn, .checksum = built->checksum, .words = kj::mv(built->words)},
                  true);
    MakeReady(key, *copy);
  }
}

}  // namespace penstock
