#include "server/node/cold_fetch.h"

#include <glog/logging.h>

#include <algorithm>

namespace penstock {
namespace {

constexpr size_t kFetchRows = 8192;  // of a batch

}  // namespace

void ColdFetch::taskFailed(kj::Exception&& e) {
  LOG(ERROR) << node_ << ": fetch: " << e.getDescription().cStr();
}

ColdFetch::ColdWait::ColdWait(ColdFetch& fetch, uint64_t bytes) : fetch_(fetch), bytes_(bytes) {
  fetch_.waiting_bytes_ += bytes_;
  fetch_.metrics_.waiting_calls++;
}

ColdFetch::ColdWait::~ColdWait() {
  fetch_.waiting_bytes_ -= bytes_;
  fetch_.metrics_.waiting_calls--;
  if (pinned_.empty()) return;
  if (const ShardSlot* slot = fetch_.slots_.Held(shard_, incarnation_)) slot->shard->Unpin(table_, pinned_);
}

void ColdFetch::ColdWait::Pin(Shard& shard, TableId table, std::span<const Key> keys) {
  shard_ = shard.id();
  incarnation_ = shard.incarnation();
  table_ = table;
  pinned_ = keys;
  shard.Pin(table, keys);
}

Result<kj::Own<ColdFetch::ColdWait>> ColdFetch::WaitForRows(uint64_t bytes) {
  if (waiting_bytes_ > 0 && waiting_bytes_ + bytes > memory_.budget_bytes() / 2) {
    return Overloaded(node_ + ": calls that wait for rows from the disk hold half of the memory budget",
                      kRetrySoonMs);
  }
  return kj::heap<ColdWait>(*this, bytes);
}

kj::Promise<Status> ColdFetch::Fetch(ShardId id, TableId table, std::span<const Key> keys) {
  ShardSlot* slot = slots_.Held(id);
  if (slot == nullptr) return Status::Ok();
  const Incarnation incarnation = slot->shard->incarnation();
  for (const RowFetch& fetch : slot->shard->BeginFetch(table, keys)) {
    if (collecting_ == nullptr) {
      collecting_ = std::make_unique<FetchBatch>();
      // With what the requests want that have arrived together with this one.
      tasks_.add(kj::evalLast([this] { SubmitFetches(); }));
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

void ColdFetch::SubmitFetches() {
  if (collecting_ == nullptr) return;
  std::sort(collecting_->rows.begin(), collecting_->rows.end());
  std::vector<RowPlace> places;
  for (const auto& row : collecting_->rows) places.push_back(row.place);
  FetchBatch* batch = collecting_.get();
  fetching_.push_back(std::move(collecting_));
  tasks_.add(scan_.Read([places = std::move(places)](const BaseStore& base) { return base.GetRows(places); })
                 .then([this, batch](Result<StoredRows>&& rows) { OnFetched(batch, std::move(rows)); }));
}

void ColdFetch::OnFetched(FetchBatch* fetched, Result<StoredRows> rows) {
  const auto at = std::find_if(fetching_.begin(), fetching_.end(),
                               [&](const auto& batch) { return batch.get() == fetched; });
  const std::unique_ptr<FetchBatch> batch = std::move(*at);
  fetching_.erase(at);
  std::map<std::pair<ShardId, TableId>, Status> failed;
  if (rows.ok()) {
    Install(*batch, *rows, &failed);
  } else {
    LOG(ERROR) << node_ << ": " << rows.status().ToString();
    for (const auto& row : batch->rows) {
      if (const ShardSlot* slot = slots_.Held(row.shard, row.place.incarnation))
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
void ColdFetch::Install(const FetchBatch& batch, const StoredRows& rows,
                        std::map<std::pair<ShardId, TableId>, Status>* failed) {
  bool evict_all = true;
  for (size_t first = 0, end = 0; first < batch.rows.size(); first = end) {
    const auto& [place, id, number] = batch.rows[first];
    while (end < batch.rows.size() && batch.rows[end].shard == id &&
           batch.rows[end].place.incarnation == place.incarnation &&
           batch.rows[end].place.table == place.table) {
      ++end;
    }
    const ShardSlot* slot = slots_.Held(id, place.incarnation);
    if (slot == nullptr) continue;
    Shard& shard = *slot->shard;
    memory_.MakeRoom(shard, place.table, end - first, &evict_all);
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
      LOG(ERROR) << node_ << ": " << installed.ToString();
      failed->emplace(std::pair(id, place.table), installed);
    }
  }
}

}  // namespace penstock
