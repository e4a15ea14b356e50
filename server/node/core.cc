#include "server/node/core.h"

#include <glog/logging.h>

#include <algorithm>

#include "common/base/hash.h"
#include "server/replica/replicator.h"

namespace penstock {
namespace {

constexpr uint64_t kRetryDeltaMs = 100;  // after a delta that there was no memory for
constexpr int kFetches = 4;              // tries for one unit
constexpr size_t kFlushedShards = 4;     // at a time

}  // namespace

ServerCore::ServerCore(KjLoop& loop, const CoreOptions& options, LogAppender& appender, const BaseStore& base,
                       Asks asks, ServerMetrics& metrics)
    : loop_(loop),
      options_(options),
      appender_(appender),
      asks_(std::move(asks)),
      metrics_(metrics),
      slots_(options.node_name),
      window_(options.node_name + ": core " + std::to_string(options.core), options.memory_lag_ms,
              appender.generation()),
      memory_(slots_, options.memory_budget_bytes, metrics, [this] { WantFold(); }),
      scan_(loop, base, slots_, options.node_name, asks_.base_damaged),
      cold_(slots_, memory_, scan_, metrics, options.node_name),
      tasks_(*this) {
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

uint64_t ServerCore::NowMs() const {
  return (loop_.timer().now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS;
}

void ServerCore::AdoptShard(std::unique_ptr<Shard> shard, const FoldedPoint& folded, std::string damage) {
  const Lsn kept = shard->last_lsn();  // replay synced it
  auto slot = std::make_unique<ShardSlot>(std::move(shard), options_.node_name);
  slot->replica.LoggedHere(kept);
  slot->replica.SyncedHere(kept);
  slot->folded = folded;
  slot->replica.SetDamage(std::move(damage));
  window_.Hold(slots_.Put(std::move(slot)));
}

void ServerCore::SetTables(const std::vector<TableSpec>& specs, const std::vector<TableId>& dropped) {
  for (const TableSpec& spec : specs) tables_[spec.id] = spec;
  for (TableId id : dropped) tables_.erase(id);
  for (const TableSpec& spec : specs) newest_table_ = std::max(newest_table_, spec.id);
  for (TableId id : dropped) newest_table_ = std::max(newest_table_, id);
  for (auto& [shard, slot] : slots_) {
    for (const TableSpec& spec : specs) {
      const bool known = slot->shard->FindSpec(spec.id) != nullptr;
      const Status status = known ? slot->shard->AlterTable(spec) : slot->shard->CreateTable(spec);
      if (!status.ok()) LOG(ERROR) << options_.node_name << ": shard " << shard << ": " << status.ToString();
    }
    if (slot->replica.following()) continue;  // the primary's delta says when
    for (TableId id : dropped) {
      if (slot->shard->DropTable(id).ok() && slot->replica.granted()) Touch(*slot);
    }
  }
}

// Complete is said of shards that are served alone. Of others the scheduler may not know yet that they have
// lost something, and backups hear of it by deltas, behind what it is about.
void ServerCore::SetProducers(const WantedShards& wanted) {
  if (wanted.forget_floor == forget_floor_ && wanted.finished == finished_ && wanted.complete == complete_)
    return;
  forget_floor_ = wanted.forget_floor;
  finished_ = wanted.finished;
  complete_ = wanted.complete;
  for (auto& [id, slot] : slots_) {
    slot->shard->SetForgetFloor(forget_floor_);
    for (const auto& [first, last] : finished_) slot->shard->FinishProducers(first, last);
    if (!slot->replica.granted()) continue;
    for (const auto& [first, last] : complete_) slot->shard->CompleteProducers(first, last);
  }
}

void ServerCore::SetFolded(const std::vector<std::pair<ShardId, FoldedPoint>>& folded) {
  memory_.OnFolded();
  fold_wanted_ = false;
  ++folds_;
  for (const auto& [shard, point] : folded) {
    ShardSlot* slot = slots_.Held(shard, point.incarnation);
    if (slot == nullptr) continue;
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
                     .backups = slot->replica.Backups(NowMs()),
                     .fenced = slot->replica.fenced(),
                     .served_rows = slot->served_rows,
                     .delay_ms = static_cast<uint32_t>(slot->replica.DelayMs())});
  }
  return lines;
}

Status ServerCore::Writable() const {
  if (const Status& failure = window_.failure(); !failure.ok()) {
    return Status(Code::kOverloaded, options_.node_name + ": " + failure.message(),
                  CommitWindow::kRecoverEveryMs);
  }
  if (metrics_.log_bytes > options_.log_limit_bytes) {
    return Overloaded(options_.node_name + ": the log has reached its limit of " +
                          std::to_string(options_.log_limit_bytes) + " bytes",
                      200);
  }
  return Status::Ok();
}

// Ids rise, so one up to the newest that was heard of was dropped if it is not there. A later one was created
// a moment ago: the client retries until its deadline.
Status ServerCore::UnknownTable(TableId table) const {
  if (table <= newest_table_ && !tables_.contains(table))
    return NotFound("table " + std::to_string(table) + " was dropped");
  return Unavailable("table " + std::to_string(table) + " is not known at " + options_.node_name, 50);
}

ServerCore::Applied ServerCore::Apply(ShardSlot& slot, Shard::TableHandle table, const Unit& unit) {
  if (Status writable = Writable(); !writable.ok()) return {.status = writable};
  if (!table) return {.status = UnknownTable(unit.table)};
  const Durability level = LevelOf(table.spec());
  if (Status writable = slot.replica.Writable(level, NowMs()); !writable.ok()) return {.status = writable};
  const uint64_t not_finite = table.not_finite().rows;
  auto outcome = memory_.Push(*slot.shard, table, unit.context, unit.keys, unit.values);
  if (!outcome.ok()) {
    metrics_.refused_units++;
    return {.status = outcome.status().Prepend(options_.node_name)};
  }
  if (outcome->cold.empty() && unit.pulled != nullptr) outcome->cold = PullUnit(*slot.shard, table, unit);
  if (!outcome->cold.empty()) return {.status = Status::Ok(), .cold = std::move(outcome->cold)};
  if (outcome->duplicate) {
    metrics_.duplicate_units++;
  } else {
    metrics_.push_units++;
    metrics_.push_rows += unit.keys.size();
    slot.served_rows += unit.keys.size();
    metrics_.CountNotFinite(table.spec().name, table.not_finite().rows - not_finite);
  }
  const Durability waits = window_.Pushed(slot, table, level, *outcome);
  ScheduleClose();
  return {.status = Status::Ok(), .delta = slot.replica.DeltaAt(outcome->lsn), .level = waits, .cold = {}};
}

// The rows of a unit that was applied. Only those of a duplicate can have left memory since: these keys.
std::vector<Key> ServerCore::PullUnit(const Shard& shard, Shard::TableHandle table, const Unit& unit) {
  std::vector<uint32_t> cold;
  shard.PullRows(table, unit.keys, unit.pulled, &cold);
  std::vector<Key> keys;
  for (const uint32_t i : cold) keys.push_back(unit.keys[i]);
  if (keys.empty()) metrics_.pull_rows += unit.keys.size();
  return keys;
}

kj::Promise<ServerCore::Applied> ServerCore::ApplyCold(ShardSlot& slot, Epoch epoch, const Unit& unit,
                                                       std::vector<Key> cold) {
  Shard& shard = *slot.shard;
  auto wait = cold_.WaitForRows(unit.keys.size() * shard.row_bytes(unit.table));
  if (!wait.ok()) return Applied{.status = wait.status()};
  (*wait)->Pin(shard, unit.table, unit.keys);
  return cold_.Fetch(shard.id(), unit.table, cold)
      .then([this, id = shard.id(), epoch, unit](Status&& fetched) -> kj::Promise<Applied> {
        if (!fetched.ok()) return Applied{.status = fetched};
        return ApplyFetched(id, epoch, unit, 1);
      })
      .attach(std::move(*wait));
}

// A row may be cold again: one that another call has in flight was deleted and evicted, or a filter forgot
// what it had been wrong about.
kj::Promise<ServerCore::Applied> ServerCore::ApplyFetched(ShardId id, Epoch epoch, const Unit& unit,
                                                          int attempts) {
  const Found found = Find(id, epoch);
  if (!found.status.ok()) return Applied{.status = found.status};
  Applied applied = Apply(*found.slot, found.shard->Serving(unit.table), unit);
  if (applied.cold.empty()) return applied;
  if (attempts == kFetches)
    return Applied{.status =
                       Overloaded(options_.node_name + ": rows of the unit left memory again", kRetrySoonMs)};
  return cold_.Fetch(id, unit.table, applied.cold)
      .then([this, id, epoch, unit, attempts](Status&& fetched) -> kj::Promise<Applied> {
        if (!fetched.ok()) return Applied{.status = fetched};
        return ApplyFetched(id, epoch, unit, attempts + 1);
      });
}

ServerCore::Applied ServerCore::CommitRound(ShardSlot& slot, TableId table, uint64_t round, uint64_t examples,
                                            uint64_t step) {
  if (Status writable = Writable(); !writable.ok()) return {.status = writable};
  const TableSpec* spec = slot.shard->FindSpec(table);
  if (spec == nullptr) return {.status = UnknownTable(table)};
  if (Status writable = slot.replica.Writable(LevelOf(*spec), NowMs()); !writable.ok())
    return {.status = writable};
  const Shard::TableHandle handle = slot.shard->Serving(table);
  const uint64_t not_finite = handle.not_finite().rows;
  const auto committed = slot.shard->CommitRound(table, round, examples, step);
  if (!committed.ok()) return {.status = committed.status().Prepend(options_.node_name)};
  if (*committed) metrics_.rounds++;
  metrics_.CountNotFinite(spec->name, handle.not_finite().rows - not_finite);
  // Of a round that was committed before: the answer still waits for what may not be logged yet.
  const bool logged = !slot.shard->HasUnlogged(table);
  if (!logged) Touch(slot);
  return {.status = Status::Ok(),
          .delta = slot.replica.DeltaAt(logged ? slot.shard->last_lsn() : slot.shard->NextLsn()),
          .level = LevelOf(*spec)};
}

uint64_t ServerCore::TombstoneBytes() const {
  uint64_t bytes = 0;
  for (const auto& [id, slot] : slots_) bytes += slot->shard->TombstoneBytes();
  return bytes;
}

void ServerCore::NoteDeleted(ShardSlot& slot, TableId table) {
  window_.Touch(slot, LevelOf(*slot.shard->FindSpec(table)));
  ScheduleClose();
}

void ServerCore::Touch(ShardSlot& slot) {
  window_.Touch(slot);
  ScheduleClose();
}

void ServerCore::MemoryTick() {
  if (stopping_) return;
  Perform(window_.Tick(NowMs(), appender_.generation()));
  const uint64_t every = std::clamp<uint64_t>(options_.memory_lag_ms / 32, 1, 100);
  Spawn(loop_.Sleep(every).then([this] { MemoryTick(); }), "memory lag");
}

kj::Promise<Status> ServerCore::Reached(Durability level) {
  if (level == Durability::kMemory) return Status::Ok();
  auto paf = kj::newPromiseAndFulfiller<Status>();
  window_.Wait(level, [done = kj::mv(paf.fulfiller)]() mutable { done->fulfill(Status::Ok()); });
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
    const ShardSlot* slot = slots_.Held(id);
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
  window_.TouchWhole(*slots_.Held(id));
  ScheduleClose();
}

void ServerCore::SyncCopies(ShardId id) {
  Touch(*slots_.Held(id));
  Spawn(Reached(Durability::kSynced).ignoreResult(), "sync of copies");
}

kj::Promise<Status> ServerCore::FlushHere(std::span<const ShardId> shards) {
  for (ShardId id : shards) {
    if (ShardSlot* slot = slots_.Held(id)) window_.TouchMemory(*slot);
  }
  return Reached(Durability::kLogged);
}

bool ServerCore::WantFold() {
  if (fold_wanted_ || !window_.failure().ok()) return false;
  fold_wanted_ = true;
  metrics_.early_folds++;
  // What `memory` tables hold back is not clean before it is logged.
  Spawn(FlushSome(slots_.Ids()).then([this] { asks_.fold(); }), "flush for a fold");
  return true;
}

// A few shards at a time: deltas are copies of all that is dirty.
kj::Promise<void> ServerCore::FlushSome(std::vector<ShardId> shards) {
  if (shards.empty()) return kj::READY_NOW;
  const size_t left = shards.size() - std::min(shards.size(), kFlushedShards);
  auto flushed = FlushHere(std::span(shards).subspan(left));
  shards.resize(left);
  return flushed.then(
      [this, shards = std::move(shards)](Status&&) mutable { return FlushSome(std::move(shards)); });
}

void ServerCore::ScheduleClose() {
  if (close_scheduled_ || !window_.MayClose()) return;
  close_scheduled_ = true;
  // After the requests that have arrived together with this one.
  Spawn(kj::evalLast([this] {
          close_scheduled_ = false;
          Close();
        }),
        "close window");
}

void ServerCore::Close() {
  if (stopping_) return;
  if (auto write = window_.Close(NowMs())) {
    metrics_.windows++;
    Submit(std::move(*write));
  } else if (window_.MayClose()) {
    Spawn(loop_.Sleep(kRetryDeltaMs).then([this] { ScheduleClose(); }), "delta again");
  }
}

void ServerCore::Submit(CommitWindow::Write write) {
  WindowRecord submit;
  submit.record = std::move(write.record);
  submit.record.core = options_.core;
  submit.generation = write.generation;
  submit.recovery = write.recovery;
  submit.sync = write.sync;
  if (write.recovery) {
    submit.logged = [](const Status&) {};  // only the sync counts here
    submit.synced = [this](const Status& status) {
      loop_.Post([this, status] {
        if (!stopping_) Perform(window_.OnRecovered(status, appender_.generation()));
      });
    };
  } else {
    submit.logged = [this, number = write.number](const Status& status) {
      loop_.Post([this, number, status] { Perform(window_.OnLogged(number, status)); });
    };
    submit.synced = [this, number = write.number](const Status& status) {
      loop_.Post([this, number, status] { Perform(window_.OnSynced(number, status)); });
    };
  }
  metrics_.deltas += write.built.size();
  appender_.Submit(std::move(submit));
  if (replicator_ == nullptr) return;
  for (const ShardSlot* slot : write.built) {
    if (const CopySet* copies = slot->replica.copies()) replicator_->NoteAdded(*copies);
  }
  replicator_->Send();
}

void ServerCore::Perform(CommitWindow::Actions actions) {
  metrics_.log_failures += actions.failed;
  if (actions.recover) RecoverLater();
  for (CommitWindow::Waiter& waiter : actions.reached) std::move(waiter)();
  ScheduleClose();
}

void ServerCore::RecoverLater() {
  Spawn(loop_.Sleep(CommitWindow::kRecoverEveryMs).then([this] {
    if (stopping_) return;
    if (auto write = window_.Recover(NowMs())) {
      Submit(std::move(*write));
    } else {
      RecoverLater();
    }
  }),
        "recover");
}

}  // namespace penstock
