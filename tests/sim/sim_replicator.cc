#include "tests/sim/sim_replicator.h"

#include <algorithm>

#include "tests/sim/sim_cluster.h"

namespace penstock::sim {
namespace {

constexpr uint64_t kTickUs = 50'000;
constexpr uint64_t kAnswerMs = 2000;
constexpr uint64_t kWaitMs = 6000;   // of an applied push, for its copies
constexpr size_t kPieceBytes = 160;  // so that a seed has many
constexpr size_t kItemsInCall = 4;
constexpr size_t kCallsInFlight = 3;

bool Passes(Code code) { return code == Code::kWrongEpoch || code == Code::kUnavailable; }

}  // namespace

SimReplicator::SimReplicator(SimCluster& cluster, SimCore& core, Endpoint self)
    : cluster_(cluster), world_(cluster.world), core_(core), self_(self) {
  world_.After(self_, kTickUs, Step::kNone, [this] { Tick(); });
}

CopySet* SimReplicator::FindSet(ShardId shard) const { return core_.CopiesOf(shard); }

std::vector<CopySet*> SimReplicator::Sets() const {
  std::vector<CopySet*> sets;
  for (const ShardId shard : shards_) {
    if (CopySet* set = FindSet(shard)) sets.push_back(set);
  }
  return sets;
}

SimReplicator::Copy* SimReplicator::FindCopy(const CopyKey& key) const {
  CopySet* set = FindSet(key.shard);
  return set == nullptr ? nullptr : set->Find(key.node, key.incarnation);
}

// --- What the core says.

void SimReplicator::NoteWanted(ShardId shard) {
  if (FindSet(shard) == nullptr) return Forget(shard);
  shards_.insert(shard);
  for (auto it = seeds_.begin(); it != seeds_.end();) {
    const CopyKey key = (it++)->first;
    if (FindCopy(key) == nullptr) EndSeed(key);
  }
  CheckWaiters();
}

void SimReplicator::Forget(ShardId shard) {
  if (shards_.erase(shard) == 0) return;
  for (auto it = seeds_.begin(); it != seeds_.end();) {
    const CopyKey key = (it++)->first;
    if (key.shard == shard) EndSeed(key);
  }
  CheckWaiters();
}

void SimReplicator::NoteAdded(const CopySet& copies) {
  for (const Copy& copy : copies.copies())
    MakeReady({copies.shard(), copy.grant.node, copy.grant.incarnation}, copy);
}

void SimReplicator::Send() {
  if (shards_.empty()) return;
  FinishSeeds();
  for (const auto& [endpoint, link] : std::map(links_)) Pump(link);
}

// --- Waiting for copies.

std::optional<Status> SimReplicator::Reached(const Waiter& waiter) const {
  const SimSlot* slot = core_.GetSlot(waiter.shard);
  if (slot == nullptr || !slot->replica.granted()) return OutcomeUnknown("the shard is not served any more");
  const CopySet* set = FindSet(waiter.shard);
  const Lsn reached = set == nullptr                        ? waiter.lsn
                      : waiter.level == Durability::kSynced ? set->Synced(waiter.lsn)
                                                            : set->Logged(waiter.lsn);
  if (reached >= waiter.lsn) return Status::Ok();
  if (world_.now_ms() >= waiter.deadline_ms)
    return OutcomeUnknown("applied, but not confirmed by all copies");
  return std::nullopt;
}

void SimReplicator::Wait(ShardId shard, Lsn lsn, Durability level, std::function<void(Status)> done) {
  Waiter waiter{shard, lsn, level, world_.now_ms() + kWaitMs, std::move(done)};
  if (const auto reached = Reached(waiter)) return waiter.done(*reached);
  waiters_.push_back(std::move(waiter));
}

void SimReplicator::CheckWaiters() {
  std::vector<Waiter> left;
  std::vector<std::pair<std::function<void(Status)>, Status>> done;
  for (Waiter& waiter : waiters_) {
    if (world_.now_ms() > waiter.deadline_ms + 1000 && !cluster_.StoodStill(self_))
      world_.Fail("no_wait_beyond_its_deadline", StrCat("a push of shard ", waiter.shard));
    if (auto reached = Reached(waiter)) {
      done.emplace_back(std::move(waiter.done), std::move(*reached));
    } else {
      left.push_back(std::move(waiter));
    }
  }
  waiters_ = std::move(left);
  for (const auto& [call, status] : done) call(status);
}

void SimReplicator::SyncWhatIsOwed() {
  std::set<ShardId> owed;
  for (const Waiter& waiter : waiters_) {
    const CopySet* set = FindSet(waiter.shard);
    if (waiter.level == Durability::kSynced && set != nullptr && set->OwesSync(waiter.lsn))
      owed.insert(waiter.shard);
  }
  for (const ShardId shard : owed) core_.SyncCopies(shard);
}

// --- Links.

SimReplicator::LinkPtr SimReplicator::LinkTo(const std::string& endpoint) {
  LinkPtr& link = links_[endpoint];
  if (link == nullptr) link = std::make_shared<Link>(Link{.endpoint = endpoint});
  return link;
}

void SimReplicator::MakeReady(const CopyKey& key, const Copy& copy) {
  if (copy.stage == CopySet::Stage::kSeeding || copy.stage == CopySet::Stage::kFollowing)
    LinkTo(copy.grant.endpoint)->ready.push_back(key);
}

void SimReplicator::Tick() {
  for (CopySet* set : Sets()) {
    for (Copy& copy : set->copies()) {
      if (copy.stage != CopySet::Stage::kDetached || copy.grant.endpoint.empty()) continue;
      const LinkPtr link = LinkTo(copy.grant.endpoint);
      if (!link->busy) AttachAll(link);
    }
    set->Trim();
  }
  for (const auto& [endpoint, link] : std::map(links_)) Pump(link);
  AdvanceSeeds();
  CheckWaiters();
  SyncWhatIsOwed();
  world_.After(self_, kTickUs, Step::kNone, [this] { Tick(); });
}

void SimReplicator::AttachAll(const LinkPtr& link) {
  std::vector<CopyKey> keys;
  std::vector<ReplicaRef> refs;
  for (const CopySet* set : Sets()) {
    for (const Copy& copy : set->copies()) {
      if (copy.stage != CopySet::Stage::kDetached || copy.grant.endpoint != link->endpoint) continue;
      keys.push_back({set->shard(), copy.grant.node, copy.grant.incarnation});
      refs.push_back({set->shard(), copy.grant.incarnation, set->epoch()});
    }
  }
  const auto server = cluster_.FindServer(link->endpoint);
  if (keys.empty() || !server) return;  // it listens there no more
  link->busy = true;
  if (link->channel == nullptr) link->channel = world_.Connect(self_, *server);
  using Answers = std::vector<ReplicaAnswer>;
  world_.Call<Answers>(
      link->channel, Step::kAttachSent, Step::kAttachAnswered, kAnswerMs,
      [&cluster = cluster_, server = *server, refs](auto reply) {
        if (SimCore* core = cluster.FindCore(server)) reply(core->Attach(refs));
      },
      [this, link, keys](std::optional<Answers> states) {
        link->busy = false;
        if (link->broken) return;
        if (!states) return Break(link, "the connection broke");
        OnAttached(link, keys, *states);
      });
}

void SimReplicator::OnAttached(const LinkPtr& link, const std::vector<CopyKey>& keys,
                               const std::vector<ReplicaAnswer>& states) {
  for (size_t i = 0; i < keys.size(); ++i) {
    CopySet* set = FindSet(keys[i].shard);
    Copy* copy = FindCopy(keys[i]);
    if (copy == nullptr || copy->stage != CopySet::Stage::kDetached) continue;
    if (Passes(states[i].status.code())) continue;
    if (!states[i].status.ok()) {
      set->Fail(*copy, states[i].status.message());
      continue;
    }
    const bool seed = set->Attached(*copy, states[i].standing, world_.now_ms());
    world_.Note(self_, "shard ", keys[i].shard, ": attached node ", keys[i].node, " at lsn ",
                states[i].standing.point.lsn, seed ? ", to be seeded" : "", copy->failure);
    MakeReady(keys[i], *copy);
    if (!seed) continue;
    Shard& shard = *core_.GetSlot(keys[i].shard)->shard;
    seeds_[keys[i]] = Seeding{.tables = shard.TableIds()};
    shard.BeginSeed();
    AddPiece(keys[i], {.number = 1});
    world_.After(self_, world_.Between(10, 2000), Step::kSeedBegun, [this] { AdvanceSeeds(); });
  }
  Pump(link);
  CheckWaiters();
}

void SimReplicator::Break(const LinkPtr& link, const std::string& why) {
  if (link->broken) return;
  link->broken = true;
  world_.Break(link->channel);
  links_.erase(link->endpoint);
  for (CopySet* set : Sets()) {
    for (Copy& copy : set->copies()) {
      if (copy.grant.endpoint == link->endpoint && copy.stage != CopySet::Stage::kDetached)
        set->Detached(copy, why);
    }
  }
}

// --- Sending.

void SimReplicator::Pump(const LinkPtr& link) {
  while (!link->ready.empty() && link->inflight < kCallsInFlight && !link->broken &&
         link->channel != nullptr) {
    std::vector<Item> items;
    while (!link->ready.empty() && items.size() < kItemsInCall) {
      const CopyKey key = link->ready.front();
      CopySet* set = FindSet(key.shard);
      Copy* copy = FindCopy(key);
      auto next = copy == nullptr ? std::nullopt : set->Next(*copy);
      if (!next) {
        link->ready.pop_front();
        continue;
      }
      items.push_back({key, copy->attachment, std::move(*next)});
    }
    if (!items.empty()) SendItems(link, std::move(items));
  }
}

void SimReplicator::SendItems(const LinkPtr& link, std::vector<Item> items) {
  ReplicaRequest request;
  Step step = Step::kDeltaSent;
  for (const Item& item : items) {
    request.sync |= item.what.delta.sync;
    request.sections.push_back({{item.key.shard, item.key.incarnation, FindSet(item.key.shard)->epoch()},
                                item.what.delta.words,
                                item.what.delta.checksum});
    if (item.what.piece) step = item.what.last ? Step::kLastPieceSent : Step::kPieceSent;
  }
  ++link->inflight;
  const Endpoint server = link->channel->to;
  world_.Call<ReplicaAnswers>(
      link->channel, step, Step::kDeltaConfirmed, kAnswerMs,
      [&cluster = cluster_, server, request](auto reply) {
        if (SimCore* core = cluster.FindCore(server)) core->Append(request, std::move(reply));
      },
      [this, link, items = std::move(items), sync = request.sync](std::optional<ReplicaAnswers> answers) {
        --link->inflight;
        if (!answers) return Break(link, "the connection broke");
        for (size_t i = 0; i < items.size(); ++i) {
          Copy* copy = FindCopy(items[i].key);
          if (answers->status.ok()) {
            TakeState(link, items[i], sync, answers->states[i]);
          } else if (copy != nullptr) {
            FindSet(items[i].key.shard)->Fail(*copy, answers->status.message());
          }
        }
        CheckWaiters();
        Pump(link);
        AdvanceSeeds();
      });
}

void SimReplicator::TakeState(const LinkPtr& link, const Item& item, bool sync, const ReplicaAnswer& state) {
  CopySet* set = FindSet(item.key.shard);
  Copy* copy = FindCopy(item.key);
  if (copy == nullptr || copy->attachment != item.attachment || copy->stage == CopySet::Stage::kFailed)
    return;
  if (Passes(state.status.code())) return set->Detached(*copy, state.status.message());
  if (!state.status.ok()) {
    world_.Note(self_, "shard ", item.key.shard, ": the copy on node ", item.key.node,
                " fails: ", state.status.message());
    return set->Fail(*copy, state.status.message());
  }
  if (item.what.last) {
    set->Seeded(*copy);
    EndSeed(item.key);
    world_.Note(self_, "shard ", item.key.shard, ": node ", item.key.node, " is seeded");
  }
  if (item.what.piece && !item.what.last) return;
  const Lsn lsn = item.what.delta.lsn;
  set->Confirmed(*copy, lsn, sync, world_.now_ms());
  // A later life of the server may have lost it again.
  if (link->channel->to_life == world_.life(link->channel->to)) {
    cluster_.truth.OnConfirmed(item.key.node, item.key.shard, item.key.incarnation, lsn,
                               sync ? Durability::kSynced : Durability::kLogged);
  }
}

// --- Seeds.

void SimReplicator::EndSeed(const CopyKey& key) {
  if (seeds_.erase(key) == 0) return;
  if (const SimSlot* slot = core_.GetSlot(key.shard)) slot->shard->EndSeed();
}

void SimReplicator::AdvanceSeeds() {
  std::vector<CopyKey> keys;
  for (const auto& [key, seeding] : seeds_) keys.push_back(key);
  for (const CopyKey& key : keys) {
    Seeding& seeding = seeds_.at(key);
    const Copy* copy = FindCopy(key);
    if (copy == nullptr || copy->stage != CopySet::Stage::kSeeding) {
      EndSeed(key);
      continue;
    }
    if (seeding.filling || seeding.finishing || seeding.finished || !copy->unsent_pieces.empty()) continue;
    seeding.filling = true;
    world_.After(self_, world_.Between(10, 1500), Step::kNone, [this, key] { FillPiece(key); });
  }
}

void SimReplicator::FillPiece(const CopyKey& key) {
  const auto found = seeds_.find(key);
  Copy* copy = FindCopy(key);
  if (found == seeds_.end() || copy == nullptr || copy->stage != CopySet::Stage::kSeeding)
    return AdvanceSeeds();
  Seeding& seeding = found->second;
  seeding.filling = false;
  Shard& shard = *core_.GetSlot(key.shard)->shard;
  SeedPiece piece{.number = copy->pieces + 1};
  while (!seeding.tables.empty() && piece.bytes == 0) {
    const auto done = shard.CollectRows(seeding.tables.back(), &seeding.cursor, kPieceBytes, &piece);
    if (done.ok() && !*done) continue;
    seeding.tables.pop_back();
    seeding.cursor = {};
  }
  if (piece.bytes == 0) {
    seeding.finishing = true;
    world_.After(self_, 0, Step::kSeedFinishing, [this, shard = key.shard] {
      if (core_.GetSlot(shard) != nullptr && core_.GetSlot(shard)->replica.granted()) core_.CloseWhole(shard);
    });
    return;
  }
  AddPiece(key, piece);
  Pump(LinkTo(copy->grant.endpoint));
  AdvanceSeeds();
}

void SimReplicator::AddPiece(const CopyKey& key, const SeedPiece& piece) {
  Copy& copy = *FindCopy(key);
  auto built = core_.GetSlot(key.shard)->shard->BuildPiece(piece);
  if (!built.ok()) return FindSet(key.shard)->Fail(copy, built.status().message());
  FindSet(key.shard)->AddPiece(
      copy, {.lsn = built->lsn, .checksum = built->checksum, .words = kj::mv(built->words)}, false);
  MakeReady(key, copy);
}

void SimReplicator::FinishSeeds() {
  for (auto& [key, seeding] : seeds_) {
    Copy* copy = FindCopy(key);
    const SimSlot* slot = core_.GetSlot(key.shard);
    if (!seeding.finishing || copy == nullptr || copy->stage != CopySet::Stage::kSeeding ||
        slot->shard->HasUnlogged() || !copy->unsent_pieces.empty())
      continue;
    auto built = slot->shard->BuildLastPiece(copy->pieces + 1);
    if (!built.ok()) continue;
    seeding.finishing = false;
    seeding.finished = true;
    FindSet(key.shard)->AddPiece(
        *copy, {.lsn = built->lsn, .checksum = built->checksum, .words = kj::mv(built->words)}, true);
    MakeReady(key, *copy);
  }
}

}  // namespace penstock::sim
