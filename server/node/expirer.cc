#include "server/node/expirer.h"

#include <glog/logging.h>

#include <algorithm>

namespace penstock {
namespace {

constexpr size_t kSliceRows = 4096;
constexpr size_t kPieceRows = 8192;       // of the base
constexpr uint64_t kPauseMs = 1;          // between slices
constexpr uint64_t kLaterMs = 100;        // while the core refuses pushes or tombstones are at their bound
constexpr uint64_t kTombstoneShare = 8;   // of the memory budget
constexpr uint64_t kFoldShare = 8;        // of the base, and
constexpr uint64_t kFoldBytes = 1 << 20;  // so much at least

}  // namespace

Expirer::Expirer(KjLoop& loop, ServerCore& core, ServerMetrics& metrics, uint64_t interval_ms)
    : loop_(loop), core_(core), metrics_(metrics), interval_ms_(interval_ms), tasks_(*this) {
  tasks_.add(loop_.Sleep(interval_ms_).then([this] { Tick(); }));
}

void Expirer::taskFailed(kj::Exception&& e) {
  LOG(ERROR) << core_.options().node_name << ": expiry: " << e.getDescription().cStr();
}

void Expirer::Tick() {
  // What the last tick asked for is still being done on a core with much to scan.
  if (routine_.empty()) {
    for (const ShardId shard : core_.shards().Ids()) {
      if (FindServed(shard) == nullptr) continue;
      for (const auto& [id, spec] : core_.tables()) {
        if (!spec.expiry.any() || !MayBeDue(shard, spec)) continue;
        routine_.push_back(std::make_shared<Scan>());
        routine_.back()->shard = shard;
        routine_.back()->table = id;
      }
    }
    Wake();
  }
  tasks_.add(loop_.Sleep(interval_ms_).then([this] { Tick(); }));
}

ShardSlot* Expirer::FindServed(ShardId shard) const {
  ShardSlot* slot = core_.Held(shard);
  return slot != nullptr && slot->replica.granted() ? slot : nullptr;
}

bool Expirer::MayBeDue(ShardId shard, const TableSpec& spec) {
  const auto last = last_.find({shard, spec.id});
  if (last == last_.end()) return true;
  const auto now = FindServed(shard)->shard->BeginExpiry(spec.id, SecondsNow(), grace_seconds());
  return now.ok() && TouchAge(spec.expiry, last->second.touch, now->now) >= last->second.wait;
}

std::shared_ptr<Expirer::Scan> Expirer::Ask(uint64_t run, ShardId shard, TableId table, bool dry_run) {
  if (run != run_) run_scans_.clear();
  run_ = run;
  auto& scan = run_scans_[{shard, table}];
  // Another scan begins where the last one failed.
  if (scan == nullptr || (scan->done && !scan->status.ok())) {
    scan = std::make_shared<Scan>();
    scan->shard = shard;
    scan->table = table;
    scan->dry_run = dry_run;
    asked_.push_back(scan);
    Wake();
  }
  return scan;
}

kj::Promise<void> Expirer::Wait(const std::vector<std::shared_ptr<Scan>>& scans, uint64_t at_most_ms) {
  kj::Vector<kj::Promise<void>> done;
  for (const auto& scan : scans) {
    if (scan->done) continue;
    auto paf = kj::newPromiseAndFulfiller<void>();
    scan->waiters.push_back(kj::mv(paf.fulfiller));
    done.add(kj::mv(paf.promise));
  }
  return kj::joinPromises(done.releaseAsArray()).exclusiveJoin(loop_.Sleep(at_most_ms));
}

void Expirer::Wake() {
  if (turning_ || (asked_.empty() && routine_.empty())) return;
  turning_ = true;
  tasks_.add(kj::evalLater([this] { Turn(); }));
}

void Expirer::Turn() {
  const auto scan = (asked_.empty() ? routine_ : asked_).front();
  tasks_.add(kj::evalNow([&] { return Slice(scan); })
                 .then([this, scan](Next next) { After(scan, next); },
                       [this, scan](kj::Exception&& e) {
                         // The others shall not wait for it for ever.
                         scan->status = Internal(std::string("expiry: ") + e.getDescription().cStr());
                         After(scan, Next::kEnd);
                       }));
}

void Expirer::After(const std::shared_ptr<Scan>& scan, Next next) {
  if (next == Next::kEnd) {
    auto& queue = !asked_.empty() && asked_.front() == scan ? asked_ : routine_;
    queue.pop_front();
    Finish(*scan);
  }
  turning_ = !asked_.empty() || !routine_.empty();
  if (!turning_) return;
  tasks_.add(loop_.Sleep(next == Next::kLater ? kLaterMs : kPauseMs).then([this] { Turn(); }));
}

kj::Promise<Expirer::Next> Expirer::Slice(const std::shared_ptr<Scan>& scan) {
  if (!scan->dry_run && !core_.Writable().ok()) return Next::kLater;
  const ShardSlot* slot = FindServed(scan->shard);
  const bool handed_over = slot != nullptr && !slot->replica.Writable(Durability::kMemory, 0).ok();
  if (!scan->dry_run && handed_over) return Next::kLater;
  if (slot == nullptr || (scan->moment && slot->incarnation() != scan->incarnation)) {
    scan->status = WrongEpoch("shard " + std::to_string(scan->shard) + " is not served by " +
                              core_.options().node_name + " any more");
    return Next::kEnd;
  }
  Shard* shard = slot->shard;
  // Touches of rows that have not been read say what time it is, too.
  if (shard->Loading(scan->table)) return Next::kLater;
  if (!scan->moment) {
    const auto begun = shard->BeginExpiry(scan->table, SecondsNow(), grace_seconds());
    scan->status = begun.status();
    if (!begun.ok()) return Next::kEnd;
    scan->moment = *begun;
    scan->incarnation = shard->incarnation();
  }
  if (!scan->cold) return SliceMemory(*scan, *shard);
  return SliceBase(scan, *shard);
}

Expirer::Next Expirer::SliceMemory(Scan& scan, Shard& shard) {
  const uint64_t before = scan.tally.expired();
  const auto all =
      shard.ExpireRows(scan.table, *scan.moment, scan.dry_run, kSliceRows, &scan.row, &scan.tally);
  scan.status = all.status();
  NoteDeleted(scan, before);
  if (!all.ok()) return Next::kEnd;
  if (!*all) return Next::kSlice;
  scan.tally.rows += shard.cold_rows(scan.table);
  scan.cold = true;
  return shard.cold_rows(scan.table) == 0 ? Next::kEnd : Next::kSlice;
}

kj::Promise<Expirer::Next> Expirer::SliceBase(const std::shared_ptr<Scan>& scan, Shard& shard) {
  const TableSpec* spec = shard.FindSpec(scan->table);
  if (spec == nullptr) return Next::kEnd;  // dropped meanwhile
  if (!scan->dry_run && core_.TombstoneBytes() > core_.options().memory_budget_bytes / kTombstoneShare) {
    core_.WantFold();
    return Next::kLater;
  }
  return core_.scan()
      .Read([spec = *spec, incarnation = scan->incarnation, moment = *scan->moment,
             key = scan->key](const BaseStore& base) {
        return FindDueRows(base, incarnation, spec, moment, key, kPieceRows);
      })
      .then([this, scan, folded = shard.folded_lsn()](Result<DueRows>&& due) {
        return TakeDue(*scan, folded, due);
      });
}

// A row that is cold now is in the base as it was read, unless a fold came between: then the piece is read
// again.
Expirer::Next Expirer::TakeDue(Scan& scan, Lsn folded, const Result<DueRows>& due) {
  const ShardSlot* slot = FindServed(scan.shard);
  if (slot == nullptr || slot->incarnation() != scan.incarnation) return Next::kSlice;
  Shard* shard = slot->shard;
  scan.status = due.status();
  if (!due.ok()) return Next::kEnd;
  if (shard->folded_lsn() != folded) return Next::kSlice;
  if (!scan.dry_run && !slot->replica.Writable(Durability::kMemory, 0).ok()) return Next::kLater;
  const uint64_t before = scan.tally.expired();
  scan.status = shard->ExpireColdRows(scan.table, due->rows, scan.dry_run, &scan.tally);
  scan.tally.wait = std::min(scan.tally.wait, due->wait);
  NoteDeleted(scan, before);
  scan.key = due->next.value_or(0);
  return !due->next || !scan.status.ok() ? Next::kEnd : Next::kSlice;
}

void Expirer::NoteDeleted(const Scan& scan, uint64_t before) {
  const uint64_t deleted = scan.tally.expired() - before;
  if (scan.dry_run || deleted == 0) return;
  metrics_.expired_rows += deleted;
  ShardSlot& slot = *FindServed(scan.shard);
  deleted_bytes_ += deleted * slot.shard->row_bytes(scan.table);
  core_.NoteDeleted(slot, scan.table);
}

void Expirer::Finish(Scan& scan) {
  scan.done = true;
  const auto spec = core_.tables().find(scan.table);
  if (scan.status.ok() && scan.moment && spec != core_.tables().end()) {
    // A row that was pushed since the beginning can be due by the shortest rule.
    const ExpirySpec& rules = spec->second.expiry;
    uint32_t wait = scan.tally.wait;
    if (rules.ttl_seconds > 0) wait = std::min(wait, rules.ttl_seconds);
    if (rules.unused_passes > 0) wait = std::min(wait, rules.unused_passes + 1);
    if (rules.min_norm > 0) wait = std::min(wait, scan.moment->grace);
    if (scan.dry_run && scan.tally.expired() > 0) wait = 0;
    last_[{scan.shard, scan.table}] = {scan.moment->now, wait};
  }
  FoldIfWorth();
  for (auto& waiter : scan.waiters) waiter->fulfill();
  scan.waiters.clear();
}

// The space of many deleted rows is worth a fold before the log is long.
void Expirer::FoldIfWorth() {
  if (fold_waits_ || deleted_bytes_ <= std::max(kFoldBytes, core_.scan().base().DiskBytes() / kFoldShare))
    return;
  if (core_.WantFold()) {
    deleted_bytes_ = 0;
    return;
  }
  fold_waits_ = true;
  tasks_.add(loop_.Sleep(kLaterMs).then([this] {
    fold_waits_ = false;
    FoldIfWorth();
  }));
}

}  // namespace penstock
