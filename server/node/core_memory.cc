// How a core keeps within its memory: the account, eviction, early folds, and calls that wait for cold rows.
#include <glog/logging.h>

#include <algorithm>

#include "common/base/strings.h"
#include "server/node/core.h"

namespace penstock {
namespace {

constexpr uint32_t kPushesBetweenLooks = 512;  // how stale the account may be
constexpr size_t kEvictedShare = 16;           // of a table's rows at a time
constexpr size_t kCompactBytes = 64 << 10;     // less than this in free rows is not worth moving rows
constexpr int kEvictions = 3;                  // tries to make room for one unit
constexpr uint32_t kRetryMs = 50;
constexpr uint32_t kLoadingRetryMs = 200;
constexpr int kRoomTries = 60;        // of so many milliseconds each
constexpr size_t kFlushedShards = 4;  // at a time
constexpr size_t kFetchRows = 8192;   // of a batch
constexpr size_t kScanRows = 4096;    // at a time, so that fetches need not wait for a whole table
constexpr int kFetches = 4;           // tries for one unit

}  // namespace

// --- The account.

uint64_t ServerCore::ResidentBytes() {
  if (pushes_since_look_++ % kPushesBetweenLooks == 0) {
    resident_bytes_ = 0;
    for (const auto& [id, slot] : slots_) resident_bytes_ += slot->shard->ResidentBytes();
  }
  return resident_bytes_;
}

uint64_t ServerCore::GrowthLeft() {
  const uint64_t resident = ResidentBytes();
  return options_.memory_budget_bytes > resident ? options_.memory_budget_bytes - resident : 0;
}

Result<PushOutcome> ServerCore::Push(Shard& shard, const Unit& unit) {
  for (int evictions = 0;; ++evictions) {
    auto outcome = shard.PushUnit(unit.context, unit.table, unit.keys, unit.values, GrowthLeft());
    if (!outcome.ok()) return outcome;
    resident_bytes_ += outcome->grown_bytes;
    if (outcome->lacks_bytes == 0) return outcome;
    const std::string budget =
        "the memory budget of " + std::to_string(options_.memory_budget_bytes) + " bytes a core";
    if (outcome->lacks_bytes > options_.memory_budget_bytes) {
      return InvalidArgument("a unit of " + std::to_string(unit.keys.size()) + " rows needs " +
                             std::to_string(outcome->lacks_bytes) + " bytes, which is over " + budget +
                             "; push fewer rows at once");
    }
    if (few_clean_rows_ || evictions == kEvictions) {
      if (evictable_rows_ > 0) WantFold();
      return Overloaded(budget + " is reached by rows that cannot leave memory now", kRetryMs);
    }
    Evict(shard.id(), unit.table, outcome->lacks_bytes / shard.row_bytes(unit.table));
  }
}

// Every table gives a share of its rows, and the one that needs room at least as many as it needs. What a
// table got free the last time and has no use for goes back to the system, and so to the others; all of it
// does when the budget is exceeded.
void ServerCore::Evict(ShardId needs_room, TableId needy, size_t needed) {
  const bool over =
      ResidentBytes() > options_.memory_budget_bytes + options_.memory_budget_bytes / kEvictedShare;
  size_t wanted = 0, evicted = 0;
  evictable_rows_ = 0;
  for (auto& [id, slot] : slots_) {
    Shard& shard = *slot->shard;
    for (const TableId table : shard.TableIds()) {
      const size_t rows = shard.rows_in_memory(table);
      const bool needs = id == needs_room && table == needy;
      size_t share = (rows + kEvictedShare - 1) / kEvictedShare;
      const size_t free = shard.free_rows(table);
      if (free * shard.row_bytes(table) >= kCompactBytes && (over ? !needs : 2 * free >= share))
        shard.Compact(table);
      if (rows == 0) continue;
      if (needs) share = std::min(rows, std::max(share, needed));
      wanted += share;
      evicted += shard.EvictRows(table, share);
      evictable_rows_ += rows;
    }
  }
  metrics_.evicted_rows += evicted;
  if (2 * evicted < wanted) WantFold();
  few_clean_rows_ = 4 * evicted < wanted;
  pushes_since_look_ = 0;
}

// For what a delta of the primary brings. What cannot be made room for goes over the budget until the next
// eviction: a backup that refused would only have to be seeded again.
void ServerCore::MakeRoom(Shard& shard, proto::Delta::Reader delta) {
  for (const auto entry : delta.getTables()) {
    const size_t rows = entry.getKeys().size() / sizeof(Key);
    const size_t bytes = shard.GrowthBytes(entry.getTable(), rows);
    if (bytes > GrowthLeft()) {
      if (few_clean_rows_) {
        WantFold();
      } else {
        Evict(shard.id(), entry.getTable(), rows);
      }
    }
    resident_bytes_ += bytes;
  }
}

bool ServerCore::TakeRoom(const Shard& shard, TableId table, size_t rows) {
  const size_t bytes = shard.GrowthBytes(table, rows);
  if (bytes > GrowthLeft()) return false;
  resident_bytes_ += bytes;
  return true;
}

kj::Promise<void> ServerCore::AwaitRoom(int tries) {
  const bool full = few_clean_rows_ && ResidentBytes() > options_.memory_budget_bytes;
  if (tries == kRoomTries || (!full && metrics_.log_bytes <= options_.log_limit_bytes)) return kj::READY_NOW;
  return loop_.Sleep(kRetryMs).then([this, tries] { return AwaitRoom(tries + 1); });
}

bool ServerCore::WantFold() {
  if (fold_wanted_ || !window_.failure().ok()) return false;
  fold_wanted_ = true;
  metrics_.early_folds++;
  // What `memory` tables hold back is not clean before it is logged.
  Spawn(FlushSome(Held()).then([this] { asks_.fold(); }), "flush for a fold");
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

// --- Cold rows.

ServerCore::ColdWait::ColdWait(ServerCore& core, uint64_t bytes) : core_(core), bytes_(bytes) {
  core_.waiting_bytes_ += bytes_;
  core_.metrics_.waiting_calls++;
}

ServerCore::ColdWait::~ColdWait() {
  core_.waiting_bytes_ -= bytes_;
  core_.metrics_.waiting_calls--;
  if (pinned_.empty()) return;
  ShardSlot* slot = core_.GetSlot(shard_);
  if (slot != nullptr && slot->shard->incarnation() == incarnation_) slot->shard->Unpin(table_, pinned_);
}

void ServerCore::ColdWait::Pin(Shard& shard, TableId table, std::span<const Key> keys) {
  shard_ = shard.id();
  incarnation_ = shard.incarnation();
  table_ = table;
  pinned_ = keys;
  shard.Pin(table, keys);
}

Result<kj::Own<ServerCore::ColdWait>> ServerCore::WaitForRows(uint64_t bytes) {
  if (waiting_bytes_ > 0 && waiting_bytes_ + bytes > options_.memory_budget_bytes / 2) {
    return Overloaded(
        options_.node_name + ": calls that wait for rows from the disk hold half of the memory budget",
        kRetryMs);
  }
  return kj::heap<ColdWait>(*this, bytes);
}

kj::Promise<Status> ServerCore::Fetch(ShardId id, TableId table, std::span<const Key> keys) {
  ShardSlot* slot = GetSlot(id);
  if (slot == nullptr) return Status::Ok();
  const Incarnation incarnation = slot->shard->incarnation();
  for (const RowFetch& fetch : slot->shard->BeginFetch(table, keys)) {
    if (collecting_ == nullptr) {
      collecting_ = std::make_unique<FetchBatch>();
      // With what the requests want that have arrived together with this one.
      Spawn(kj::evalLast([this] { SubmitFetches(); }), "fetch");
    }
    collecting_->rows.push_back({{incarnation, table, fetch.key}, id, fetch.number});
    if (collecting_->rows.size() >= kFetchRows) SubmitFetches();
  }
  // Batches are done in order, so the last one is done when all are that have some of the keys.
  FetchBatch* last = collecting_ != nullptr ? collecting_.get()
                     : fetching_.empty()    ? nullptr
                                            : fetching_.back().get();
  if (last == nullptr) return Status::Ok();
  auto paf = kj::newPromiseAndFulfiller<Status>();
  last->waiters.push_back({id, table, kj::mv(paf.fulfiller)});
  return kj::mv(paf.promise);
}

void ServerCore::SubmitFetches() {
  if (collecting_ == nullptr) return;
  std::sort(collecting_->rows.begin(), collecting_->rows.end());
  std::vector<RowPlace> places;
  for (const auto& row : collecting_->rows) places.push_back(row.place);
  FetchBatch* batch = collecting_.get();
  fetching_.push_back(std::move(collecting_));
  Spawn(ReadBase([places = std::move(places)](const BaseStore& base) {
          return base.GetRows(places);
        }).then([this, batch](Result<StoredRows>&& rows) { OnFetched(batch, std::move(rows)); }),
        "fetched rows");
}

void ServerCore::OnFetched(FetchBatch* fetched, Result<StoredRows> rows) {
  const auto at = std::find_if(fetching_.begin(), fetching_.end(),
                               [&](const auto& batch) { return batch.get() == fetched; });
  const std::unique_ptr<FetchBatch> batch = std::move(*at);
  fetching_.erase(at);
  std::map<std::pair<ShardId, TableId>, Status> failed;
  if (rows.ok()) {
    Install(*batch, *rows, &failed);
  } else {
    LOG(ERROR) << options_.node_name << ": core " << options_.core << ": " << rows.status().ToString();
    for (const auto& row : batch->rows) {
      ShardSlot* slot = GetSlot(row.shard);
      if (slot != nullptr && slot->shard->incarnation() == row.place.incarnation)
        slot->shard->AbandonFetch(row.place.table, {row.place.key, row.number});
      failed.emplace(std::pair(row.shard, row.place.table), rows.status());
    }
  }
  for (auto& waiter : batch->waiters) {
    const auto failure = failed.find({waiter.shard, waiter.table});
    waiter.done->fulfill(failure == failed.end() ? Status::Ok() : Status(failure->second));
  }
}

// What the rows need beyond the room that can be made goes over the budget until the next eviction.
void ServerCore::Install(const FetchBatch& batch, const StoredRows& rows,
                         std::map<std::pair<ShardId, TableId>, Status>* failed) {
  bool may_evict = true;
  for (size_t first = 0, end = 0; first < batch.rows.size(); first = end) {
    const auto& [place, id, number] = batch.rows[first];
    while (end < batch.rows.size() && batch.rows[end].shard == id &&
           batch.rows[end].place.incarnation == place.incarnation &&
           batch.rows[end].place.table == place.table) {
      ++end;
    }
    ShardSlot* slot = GetSlot(id);
    if (slot == nullptr || slot->shard->incarnation() != place.incarnation) continue;
    Shard& shard = *slot->shard;
    const size_t count = end - first;
    if (shard.GrowthBytes(place.table, count) > GrowthLeft()) {
      if (may_evict) {
        Evict(id, place.table, count);
      } else {
        metrics_.evicted_rows += shard.EvictRows(place.table, count);
      }
      may_evict = false;
    }
    resident_bytes_ += shard.GrowthBytes(place.table, end - first);
    for (size_t i = first; i < end; ++i) {
      const RowFetch fetch{.key = batch.rows[i].place.key, .number = batch.rows[i].number};
      if (!rows.found(i)) {
        shard.InstallAbsent(place.table, fetch);
        metrics_.absent_rows++;
        continue;
      }
      const BaseRow row = rows.row(i);
      const Status installed = shard.InstallRow(
          place.table, fetch, row.lsn, {.push_count = row.push_count, .flags = row.flags}, row.floats);
      metrics_.fetched_rows++;
      if (installed.ok()) continue;
      LOG(ERROR) << options_.node_name << ": " << installed.ToString();
      failed->emplace(std::pair(id, place.table), installed);
    }
  }
}

kj::Promise<ServerCore::Applied> ServerCore::ApplyCold(ShardId id, Epoch epoch, const Unit& unit,
                                                       std::vector<Key> cold) {
  Shard& shard = *GetSlot(id)->shard;
  auto wait = WaitForRows(unit.keys.size() * shard.row_bytes(unit.table));
  if (!wait.ok()) return Applied{.status = wait.status()};
  (*wait)->Pin(shard, unit.table, unit.keys);
  return Fetch(id, unit.table, cold)
      .then([this, id, epoch, unit](Status&& fetched) -> kj::Promise<Applied> {
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
  Applied applied = Apply(id, unit);
  if (applied.cold.empty()) return applied;
  if (attempts == kFetches)
    return Applied{.status =
                       Overloaded(options_.node_name + ": rows of the unit left memory again", kRetryMs)};
  return Fetch(id, unit.table, applied.cold)
      .then([this, id, epoch, unit, attempts](Status&& fetched) -> kj::Promise<Applied> {
        if (!fetched.ok()) return Applied{.status = fetched};
        return ApplyFetched(id, epoch, unit, attempts + 1);
      });
}

// --- Scans.

Status ServerCore::NoteBase(const Status& read) {
  if (read.code() != Code::kDataLoss) return read;
  asks_.base_damaged(read);
  return Unavailable(StrCat(options_.node_name, ": ", read.message()), kRetryMs);
}

Status ServerCore::Loaded(ShardId id, TableId table) const {
  const ShardSlot* slot = GetSlot(id);
  if (slot == nullptr || !slot->shard->Loading(table)) return Status::Ok();
  return Unavailable(StrCat(options_.node_name, ": shard ", id, ": which rows table ", table,
                            " has is not known yet, the base is still being read after a restart"),
                     kLoadingRetryMs);
}

kj::Promise<Status> ServerCore::AddColdRows(ShardId id, TableId table, ShardTableStats* stats) {
  ShardSlot* slot = GetSlot(id);
  if (slot == nullptr || slot->shard->cold_rows(table) == 0) return Status::Ok();
  return VisitBase(id, slot->shard->incarnation(), table, 0,
                   [table, stats](const Shard& shard, const BaseRow& row) {
                     shard.AddColdRow(table, row.key, row.floats, stats);
                   });
}

kj::Promise<Result<ContentHash>> ServerCore::Digest(ShardId id) {
  ShardSlot* slot = GetSlot(id);
  if (slot == nullptr || !(slot->replica.granted() || slot->replica.following()))
    return Result<ContentHash>(NotFound(options_.node_name + " has no copy of shard " + std::to_string(id)));
  for (const TableId table : slot->shard->TableIds()) {
    if (Status loaded = Loaded(id, table); !loaded.ok()) return Result<ContentHash>(loaded);
  }
  auto content = std::make_shared<ContentHash>(slot->shard->Hash());
  kj::Promise<Status> visited = Status::Ok();
  for (const TableId table : slot->shard->TableIds()) {
    if (!slot->shard->HadColdRows(table)) continue;
    visited = visited.then([this, id, table, content,
                            life = slot->shard->incarnation()](Status&& status) -> kj::Promise<Status> {
      if (!status.ok()) return status;
      return VisitBase(id, life, table, 0, [table, content](const Shard& shard, const BaseRow& row) {
        shard.AddColdRow(table, row.key, row.push_count, row.floats, content.get());
      });
    });
  }
  return visited.then([content](Status&& status) -> Result<ContentHash> {
    if (!status.ok()) return status;
    return *content;
  });
}

kj::Promise<Status> ServerCore::VisitBase(ShardId id, Incarnation incarnation, TableId table, Key first,
                                          BaseVisitor visit) {
  return ScanBase(incarnation, table, first, kScanRows)
      .then([this, id, incarnation, table,
             visit = std::move(visit)](Result<StoredRows>&& rows) mutable -> kj::Promise<Status> {
        if (!rows.ok()) return rows.status();
        ShardSlot* slot = GetSlot(id);
        if (slot == nullptr || slot->shard->incarnation() != incarnation) return Status::Ok();
        for (size_t i = 0; i < rows->size(); ++i) visit(*slot->shard, rows->row(i));
        if (!rows->next()) return Status::Ok();
        return VisitBase(id, incarnation, table, *rows->next(), std::move(visit));
      });
}

}  // namespace penstock
