#include "server/node/commit_window.h"

#include <glog/logging.h>

#include <algorithm>
#include <iterator>

#include "common/base/hash.h"
#include "common/base/mutant.h"

namespace penstock {
namespace {

void Append(CommitWindow::Waiters& from, CommitWindow::Waiters* to) {
  std::move(from.begin(), from.end(), std::back_inserter(*to));
  from.clear();
}

// The delta that is about to be written holds everything of the `memory` tables so far. Units of deltas that
// failed, or that a copy has not confirmed, are among those that are not known to be logged until this one
// is.
void TakeMemory(ShardSlot& slot, Lsn delta) {
  slot.memory_due_ms = 0;
  const Lsn told = std::exchange(slot.memory_told, 0);
  const bool logged = slot.replica.Logged() >= slot.memory_taken_in || !Defended(Defence::kToldIsLogged);
  if (logged || slot.memory_taken == 0) slot.memory_taken = told;
  slot.memory_taken_in = delta;
}

}  // namespace

void CommitWindow::Drop(ShardSlot& slot) {
  const auto of = [&slot](const Taken& taken) { return taken.slot == &slot; };
  shards_.erase(slot.id());
  std::erase(dirty_, &slot);
  std::erase_if(taken_, [&](const auto& entry) { return of(entry.first); });
  for (auto& [number, window] : closed_) std::erase_if(window.taken, of);
  std::erase_if(recovering_.taken, of);
}

// --- What changes.

Durability CommitWindow::Pushed(ShardSlot& slot, Shard::TableHandle table, Durability level,
                                const PushOutcome& outcome) {
  Durability waits = level;
  if (outcome.duplicate) {
    // Reached already at the asked level: nothing to wait for (rule 14).
    const Lsn reached = level == Durability::kSynced ? slot.replica.Synced() : slot.replica.Logged();
    if (outcome.lsn <= reached) waits = Durability::kMemory;
    if (!slot.shard->HasUnlogged(table)) return waits;
  }
  if (level != Durability::kMemory) {
    Touch(slot);
    return waits;
  }
  if (slot.memory_told == 0) slot.memory_told = outcome.lsn;
  if (slot.shard->MarksPress(table)) {
    TouchWhole(slot);  // half of a producer's window is in marks that are not logged yet
  } else {
    NoteMemoryDirty(slot);
  }
  return waits;
}

void CommitWindow::Touch(ShardSlot& slot) {
  if (slot.dirty) return;
  slot.dirty = true;
  dirty_.push_back(&slot);
}

void CommitWindow::Touch(ShardSlot& slot, Durability level) {
  if (level == Durability::kMemory) {
    NoteMemoryDirty(slot);
  } else {
    Touch(slot);
  }
}

void CommitWindow::TouchWhole(ShardSlot& slot) {
  slot.memory_due = true;
  Touch(slot);
}

void CommitWindow::TouchMemory(ShardSlot& slot) {
  if (slot.memory_due_ms != 0) TouchWhole(slot);
}

// As late as leaves an eighth of the lag for writing: hot rows are logged once a delta, with copies or
// without. Shards take turns, a quarter of the lag is spread over them, so that their copying is too.
void CommitWindow::NoteMemoryDirty(ShardSlot& slot) {
  if (slot.memory_due_ms != 0) return;
  const uint64_t quarter = memory_lag_ms_ / 4;
  slot.memory_due_ms = std::max<uint64_t>(1, now_ms_) + memory_lag_ms_ * 5 / 8 +
                       (quarter == 0 ? 0 : Mix64(slot.id()) % quarter);
}

void CommitWindow::Take(ShardSlot& slot, LogSection section) {
  taken_.emplace_back(Taken{.slot = &slot, .lsn = slot.shard->last_lsn()}, std::move(section));
}

void CommitWindow::Wait(Durability level, Waiter waiter) {
  (level == Durability::kSynced ? open_.synced : open_.logged).push_back(std::move(waiter));
}

CommitWindow::Actions CommitWindow::Tick(uint64_t now_ms, uint64_t log_generation) {
  now_ms_ = now_ms;
  for (const auto& [id, slot] : shards_) {
    if (slot->memory_due_ms != 0 && slot->memory_due_ms <= now_ms) TouchWhole(*slot);
  }
  // What this core has logged may be lost with what another one has.
  if (failure_.ok() && generation_ != log_generation)
    return Fail(Unavailable("the log failed under another core"));
  return {};
}

// --- Writing.

bool CommitWindow::HasOpen() const {
  return !dirty_.empty() || !taken_.empty() || !open_.logged.empty() || !open_.synced.empty();
}

bool CommitWindow::MayClose() const { return !appending_ && failure_.ok() && HasOpen(); }

std::optional<CommitWindow::Write> CommitWindow::Close(uint64_t now_ms) {
  if (!MayClose()) return std::nullopt;
  Window window = std::move(open_);
  open_ = {};
  open_.number = window.number + 1;
  Write write{.number = window.number, .generation = generation_, .sync = window.sync()};
  if (!AddSections(window, &write, now_ms)) {
    // Who waits, waits for the window that has everything.
    open_.logged = std::exchange(window.logged, {});
    open_.synced = std::exchange(window.synced, {});
    write.sync = false;
    if (window.taken.empty()) return std::nullopt;
  }
  appending_ = true;
  closed_.emplace(window.number, std::move(window));
  return write;
}

bool CommitWindow::AddSections(Window& window, Write* write, uint64_t now_ms) {
  for (auto& [taken, section] : taken_) {
    window.taken.push_back(taken);
    write->record.sections.push_back(std::move(section));
  }
  taken_.clear();
  for (ShardSlot* slot : std::exchange(dirty_, {})) {
    const Shard& shard = *slot->shard;
    const bool memory_too = slot->memory_due;
    auto delta = slot->shard->BuildDelta([&shard, memory_too](TableId table) {
      const TableSpec* spec = shard.FindSpec(table);
      return memory_too || spec == nullptr || LevelOf(*spec) != Durability::kMemory;
    });
    if (delta.ok()) {
      AddSection(window, *slot, std::move(*delta), memory_too, write, now_ms);
      continue;
    }
    if (delta.status().code() == Code::kFailedPrecondition) {
      slot->dirty = slot->memory_due = false;  // it is not served, and logs nothing of its own
      continue;
    }
    LOG(ERROR) << name_ << ": shard " << slot->id() << ": " << delta.status().ToString();
    dirty_.push_back(slot);  // with the next window
  }
  return dirty_.empty();
}

void CommitWindow::AddSection(Window& window, ShardSlot& slot, BuiltDelta delta, bool memory_too,
                              Write* write, uint64_t now_ms) {
  slot.dirty = slot.memory_due = false;
  if (memory_too) TakeMemory(slot, delta.lsn);
  window.taken.push_back({&slot, delta.lsn});
  write->built.push_back(&slot);
  const DeltaWords words(kj::mv(delta.words));
  if (CopySet* copies = slot.replica.copies())
    copies->Add({.lsn = delta.lsn, .checksum = delta.checksum, .words = words, .sync = write->sync}, now_ms);
  write->record.sections.push_back({slot.id(), slot.incarnation(), words, delta.checksum});
}

CommitWindow::Actions CommitWindow::OnLogged(uint64_t number, const Status& status) {
  appending_ = false;
  if (!status.ok()) return Fail(status);
  Actions actions;
  const auto it = closed_.find(number);
  if (it == closed_.end()) return actions;  // a failed sync took its waiters
  Window& window = it->second;
  for (const Taken& taken : window.taken) taken.slot->replica.LoggedHere(taken.lsn);
  actions.reached = std::exchange(window.logged, {});
  if (!window.sync()) closed_.erase(it);
  return actions;
}

CommitWindow::Actions CommitWindow::OnSynced(uint64_t number, const Status& status) {
  const auto it = closed_.find(number);
  if (it == closed_.end()) return {};  // a failure took its waiters
  if (!status.ok()) return Fail(status);
  Actions actions;
  // A sync covers everything that was appended before it.
  for (const Taken& taken : it->second.taken) taken.slot->replica.SyncedHere(taken.lsn);
  actions.reached = std::move(it->second.synced);
  closed_.erase(it);
  return actions;
}

// --- A log that failed.

void CommitWindow::KeepWaiters(Window& window) {
  Append(window.logged, &failed_waiters_);
  Append(window.synced, &failed_waiters_);
}

CommitWindow::Actions CommitWindow::Fail(const Status& status) {
  for (auto& [number, window] : closed_) KeepWaiters(window);
  closed_.clear();
  if (!failure_.ok()) return {};
  LOG(ERROR) << name_ << ": pushes are refused until the log can be written: " << status.message();
  failure_ = status;
  // What copies have taken since their last window, or in windows that failed, is not logged and is not
  // logged again: they are seeded anew.
  taken_.clear();
  for (const auto& [id, slot] : shards_) {
    if (slot->replica.following() && slot->replica.damage().empty())
      slot->replica.SetDamage("its log failed: " + status.message());
  }
  return {.reached = {}, .failed = true, .recover = true};
}

std::optional<CommitWindow::Write> CommitWindow::Recover(uint64_t now_ms) {
  KeepWaiters(open_);
  for (ShardSlot* slot : std::exchange(dirty_, {})) slot->dirty = false;
  recovering_ = {};
  Write write{.generation = generation_, .sync = true, .recovery = true};
  for (const auto& [id, slot] : shards_) {
    if (slot->shard->epoch() == 0 || slot->replica.following())
      continue;  // never served, so nothing of its own
    slot->shard->RelogFrom(slot->folded.lsn, slot->folded.checksum);
    auto delta = slot->shard->BuildDelta();
    if (!delta.ok() && delta.status().code() == Code::kFailedPrecondition)
      continue;  // not granted since the start
    if (!delta.ok()) {
      LOG(ERROR) << name_ << ": shard " << id << ": " << delta.status().ToString();
      return std::nullopt;
    }
    AddSection(recovering_, *slot, std::move(*delta), true, &write, now_ms);
  }
  return write;
}

CommitWindow::Actions CommitWindow::OnRecovered(const Status& status, uint64_t log_generation) {
  if (!status.ok()) {
    failure_ = status;
    return {.reached = {}, .recover = true};
  }
  generation_ = log_generation;
  failure_ = Status::Ok();
  LOG(WARNING) << name_ << ": the log can be written again; " << recovering_.taken.size()
               << " shards were logged anew";
  for (const Taken& taken : recovering_.taken) {
    taken.slot->replica.LoggedHere(taken.lsn);
    taken.slot->replica.SyncedHere(taken.lsn);
  }
  recovering_ = {};
  return {.reached = std::exchange(failed_waiters_, {})};
}

}  // namespace penstock
