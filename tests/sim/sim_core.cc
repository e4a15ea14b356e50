// A push's way through a simulated server: applied, built, appended, synced, answered; and a log that fails.
#include "tests/sim/sim_core.h"

#include <algorithm>

#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_replicator.h"

namespace penstock::sim {
namespace {

constexpr uint64_t kMemoryLagMs = 1600;

}  // namespace

SimCore::SimCore(SimCluster& cluster, Endpoint self, const std::string& name, SimDisk& disk)
    : cluster_(cluster),
      world_(cluster.world),
      self_(self),
      name_(name),
      disk_(disk),
      tables_(disk.node_file().tables),
      window_(name, kMemoryLagMs, generation_),
      replicator_(std::make_unique<SimReplicator>(cluster, *this, self, name)) {
  MemoryTick();
}
SimCore::~SimCore() = default;

SimSlot* SimCore::GetSlot(ShardId shard) const {
  const auto found = slots_.find(shard);
  return found == slots_.end() ? nullptr : found->second.get();
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
  answer.held = slot->shard->held_before();
  const TableSpec* spec = slot->shard->FindSpec(request.table);
  const Durability asked = spec == nullptr ? Durability::kMemory : spec->durability;
  if (!answer.status.ok() || level == Durability::kMemory) return Answer(request, asked, answer, reply);
  Reached(level, [this, request, answer, asked, level, delta = slot->replica.DeltaAt(answer.lsn),
                  reply]() mutable {
    replicator_->Wait({delta}, level, [this, request, answer, asked, reply](Status confirmed) mutable {
      if (!confirmed.ok()) answer.status = OutcomeUnknown(confirmed.message());
      Answer(request, asked, answer, reply);
    });
  });
}

PushAnswer SimCore::Apply(const PushRequest& request, SimSlot& slot, Durability* level) {
  if (const Status& failure = window_.failure(); !failure.ok())
    return {.status = Status(Code::kOverloaded, failure.message(), CommitWindow::kRecoverEveryMs)};
  const TableSpec* spec = slot.shard->FindSpec(request.table);
  if (spec == nullptr) return {.status = Unavailable("the table is not known here", 50)};
  const Durability asked = LevelOf(*spec);
  if (Status writable = slot.replica.Writable(asked, world_.now_ms()); !writable.ok())
    return {.status = writable};
  const auto outcome = slot.shard->PushUnit(request.unit, request.table, request.keys, request.values.data());
  if (!outcome.ok()) return {.status = outcome.status()};
  if (!outcome->duplicate) {
    slot.applied[request.number] = outcome->lsn;
    slot.unwritten[request.number] = {request.table, request.keys.front(), outcome->lsn};
    world_.Note(self_, "applied unit ", request.number, " to shard ", request.shard, ", lsn ", outcome->lsn);
  }
  *level = window_.Pushed(slot, slot.shard->Serving(request.table), asked, *outcome);
  ScheduleClose(Step::kPushApplied);
  return {.lsn = outcome->lsn};
}

void SimCore::Answer(const PushRequest& request, Durability level, PushAnswer answer,
                     const std::function<void(PushAnswer)>& reply) {
  if (const SimSlot* slot = GetSlot(request.shard)) {
    answer.logged = slot->Logged();
    cluster_.truth.OnSaidLogged(self_, *slot);
    if (answer.status.ok()) cluster_.truth.OnAnswered(self_, *slot, request, level, answer);
  }
  reply(answer);
}

PushAnswer SimCore::AskLogged(ShardId shard, Epoch epoch) const {
  const SimSlot* slot = GetSlot(shard);
  if (slot == nullptr) return {.status = WrongEpoch("not served here")};
  const Epoch present = slot->replica.granted() ? slot->shard->epoch() : 0;
  if (Status served = slot->replica.Serves(epoch); !served.ok()) return {.status = served, .epoch = present};
  cluster_.truth.OnSaidLogged(self_, *slot);
  return {.epoch = present,
          .lsn = slot->shard->last_lsn(),
          .logged = slot->Logged(),
          .held = slot->shard->held_before()};
}

// --- Windows.

void SimCore::Reached(Durability level, CommitWindow::Waiter waiter) {
  window_.Wait(level, std::move(waiter));
  ScheduleClose(Step::kPushApplied);
}

void SimCore::CloseWhole(ShardId id) {
  window_.TouchWhole(*GetSlot(id));
  ScheduleClose(Step::kNone);
}

void SimCore::SyncCopies(ShardId id) {
  window_.Touch(*GetSlot(id));
  Reached(Durability::kSynced, [] {});
}

void SimCore::MemoryTick() {
  Perform(window_.Tick(world_.now_ms(), generation_));
  world_.After(self_, 100'000, Step::kNone, [this] { MemoryTick(); });
}

void SimCore::ScheduleClose(Step step) {
  if (close_scheduled_ || !window_.MayClose()) return;
  close_scheduled_ = true;
  world_.After(self_, world_.Between(10, 300), step, [this] {
    close_scheduled_ = false;
    Close();
  });
}

void SimCore::Close() {
  auto write = window_.Close(world_.now_ms());
  if (!write) return;
  NoteBuilt(*write);
  world_.After(self_, world_.Between(100, 800), Step::kDeltaBuilt,
               [this, write = std::move(*write)] { Write(write); });
}

void SimCore::NoteBuilt(const CommitWindow::Write& write) {
  for (const ShardSlot* slot : write.built) {
    const Shard& shard = *slot->shard;
    cluster_.truth.OnDelta(shard.id(), shard.epoch(), shard.last_lsn());
    world_.Note(self_, "delta ", shard.last_lsn(), " of shard ", shard.id(), ", epoch ", shard.epoch());
    if (const CopySet* copies = slot->replica.copies()) replicator_->NoteAdded(*copies);
  }
  replicator_->Send();
}

void SimCore::Perform(CommitWindow::Actions actions) {
  if (actions.failed) {
    world_.Note(self_, "the log fails: ", window_.failure().message());
    cluster_.truth.OnLogFailed(*cluster_.ServerOf(disk_.node_file().node));
  }
  if (actions.recover) {
    world_.After(self_, world_.Between(10, CommitWindow::kRecoverEveryMs) * 1000, Step::kNone,
                 [this] { Recover(); });
  }
  for (CommitWindow::Waiter& waiter : actions.reached) std::move(waiter)();
  ScheduleClose(Step::kPushApplied);
}

// --- The log.

void SimCore::SetLogFailure(const Status& status) {
  log_failure_ = status;
  ++generation_;
}

Status SimCore::AppendAndNote(const LogRecord& record) {
  if (record.sections.empty()) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(log_->Append({&record, 1}));
  for (const LogSection& section : record.sections) {
    SimSlot* slot = GetSlot(section.shard);
    if (slot != nullptr && slot->incarnation() == section.incarnation) Truth::OnWritten(section, *slot);
  }
  return Status::Ok();
}

// The appender's thread.
void SimCore::Write(const CommitWindow::Write& write) {
  const uint64_t generation = generation_;
  Status status = write.generation == generation ? AppendAndNote(write.record) : log_failure_;
  if (!status.ok() && write.generation == generation) SetLogFailure(status);
  world_.After(self_, world_.Between(10, 200), Step::kAppended,
               [this, number = write.number, status] { Perform(window_.OnLogged(number, status)); });
  if (!write.sync) return;
  synced_us_ = std::max(synced_us_ + 1, world_.now_us() + world_.Between(300, 3000));
  world_.After(self_, synced_us_ - world_.now_us(), Step::kAppended,
               [this, number = write.number, generation = write.generation] { Sync(number, generation); });
}

// The syncer's.
void SimCore::Sync(uint64_t number, uint64_t generation) {
  Status status = generation == generation_ ? log_->Sync() : log_failure_;
  if (!status.ok() && generation == generation_) SetLogFailure(status);
  world_.After(self_, 60, Step::kSynced,
               [this, number, status] { Perform(window_.OnSynced(number, status)); });
}

void SimCore::Recover() {
  auto write = window_.Recover(world_.now_ms());
  if (!write) return Perform({.reached = {}, .recover = true});
  NoteBuilt(*write);
  world_.After(self_, world_.Between(200, 2000), Step::kDeltaBuilt,
               [this, write = std::move(*write)] { WriteRecovery(write); });
}

void SimCore::WriteRecovery(const CommitWindow::Write& write) {
  Status status = log_->failed() ? log_->StartFreshSegment() : Status::Ok();
  if (status.ok()) status = AppendAndNote(write.record);
  if (status.ok()) status = log_->Sync();
  if (!status.ok()) SetLogFailure(status);
  world_.After(self_, 50, Step::kSynced, [this, status] {
    if (status.ok()) world_.Note(self_, "the log can be written again");
    Perform(window_.OnRecovered(status, generation_));
  });
}

bool SimCore::Quiet() const {
  // Producers that are finished wait for the next delta, whenever that comes.
  return window_.Quiet() && std::all_of(slots_.begin(), slots_.end(), [](const auto& entry) {
           return !entry.second->replica.granted() || entry.second->memory_due_ms == 0;
         });
}

}  // namespace penstock::sim
