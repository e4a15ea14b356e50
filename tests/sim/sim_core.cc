// A push's way through a simulated server: applied, built, appended, synced, answered; and a log that fails.
#include "tests/sim/sim_core.h"

#include <algorithm>

#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_replicator.h"

namespace penstock::sim {
namespace {

constexpr uint64_t kMemoryLagMs = 1200;
constexpr uint64_t kRecoverEveryMs = 1000;  // at the latest

}  // namespace

SimCore::SimCore(SimCluster& cluster, Endpoint self, const std::string& name, SimDisk& disk)
    : cluster_(cluster),
      world_(cluster.world),
      self_(self),
      name_(name),
      disk_(disk),
      tables_(disk.node_file().tables),
      replicator_(std::make_unique<SimReplicator>(cluster, *this, self, name)) {
  MemoryTick();
}
SimCore::~SimCore() = default;

SimSlot* SimCore::GetSlot(ShardId shard) const {
  const auto found = slots_.find(shard);
  return found == slots_.end() ? nullptr : found->second.get();
}

SimSlot* SimCore::GetSlot(const LoggedShard& logged) const {
  SimSlot* slot = GetSlot(logged.shard);
  return slot != nullptr && slot->shard->incarnation() == logged.incarnation ? slot : nullptr;
}

// --- Pushes.

void SimCore::Push(const PushRequest& request, std::function<void(PushAnswer)> reply) {
  SimSlot* slot = GetSlot(request.shard);
  if (slot == nullptr) return reply({.status = WrongEpoch("not served here")});
  if (Status served = slot->replica.Serves(request.epoch); !served.ok())
    return reply({.status = served, .epoch = slot->replica.granted() ? slot->shard->epoch() : 0});
  Durability level = Durability::kMemory;
  PushAnswer answer = Apply(request, *slot, &level);
  answer.epoch = slot->shard->epoch();
  const TableSpec* spec = slot->shard->FindSpec(request.table);
  const Durability asked = spec == nullptr ? Durability::kMemory : spec->durability;
  if (!answer.status.ok() || level == Durability::kMemory) return Answer(request, asked, answer, reply);
  const DeltaRef delta = slot->replica.DeltaAt(answer.lsn);
  Reached(level, [this, request, answer, asked, level, delta, reply](Status reached) mutable {
    if (!reached.ok()) {
      answer.status = OutcomeUnknown(reached.message());
      return Answer(request, asked, answer, reply);
    }
    replicator_->Wait({delta}, level, [this, request, answer, asked, reply](Status confirmed) mutable {
      if (!confirmed.ok()) answer.status = OutcomeUnknown(confirmed.message());
      Answer(request, asked, answer, reply);
    });
  });
}

PushAnswer SimCore::Apply(const PushRequest& request, SimSlot& slot, Durability* level) {
  if (!failure_.ok()) return {.status = Status(Code::kOverloaded, failure_.message(), kRecoverEveryMs)};
  const TableSpec* spec = slot.shard->FindSpec(request.table);
  if (spec == nullptr) return {.status = Unavailable("the table is not known here", 50)};
  *level = spec->durability;
  if (*level != Durability::kMemory) {
    if (Status writable = slot.replica.Writable(world_.now_ms()); !writable.ok()) return {.status = writable};
  }
  const Durability asked = *level;
  const auto outcome = slot.shard->PushUnit(request.unit, request.table, request.keys, request.values.data());
  if (!outcome.ok()) return {.status = outcome.status()};
  if (outcome->duplicate) {
    const Lsn reached = asked == Durability::kSynced ? slot.replica.Synced() : slot.replica.Logged();
    if (outcome->lsn <= reached) {
      *level = Durability::kMemory;
    }
  } else {
    slot.applied[request.number] = outcome->lsn;
    world_.Note(self_, "applied unit ", request.number, " to shard ", request.shard, ", lsn ", outcome->lsn);
  }
  if (outcome->duplicate && !slot.shard->HasUnlogged(request.table)) return {.lsn = outcome->lsn};
  if (asked == Durability::kMemory) {
    if (slot.memory_told == 0) slot.memory_told = outcome->lsn;
    if (slot.memory_due_ms == 0) slot.memory_due_ms = world_.now_ms() + kMemoryLagMs;
  } else {
    Touch(request.shard, slot, Step::kPushApplied);
  }
  return {.lsn = outcome->lsn};
}

void SimCore::Answer(const PushRequest& request, Durability level, PushAnswer answer,
                     const std::function<void(PushAnswer)>& reply) {
  if (const SimSlot* slot = GetSlot(request.shard)) {
    answer.logged = LoggedOf(*slot);
    if (answer.status.ok()) cluster_.truth.OnAnswered(self_, *slot, request, level, answer);
  }
  reply(answer);
}

PushAnswer SimCore::AskLogged(ShardId shard, Epoch epoch) const {
  const SimSlot* slot = GetSlot(shard);
  if (slot == nullptr) return {.status = WrongEpoch("not served here")};
  const Epoch present = slot->replica.granted() ? slot->shard->epoch() : 0;
  if (Status served = slot->replica.Serves(epoch); !served.ok()) return {.status = served, .epoch = present};
  return {.epoch = present, .lsn = slot->shard->last_lsn(), .logged = LoggedOf(*slot)};
}

// As ServerCore::Logged: nothing at or above what a `memory` unit was told, before that is logged.
Lsn SimCore::LoggedOf(const SimSlot& slot) const {
  Lsn logged = slot.replica.Logged();
  for (const Lsn told : {slot.memory_told, slot.memory_appending}) {
    if (told != 0) logged = std::min(logged, told - 1);
  }
  return logged;
}

void SimCore::Reached(Durability level, Waiter waiter) {
  (level == Durability::kSynced ? open_.synced : open_.logged).push_back(std::move(waiter));
  ScheduleClose(Step::kPushApplied);
}

// --- Windows.

void SimCore::Touch(ShardId id, SimSlot& slot, Step step) {
  if (!slot.dirty) {
    slot.dirty = true;
    dirty_.push_back(id);
  }
  ScheduleClose(step);
}

void SimCore::CloseWhole(ShardId id) {
  SimSlot& slot = *GetSlot(id);
  slot.memory_due = true;
  Touch(id, slot, Step::kNone);
}

void SimCore::SyncCopies(ShardId id) {
  Touch(id, *GetSlot(id), Step::kNone);
  Reached(Durability::kSynced, [](const Status&) {});
}

void SimCore::MemoryTick() {
  for (auto& [id, slot] : slots_) {
    if (slot->memory_due_ms == 0 || slot->memory_due_ms > world_.now_ms()) continue;
    slot->memory_due = true;
    Touch(id, *slot, Step::kPushApplied);
  }
  world_.After(self_, 100'000, Step::kNone, [this] { MemoryTick(); });
}

void SimCore::ScheduleClose(Step step) {
  if (close_scheduled_ || appending_ || !failure_.ok()) return;
  close_scheduled_ = true;
  world_.After(self_, world_.Between(10, 300), step, [this] {
    close_scheduled_ = false;
    Close();
  });
}

void SimCore::Close() {
  if (appending_ || !failure_.ok()) return;
  Window window = std::move(open_);
  open_ = Window{.number = window.number + 1};
  LogRecord record;
  AddSections(window, &record);
  if (window.lsns.empty() && window.logged.empty() && window.synced.empty()) return;
  const uint64_t number = window.number;
  const bool sync = window.sync();
  closed_.emplace(number, std::move(window));
  appending_ = true;
  world_.After(self_, world_.Between(100, 800), Step::kDeltaBuilt,
               [this, number, record = std::move(record), sync] { Write(number, record, sync); });
  replicator_->Send();
}

void SimCore::AddSections(Window& window, LogRecord* record) {
  for (auto& [logged, section] : taken_) {
    window.lsns.push_back(logged);
    record->sections.push_back(std::move(section));
  }
  taken_.clear();
  for (const ShardId id : std::exchange(dirty_, {})) {
    SimSlot& slot = *GetSlot(id);
    const Shard& shard = *slot.shard;
    const bool memory_too = slot.memory_due;
    auto delta = slot.shard->BuildDelta([&shard, memory_too](TableId table) {
      const TableSpec* spec = shard.FindSpec(table);
      return memory_too || spec == nullptr || spec->durability != Durability::kMemory;
    });
    if (delta.ok()) {
      AddSection(window, id, slot, std::move(*delta), memory_too, record);
    } else {
      slot.dirty = false;  // it is served no more since it was touched
    }
  }
}

void SimCore::AddSection(Window& window, ShardId id, SimSlot& slot, BuiltDelta delta, bool memory_too,
                         LogRecord* record) {
  slot.dirty = slot.memory_due = false;
  if (memory_too) {
    slot.memory_due_ms = 0;
    slot.memory_appending = slot.memory_told;
    slot.memory_told = 0;
  }
  window.lsns.push_back({id, slot.shard->incarnation(), delta.lsn, memory_too});
  cluster_.truth.OnDelta(id, slot.shard->epoch(), delta.lsn);
  world_.Note(self_, "delta ", delta.lsn, " of shard ", id, ", epoch ", slot.shard->epoch());
  const DeltaWords words(kj::mv(delta.words));
  if (CopySet* copies = slot.replica.copies()) {
    copies->Add({.lsn = delta.lsn, .checksum = delta.checksum, .words = words, .sync = window.sync()},
                world_.now_ms());
    replicator_->NoteAdded(*copies);
  }
  record->sections.push_back({id, slot.shard->incarnation(), words, delta.checksum});
}

// The appender's thread.
void SimCore::Write(uint64_t number, const LogRecord& record, bool sync) {
  Status status = log_failure_;
  if (status.ok() && !record.sections.empty()) status = log_->Append({&record, 1});
  if (!status.ok() && log_failure_.ok()) {
    log_failure_ = status;
    ++generation_;
  }
  world_.After(self_, world_.Between(10, 200), Step::kAppended,
               [this, number, status] { OnLogged(number, status); });
  if (!sync) return;
  synced_us_ = std::max(synced_us_ + 1, world_.now_us() + world_.Between(300, 3000));
  world_.After(self_, synced_us_ - world_.now_us(), Step::kAppended,
               [this, number, generation = generation_] { Sync(number, generation); });
}

// The syncer's.
void SimCore::Sync(uint64_t number, uint64_t generation) {
  Status status = log_failure_;
  if (generation != generation_ && status.ok()) status = Unavailable("the log has failed since");
  if (status.ok()) status = log_->Sync();
  if (!status.ok() && log_failure_.ok() && generation == generation_) {
    log_failure_ = status;
    ++generation_;
  }
  world_.After(self_, 60, Step::kSynced, [this, number, status] { OnSynced(number, status); });
}

void SimCore::OnLogged(uint64_t number, const Status& status) {
  appending_ = false;
  if (!status.ok()) return Fail(status);
  if (const auto it = closed_.find(number); it != closed_.end()) {
    Window& window = it->second;
    for (const LoggedShard& logged : window.lsns) {
      SimSlot* slot = GetSlot(logged);
      if (slot == nullptr) continue;
      slot->replica.LoggedHere(logged.lsn);
      if (logged.memory_too) slot->memory_appending = 0;
    }
    const auto waiters = std::exchange(window.logged, {});
    const bool sync = window.sync();
    for (const Waiter& waiter : waiters) waiter(Status::Ok());
    if (!sync) closed_.erase(number);
  }
  if (!dirty_.empty() || !taken_.empty() || !open_.logged.empty() || !open_.synced.empty())
    ScheduleClose(Step::kPushApplied);
}

void SimCore::OnSynced(uint64_t number, const Status& status) {
  const auto it = closed_.find(number);
  if (it == closed_.end()) return;
  if (!status.ok()) return Fail(status);
  for (const LoggedShard& synced : it->second.lsns) {
    if (SimSlot* slot = GetSlot(synced)) slot->replica.SyncedHere(synced.lsn);
  }
  const auto waiters = std::exchange(it->second.synced, {});
  closed_.erase(it);
  for (const Waiter& waiter : waiters) waiter(Status::Ok());
}

// --- A log that fails (rule 8).

void SimCore::Fail(const Status& status) {
  const auto keep = [this](std::vector<Waiter>& waiters) {
    std::move(waiters.begin(), waiters.end(), std::back_inserter(failed_waiters_));
  };
  for (auto& [number, window] : closed_) {
    keep(window.logged);
    keep(window.synced);
  }
  closed_.clear();
  if (!failure_.ok()) return;
  world_.Note(self_, "the log fails: ", status.message());
  failure_ = status;
  taken_.clear();
  for (auto& [id, slot] : slots_) {
    if (slot->replica.following() && slot->replica.damage().empty())
      slot->replica.SetDamage("its log failed: " + status.message());
  }
  cluster_.truth.OnLogFailed(*cluster_.ServerOf(disk_.node_file().node));
  world_.After(self_, world_.Between(10, kRecoverEveryMs) * 1000, Step::kNone, [this] { Recover(); });
}

void SimCore::Recover() {
  std::move(open_.logged.begin(), open_.logged.end(), std::back_inserter(failed_waiters_));
  std::move(open_.synced.begin(), open_.synced.end(), std::back_inserter(failed_waiters_));
  open_.logged.clear();
  open_.synced.clear();
  Window window;
  LogRecord record;
  dirty_.clear();
  for (auto& [id, slot] : slots_) {
    if (slot->shard->epoch() == 0 || slot->replica.following()) continue;
    slot->shard->RelogFrom(slot->folded.lsn, slot->folded.checksum);
    auto delta = slot->shard->BuildDelta();
    if (!delta.ok()) continue;  // not granted since the start
    AddSection(window, id, *slot, std::move(*delta), true, &record);
  }
  replicator_->Send();
  world_.After(
      self_, world_.Between(200, 2000), Step::kDeltaBuilt, [this, window, record = std::move(record)] {
        Status status = log_->failed() ? log_->StartFreshSegment() : Status::Ok();
        if (status.ok() && !record.sections.empty()) status = log_->Append({&record, 1});
        if (status.ok()) status = log_->Sync();
        world_.After(self_, 50, Step::kSynced, [this, window, status] { OnRecovered(window, status); });
      });
}

void SimCore::OnRecovered(const Window& window, const Status& status) {
  if (!status.ok()) {
    failure_ = status;
    world_.After(self_, kRecoverEveryMs * 1000, Step::kNone, [this] { Recover(); });
    return;
  }
  world_.Note(self_, "the log can be written again");
  failure_ = log_failure_ = Status::Ok();
  for (const LoggedShard& logged : window.lsns) {
    SimSlot* slot = GetSlot(logged);
    if (slot == nullptr) continue;
    slot->replica.LoggedHere(logged.lsn);
    slot->replica.SyncedHere(logged.lsn);
    slot->memory_appending = 0;
  }
  for (const Waiter& waiter : std::exchange(failed_waiters_, {})) waiter(Status::Ok());
  ScheduleClose(Step::kPushApplied);
}

bool SimCore::Quiet() const {
  if (!dirty_.empty() || !taken_.empty() || appending_ || !failure_.ok() || !closed_.empty()) return false;
  // Producers that are finished wait for the next delta, whenever that comes.
  return std::all_of(slots_.begin(), slots_.end(), [](const auto& entry) {
    return !entry.second->replica.granted() || entry.second->memory_due_ms == 0;
  });
}

}  // namespace penstock::sim
