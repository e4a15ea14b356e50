#include "server/node/core.h"

#include <glog/logging.h>

#include <algorithm>

#include "server/replica/replicator.h"

namespace penstock {
namespace {

constexpr uint64_t kRecoverEveryMs = 1000;
constexpr uint64_t kRetryDeltaMs = 100;  // after a delta that there was no memory for

// Rounds are logged at least: a minibatch that is answered is not asked for again.
Durability LevelOf(const TableSpec& spec) {
  return spec.accumulate ? std::max(spec.durability, Durability::kLogged) : spec.durability;
}

}  // namespace

ServerCore::ServerCore(KjLoop& loop, const CoreOptions& options, LogAppender& appender, const BaseStore& base,
                       Asks asks, ServerMetrics& metrics)
    : loop_(loop),
      options_(options),
      appender_(appender),
      base_(base),
      asks_(std::move(asks)),
      metrics_(metrics),
      disk_(loop),
      tasks_(*this) {
  generation_ = appender_.generation();
  MemoryTick();
}

void ServerCore::Spawn(kj::Promise<void> promise, const char* what) {
  tasks_.add(promise.catch_([this, what](kj::Exception&& e) {
    LOG(ERROR) << options_.node_name << ": core " << options_.core << ": " << what << ": "
               << e.getDescription().cStr();
  }));
}

void ServerCore::taskFailed(kj::Exception&& e) {
  LOG(ERROR) << options_.node_name << ": " << e.getDescription().cStr();
}

uint64_t ServerCore::NowMs() {
  return (loop_.timer().now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS;
}

ServerCore::Slot* ServerCore::GetSlot(ShardId shard) const {
  auto it = slots_.find(shard);
  return it == slots_.end() ? nullptr : it->second.get();
}

ServerCore::Slot* ServerCore::GetSlot(const LoggedShard& logged) const {
  Slot* slot = GetSlot(logged.shard);
  return slot != nullptr && slot->shard->incarnation() == logged.incarnation ? slot : nullptr;
}

void ServerCore::AdoptShard(std::unique_ptr<Shard> shard, const FoldedPoint& folded, std::string damage) {
  const ShardId id = shard->id();
  const Lsn kept = shard->last_lsn();  // replay synced it
  auto slot = std::make_unique<Slot>(std::move(shard), options_.node_name);
  slot->replica.LoggedHere(kept);
  slot->replica.SyncedHere(kept);
  slot->folded = folded;
  slot->replica.SetDamage(std::move(damage));
  slots_[id] = std::move(slot);
}

void ServerCore::SetTables(const std::vector<TableSpec>& specs, const std::vector<TableId>& dropped) {
  for (const TableSpec& spec : specs) tables_[spec.id] = spec;
  for (TableId id : dropped) tables_.erase(id);
  for (auto& [shard, slot] : slots_) {
    for (const TableSpec& spec : specs) {
      const bool known = slot->shard->FindSpec(spec.id) != nullptr;
      const Status status = known ? slot->shard->AlterTable(spec) : slot->shard->CreateTable(spec);
      if (!status.ok()) LOG(ERROR) << options_.node_name << ": shard " << shard << ": " << status.ToString();
    }
    if (slot->replica.following()) continue;  // the primary's delta says when
    for (TableId id : dropped) {
      if (slot->shard->DropTable(id).ok() && slot->replica.granted()) Touch(shard, *slot);
    }
  }
}

// Complete is said of shards that are served alone. Of others the scheduler may not know yet that they have
// lost something, and backups hear of it by deltas, behind what it is about.
void ServerCore::SetProducers(ProducerId forget_floor, const ProducerRanges& finished,
                              const ProducerRanges& complete) {
  if (forget_floor == forget_floor_ && finished == finished_ && complete == complete_) return;
  forget_floor_ = forget_floor;
  for (auto& [id, slot] : slots_) {
    slot->shard->SetForgetFloor(forget_floor);
    for (const auto& [first, last] : finished) slot->shard->FinishProducers(first, last);
    if (!slot->replica.granted()) continue;
    for (const auto& [first, last] : complete) slot->shard->CompleteProducers(first, last);
  }
  finished_ = finished;
  complete_ = complete;
}

void ServerCore::SetFolded(const std::vector<std::pair<ShardId, FoldedPoint>>& folded) {
  few_clean_rows_ = fold_wanted_ = false;
  ++folds_;
  for (const auto& [shard, point] : folded) {
    Slot* slot = GetSlot(shard);
    if (slot == nullptr || slot->shard->incarnation() != point.incarnation) continue;
    slot->folded = point;
    slot->shard->SetFolded(point.lsn);
  }
}

std::vector<ShardLine> ServerCore::Report() {
  std::vector<ShardLine> lines;
  for (auto& [id, slot] : slots_) {
    const Shard& shard = *slot->shard;
    lines.push_back({.shard = id,
                     .incarnation = shard.incarnation(),
                     .epoch = slot->replica.SettledEpoch(),
                     .applied = shard.last_lsn(),
                     .logged = slot->replica.Logged(),
                     .synced = slot->replica.Synced(),
                     .rows = shard.live_rows(),
                     .bytes = shard.ResidentBytes(),
                     .marks_bytes = shard.MarksBytes(),
                     .damage = slot->replica.damage(),
                     .seen = slot->replica.seen(),
                     .complete = slot->replica.complete(),
                     .backups = slot->replica.Backups(NowMs())});
  }
  return lines;
}

ServerCore::Found ServerCore::Find(ShardId id, Epoch epoch) {
  Slot* slot = GetSlot(id);
  if (slot == nullptr) {
    return {nullptr, WrongEpoch("shard " + std::to_string(id) + " is not served by " + options_.node_name),
            0};
  }
  if (Status served = slot->replica.Serves(epoch); !served.ok())
    return {nullptr, std::move(served), slot->replica.granted() ? slot->shard->epoch() : 0};
  return {slot->shard, Status::Ok(), epoch};
}

Lsn ServerCore::Logged(ShardId shard) const {
  auto it = slots_.find(shard);
  if (it == slots_.end()) return 0;
  // A unit of a `memory` table was told the lsn of the window it fell in, whose delta may have left it out:
  // until the delta that takes it is logged, nothing at or above that lsn is said to be.
  const Slot& slot = *it->second;
  Lsn logged = slot.replica.Logged();
  for (Lsn told : {slot.memory_told, slot.memory_appending}) {
    if (told != 0) logged = std::min(logged, told - 1);
  }
  return logged;
}

Status ServerCore::Writable() const {
  if (!failure_.ok())
    return Status(Code::kOverloaded, options_.node_name + ": " + failure_.message(), kRecoverEveryMs);
  if (metrics_.log_bytes > options_.log_limit_bytes) {
    return Overloaded(options_.node_name + ": the log has reached its limit of " +
                          std::to_string(options_.log_limit_bytes) + " bytes",
                      200);
  }
  return Status::Ok();
}

// Created a moment ago and not heard of here yet, or dropped: the client retries until its deadline.
Status ServerCore::UnknownTable(TableId table) const {
  return Unavailable("table " + std::to_string(table) + " is not known at " + options_.node_name, 50);
}

ServerCore::Applied ServerCore::Apply(ShardId id, const Unit& unit) {
  Slot& slot = *GetSlot(id);
  if (Status writable = Writable(); !writable.ok()) return {.status = writable};
  const TableSpec* spec = slot.shard->FindSpec(unit.table);
  if (spec == nullptr) return {.status = UnknownTable(unit.table)};
  const Durability level = LevelOf(*spec);
  if (level != Durability::kMemory) {
    if (Status writable = slot.replica.Writable(NowMs()); !writable.ok()) return {.status = writable};
  }
  auto outcome = Push(*slot.shard, unit);
  if (!outcome.ok()) {
    metrics_.refused_units++;
    return {.status = outcome.status().Prepend(options_.node_name)};
  }
  if (outcome->cold.empty() && unit.pulled != nullptr) outcome->cold = PullUnit(*slot.shard, unit);
  if (!outcome->cold.empty()) return {.status = Status::Ok(), .cold = std::move(outcome->cold)};
  Applied applied{.status = Status::Ok(), .delta = slot.replica.DeltaAt(outcome->lsn), .level = level};
  if (outcome->duplicate) {
    metrics_.duplicate_units++;
    // Reached already at the asked level: nothing to wait for (rule 14).
    const Lsn reached = level == Durability::kSynced ? slot.replica.Synced() : slot.replica.Logged();
    if (outcome->lsn <= reached) applied.level = Durability::kMemory;
    if (!slot.shard->HasUnlogged(unit.table)) return applied;
  } else {
    metrics_.push_units++;
    metrics_.push_rows += unit.keys.size();
  }
  if (level == Durability::kMemory && slot.memory_told == 0) slot.memory_told = outcome->lsn;
  if (level == Durability::kMemory && !slot.shard->MarksPress(unit.table)) {
    NoteMemoryDirty(id, slot);
  } else if (level == Durability::kMemory) {
    slot.memory_due = true;  // half of a producer's window is in marks that are not logged yet
    Touch(id, slot);
  } else {
    Touch(id, slot);
  }
  return applied;
}

// The rows of a unit that was applied. Only those of a duplicate can have left memory since: these keys.
std::vector<Key> ServerCore::PullUnit(const Shard& shard, const Unit& unit) {
  std::vector<uint32_t> cold;
  const Status pulled = shard.PullRows(unit.table, unit.keys, unit.pulled, &cold);
  CHECK(pulled.ok()) << pulled.message();  // it was pushed to a moment ago
  std::vector<Key> keys;
  for (const uint32_t i : cold) keys.push_back(unit.keys[i]);
  if (keys.empty()) metrics_.pull_rows += unit.keys.size();
  return keys;
}

ServerCore::Applied ServerCore::CommitRound(ShardId id, TableId table, uint64_t round, uint64_t examples,
                                            uint64_t step) {
  Slot& slot = *GetSlot(id);
  if (Status writable = Writable(); !writable.ok()) return {.status = writable};
  const TableSpec* spec = slot.shard->FindSpec(table);
  if (spec == nullptr) return {.status = UnknownTable(table)};
  if (Status writable = slot.replica.Writable(NowMs()); !writable.ok()) return {.status = writable};
  const auto committed = slot.shard->CommitRound(table, round, examples, step);
  if (!committed.ok()) return {.status = committed.status().Prepend(options_.node_name)};
  if (*committed) metrics_.rounds++;
  // Of a round that was committed before: the answer still waits for what may not be logged yet.
  const bool logged = !slot.shard->HasUnlogged(table);
  if (!logged) Touch(id, slot);
  return {.status = Status::Ok(),
          .delta = slot.replica.DeltaAt(logged ? slot.shard->last_lsn() : slot.shard->NextLsn()),
          .level = LevelOf(*spec)};
}

std::vector<ShardId> ServerCore::Held() const {
  std::vector<ShardId> shards;
  for (const auto& [id, slot] : slots_) shards.push_back(id);
  std::sort(shards.begin(), shards.end());
  return shards;
}

Shard* ServerCore::HeldShard(ShardId shard) const {
  Slot* slot = GetSlot(shard);
  return slot == nullptr ? nullptr : slot->shard;
}

std::vector<ShardId> ServerCore::Served() const {
  std::vector<ShardId> shards;
  for (const auto& [id, slot] : slots_) {
    if (slot->replica.granted()) shards.push_back(id);
  }
  std::sort(shards.begin(), shards.end());
  return shards;
}

Shard* ServerCore::ServedShard(ShardId shard) {
  Slot* slot = GetSlot(shard);
  return slot != nullptr && slot->replica.granted() ? slot->shard : nullptr;
}

uint64_t ServerCore::TombstoneBytes() const {
  uint64_t bytes = 0;
  for (const auto& [id, slot] : slots_) bytes += slot->shard->TombstoneBytes();
  return bytes;
}

void ServerCore::NoteDeleted(ShardId shard, TableId table) {
  Slot& slot = *GetSlot(shard);
  if (LevelOf(*slot.shard->FindSpec(table)) == Durability::kMemory) {
    NoteMemoryDirty(shard, slot);
  } else {
    Touch(shard, slot);
  }
}

void ServerCore::Touch(ShardId shard, Slot& slot) {
  if (!slot.dirty) {
    slot.dirty = true;
    dirty_.push_back(shard);
  }
  ScheduleClose();
}

void ServerCore::NoteMemoryDirty(ShardId shard, Slot& slot) {
  if (slot.memory_due_ms != 0) return;
  // As late as leaves an eighth of the lag for writing: hot rows are logged once a delta. Shards take turns,
  // a quarter of the lag is spread over them, so that their copying is too.
  const uint64_t quarter = options_.memory_lag_ms / 4;
  slot.memory_due_ms = NowMs() + options_.memory_lag_ms * 5 / 8 + (quarter == 0 ? 0 : Mix64(shard) % quarter);
}

void ServerCore::MemoryTick() {
  if (stopping_) return;
  // The log failed under another core: what this one has logged may be lost with it.
  if (failure_.ok() && generation_ != appender_.generation()) {
    Fail(Unavailable("the log failed under another core"));
  }
  const uint64_t now = NowMs();
  for (auto& [id, slot] : slots_) {
    if (slot->memory_due_ms != 0 && slot->memory_due_ms <= now) {
      slot->memory_due = true;
      Touch(id, *slot);
    }
  }
  const uint64_t every = std::clamp<uint64_t>(options_.memory_lag_ms / 32, 1, 100);
  Spawn(loop_.Sleep(every).then([this] { MemoryTick(); }), "memory lag");
}

kj::Promise<Status> ServerCore::Reached(Durability level) {
  if (level == Durability::kMemory) return Status::Ok();
  auto paf = kj::newPromiseAndFulfiller<Status>();
  (level == Durability::kSynced ? open_.synced : open_.logged).push_back(kj::mv(paf.fulfiller));
  ScheduleClose();
  return kj::mv(paf.promise);
}

kj::Promise<Status> ServerCore::Reached(Durability level, std::vector<DeltaRef> deltas) {
  auto here = Reached(level);
  if (level == Durability::kMemory) return here;
  return here.then(
      [this, level, deltas = std::move(deltas)](Status&& reached) mutable -> kj::Promise<Status> {
        if (!reached.ok()) return reached;
        return replicator_->Wait(std::move(deltas), level);
      });
}

kj::Promise<Status> ServerCore::Flush(std::span<const ShardId> shards) {
  std::vector<DeltaRef> deltas;
  for (ShardId id : shards) {
    const Slot* slot = GetSlot(id);
    if (slot == nullptr || !slot->replica.granted()) continue;
    deltas.push_back(
        slot->replica.DeltaAt(slot->shard->HasUnlogged() ? slot->shard->NextLsn() : slot->shard->last_lsn()));
  }
  return FlushHere(shards).then(
      [this, deltas = std::move(deltas)](Status&& flushed) mutable -> kj::Promise<Status> {
        if (!flushed.ok()) return flushed;
        return replicator_->Wait(std::move(deltas), Durability::kLogged);
      });
}

void ServerCore::CloseWhole(ShardId id) {
  Slot& slot = *GetSlot(id);
  slot.memory_due = true;
  Touch(id, slot);
}

void ServerCore::SyncCopies(ShardId id) {
  Touch(id, *GetSlot(id));
  Spawn(Reached(Durability::kSynced).ignoreResult(), "sync of copies");
}

kj::Promise<Status> ServerCore::FlushHere(std::span<const ShardId> shards) {
  for (ShardId id : shards) {
    Slot* slot = GetSlot(id);
    if (slot == nullptr || slot->memory_due_ms == 0) continue;
    slot->memory_due = true;
    Touch(id, *slot);
  }
  return Reached(Durability::kLogged);
}

kj::Promise<Status> ServerCore::FlushAll() {
  std::vector<ShardId> all;
  for (const auto& [id, slot] : slots_) all.push_back(id);
  return FlushHere(all);
}

void ServerCore::ScheduleClose() {
  if (close_scheduled_ || appending_ || !failure_.ok()) return;
  close_scheduled_ = true;
  // After the requests that have arrived together with this one.
  Spawn(kj::evalLast([this] {
          close_scheduled_ = false;
          Close();
        }),
        "close window");
}

bool ServerCore::AddSections(Window& window, LogRecord* record) {
  for (auto& [logged, section] : taken_) {
    window.lsns.push_back(logged);
    record->sections.push_back(std::move(section));
  }
  taken_.clear();
  std::vector<ShardId> dirty;
  dirty.swap(dirty_);
  bool complete = true;
  for (ShardId id : dirty) {
    Slot& slot = *GetSlot(id);
    const Shard& shard = *slot.shard;
    const bool memory_too = slot.memory_due;
    auto delta = slot.shard->BuildDelta([&shard, memory_too](TableId table) {
      const TableSpec* spec = shard.FindSpec(table);
      return memory_too || spec == nullptr || LevelOf(*spec) != Durability::kMemory;
    });
    if (!delta.ok()) {
      LOG(ERROR) << options_.node_name << ": shard " << id << ": " << delta.status().ToString();
      dirty_.push_back(id);  // with the next window
      complete = false;
      continue;
    }
    AddSection(window, id, slot, std::move(*delta), memory_too, record);
  }
  return complete;
}

void ServerCore::AddSection(Window& window, ShardId id, Slot& slot, BuiltDelta delta, bool memory_too,
                            LogRecord* record) {
  slot.dirty = slot.memory_due = false;
  if (memory_too) TakeMemory(slot);
  window.lsns.push_back({id, slot.shard->incarnation(), delta.lsn, memory_too});
  metrics_.deltas++;
  const DeltaWords words(kj::mv(delta.words));
  if (CopySet* copies = slot.replica.copies()) {
    copies->Add({.lsn = delta.lsn, .checksum = delta.checksum, .words = words, .sync = window.sync()},
                NowMs());
    replicator_->NoteAdded(*copies);
  }
  record->sections.push_back({id, slot.shard->incarnation(), words, delta.checksum});
}

// The delta that is being appended holds everything of the `memory` tables so far.
void ServerCore::TakeMemory(Slot& slot) {
  slot.memory_due_ms = 0;
  slot.memory_appending = slot.memory_told;
  slot.memory_told = 0;
}

void ServerCore::Close() {
  if (appending_ || stopping_ || !failure_.ok()) return;
  Window window = std::move(open_);
  open_ = Window{.number = window.number + 1, .logged = {}, .synced = {}, .lsns = {}};
  WindowRecord submit;
  submit.record.core = options_.core;
  submit.generation = generation_;
  submit.sync = window.sync();
  if (!AddSections(window, &submit.record)) {
    // Who waits, waits for the window that has everything.
    open_.logged = std::move(window.logged);
    open_.synced = std::move(window.synced);
    window.logged.clear();
    window.synced.clear();
    submit.sync = false;
    if (window.lsns.empty()) {
      Spawn(loop_.Sleep(kRetryDeltaMs).then([this] { ScheduleClose(); }), "delta again");
      return;
    }
  }
  if (window.lsns.empty() && window.logged.empty() && window.synced.empty()) return;
  const uint64_t number = window.number;
  submit.logged = [this, number](const Status& status) {
    loop_.Post([this, number, status] { OnLogged(number, status); });
  };
  submit.synced = [this, number](const Status& status) {
    loop_.Post([this, number, status] { OnSynced(number, status); });
  };
  closed_.emplace(number, std::move(window));
  appending_ = true;
  metrics_.windows++;
  appender_.Submit(std::move(submit));
  if (replicator_ != nullptr) replicator_->Send();
}

void ServerCore::OnLogged(uint64_t number, const Status& status) {
  appending_ = false;
  if (!status.ok()) return Fail(status);
  auto it = closed_.find(number);
  if (it != closed_.end()) {  // else a failed sync took its waiters
    Window& window = it->second;
    for (const LoggedShard& logged : window.lsns) {
      Slot* slot = GetSlot(logged);
      if (slot == nullptr) continue;
      slot->replica.LoggedHere(logged.lsn);
      if (logged.memory_too) slot->memory_appending = 0;
    }
    for (auto& waiter : window.logged) waiter->fulfill(Status::Ok());
    window.logged.clear();
    if (!window.sync()) closed_.erase(it);
  }
  if (!dirty_.empty() || !taken_.empty() || !open_.logged.empty() || !open_.synced.empty()) ScheduleClose();
}

void ServerCore::OnSynced(uint64_t number, const Status& status) {
  auto it = closed_.find(number);
  if (it == closed_.end()) return;  // a failure took its waiters
  if (!status.ok()) return Fail(status);
  // A sync covers everything that was appended before it.
  for (const LoggedShard& synced : it->second.lsns) {
    if (Slot* slot = GetSlot(synced)) slot->replica.SyncedHere(synced.lsn);
  }
  for (auto& waiter : it->second.synced) waiter->fulfill(Status::Ok());
  closed_.erase(it);
}

void ServerCore::Fail(const Status& status) {
  for (auto& [number, window] : closed_) {
    std::move(window.logged.begin(), window.logged.end(), std::back_inserter(failed_waiters_));
    std::move(window.synced.begin(), window.synced.end(), std::back_inserter(failed_waiters_));
  }
  closed_.clear();
  if (!failure_.ok()) return;
  LOG(ERROR) << options_.node_name << ": core " << options_.core
             << ": pushes are refused until the log can be written: " << status.message();
  metrics_.log_failures++;
  failure_ = status;
  // What copies have taken since their last window, or in windows that failed, is not logged and is not
  // logged again: they are seeded anew.
  taken_.clear();
  for (auto& [id, slot] : slots_) {
    if (slot->replica.following() && slot->replica.damage().empty())
      slot->replica.SetDamage("its log failed: " + status.message());
  }
  RecoverLater();
}

void ServerCore::RecoverLater() {
  Spawn(loop_.Sleep(kRecoverEveryMs).then([this] { Recover(); }), "recover");
}

// Everything that the base does not have goes into a fresh segment, whatever was believed to be logged
// before.
void ServerCore::Recover() {
  if (stopping_) return;
  std::move(open_.logged.begin(), open_.logged.end(), std::back_inserter(failed_waiters_));
  std::move(open_.synced.begin(), open_.synced.end(), std::back_inserter(failed_waiters_));
  open_.logged.clear();
  open_.synced.clear();
  WindowRecord submit;
  submit.record.core = options_.core;
  submit.sync = true;
  submit.recovery = true;
  auto window = std::make_shared<Window>();
  dirty_.clear();
  for (auto& [id, slot] : slots_) {
    if (slot->shard->epoch() == 0 || slot->replica.following())
      continue;  // never served, so nothing of its own
    slot->shard->RelogFrom(slot->folded.lsn, slot->folded.checksum);
    auto delta = slot->shard->BuildDelta();
    if (!delta.ok() && delta.status().code() == Code::kFailedPrecondition)
      continue;  // not granted since the start
    if (!delta.ok()) {
      LOG(ERROR) << options_.node_name << ": shard " << id << ": " << delta.status().ToString();
      return RecoverLater();
    }
    AddSection(*window, id, *slot, std::move(*delta), true, &submit.record);
  }
  submit.logged = [](const Status&) {};  // only the sync counts here
  submit.synced = [this, window](const Status& status) {
    loop_.Post([this, window, status] { OnRecovered(*window, status); });
  };
  appender_.Submit(std::move(submit));
  if (replicator_ != nullptr) replicator_->Send();
}

void ServerCore::OnRecovered(const Window& window, const Status& status) {
  if (stopping_) return;
  if (!status.ok()) {
    failure_ = status;
    return RecoverLater();
  }
  generation_ = appender_.generation();
  failure_ = Status::Ok();
  LOG(WARNING) << options_.node_name << ": core " << options_.core << ": the log can be written again; "
               << window.lsns.size() << " shards were logged anew";
  for (const LoggedShard& logged : window.lsns) {
    Slot* slot = GetSlot(logged);
    if (slot == nullptr) continue;
    slot->replica.LoggedHere(logged.lsn);
    slot->replica.SyncedHere(logged.lsn);
    slot->memory_appending = 0;
  }
  for (auto& waiter : failed_waiters_) waiter->fulfill(Status::Ok());
  failed_waiters_.clear();
  ScheduleClose();
}

}  // namespace penstock
