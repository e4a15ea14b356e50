#include "server/node/expirer.h"

#include <glog/logging.h>

#include <algorithm>

namespace penstock {
namespace {

constexpr size_t kSliceRows = 4096;
constexpr uint64_t kPauseMs = 1;      // between slices
constexpr uint64_t kRefusedMs = 100;  // while the core refuses pushes

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
    for (const ShardId shard : core_.Served()) {
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

bool Expirer::MayBeDue(ShardId shard, const TableSpec& spec) {
  const auto last = last_.find({shard, spec.id});
  if (last == last_.end()) return true;
  const auto now = core_.ServedShard(shard)->BeginExpiry(spec.id, SecondsNow(), grace_seconds());
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
  auto& queue = asked_.empty() ? routine_ : asked_;
  const auto scan = queue.front();
  const bool refused = !scan->dry_run && !core_.Writable().ok();
  if (!refused && Slice(*scan)) {
    queue.pop_front();
    Finish(*scan);
  }
  turning_ = false;
  if (asked_.empty() && routine_.empty()) return;
  turning_ = true;
  tasks_.add(loop_.Sleep(refused ? kRefusedMs : kPauseMs).then([this] { Turn(); }));
}

bool Expirer::Slice(Scan& scan) {
  Shard* shard = core_.ServedShard(scan.shard);
  if (shard == nullptr) {
    scan.status = WrongEpoch("shard " + std::to_string(scan.shard) + " is not served by " +
                             core_.options().node_name + " any more");
    return true;
  }
  if (!scan.moment) {
    const auto begun = shard->BeginExpiry(scan.table, SecondsNow(), grace_seconds());
    scan.status = begun.status();
    if (!begun.ok()) return true;
    scan.moment = *begun;
  }
  const uint64_t before = scan.tally.expired();
  const auto all =
      shard->ExpireRows(scan.table, *scan.moment, scan.dry_run, kSliceRows, &scan.row, &scan.tally);
  scan.status = all.status();
  if (!scan.dry_run && scan.tally.expired() > before) {
    metrics_.expired_rows += scan.tally.expired() - before;
    core_.NoteDeleted(scan.shard, scan.table);
  }
  return !all.ok() || *all;
}

void Expirer::Finish(Scan& scan) {
  scan.done = true;
  const auto spec = core_.tables().find(scan.table);
  if (scan.status.ok() && spec != core_.tables().end()) {
    // A row that was pushed since the beginning can be due by the shortest rule.
    const ExpirySpec& rules = spec->second.expiry;
    uint32_t wait = scan.tally.wait;
    if (rules.ttl_seconds > 0) wait = std::min(wait, rules.ttl_seconds);
    if (rules.unused_passes > 0) wait = std::min(wait, rules.unused_passes + 1);
    if (rules.min_norm > 0) wait = std::min(wait, scan.moment->grace);
    if (scan.dry_run && scan.tally.expired() > 0) wait = 0;
    last_[{scan.shard, scan.table}] = {scan.moment->now, wait};
  }
  for (auto& waiter : scan.waiters) waiter->fulfill();
  scan.waiters.clear();
}

}  // namespace penstock
