#include "server/node/row_loader.h"

#include <glog/logging.h>

#include <algorithm>

namespace penstock {
namespace {

constexpr size_t kRowsLoaded = 2048;       // at a time: a fetch waits for them
constexpr size_t kRowsBetweenLooks = 256;  // at the memory of the shard
constexpr uint64_t kRetryMs = 1000;        // after an error of the disk
constexpr int kTries = 5;                  // then the base counts as damaged
constexpr auto kLoudAfter = std::chrono::seconds(1);

}  // namespace

Status LoadRows(Shard& shard, TableId table, const StoredRows& rows,
                const std::function<bool(size_t)>& has_room) {
  bool resident = true;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i % kRowsBetweenLooks == 0)
      resident = resident && has_room(std::min(kRowsBetweenLooks, rows.size() - i));
    const BaseRow row = rows.row(i);
    PENSTOCK_RETURN_IF_ERROR(shard.LoadRow(
        table, row.key, row.lsn, {.push_count = row.push_count, .flags = row.flags}, row.floats, resident));
  }
  return Status::Ok();
}

RowLoader::RowLoader(KjLoop& loop, ServerCore& core, ServerMetrics& metrics, uint64_t memory_bytes)
    : loop_(loop), core_(core), metrics_(metrics), memory_bytes_(memory_bytes), tasks_(*this) {}

void RowLoader::taskFailed(kj::Exception&& e) { Retry(Internal(e.getDescription().cStr())); }

void RowLoader::Begin() {
  const std::vector<ShardId> held = core_.shards().Ids();
  for (const ShardId id : held) {
    const Shard& shard = *core_.Held(id)->shard;
    for (const TableId table : shard.TableIds()) {
      if (shard.Loading(table)) places_.push_back({id, shard.incarnation(), table});
    }
  }
  shard_bytes_ = memory_bytes_ / std::max<size_t>(held.size(), 1);
  metrics_.loading_tables += places_.size();
  begun_ = std::chrono::steady_clock::now();
  Next();
}

Shard* RowLoader::Find(const Place& place) const {
  const ShardSlot* slot = core_.shards().Held(place.shard, place.incarnation);
  return slot != nullptr && slot->shard->Loading(place.table) ? slot->shard : nullptr;
}

void RowLoader::Next() {
  for (; !places_.empty() && Find(places_.front()) == nullptr; next_ = 0) {
    places_.pop_front();
    --metrics_.loading_tables;
    if (!places_.empty()) continue;
    const auto took = std::chrono::steady_clock::now() - begun_;
    LOG_IF(INFO, took > kLoudAfter) << core_.options().node_name << ": core " << core_.options().core
                                    << ": all rows of the base are known after "
                                    << std::chrono::duration_cast<std::chrono::milliseconds>(took).count()
                                    << " ms";
  }
  if (places_.empty()) return;
  const Place& place = places_.front();
  tasks_.add(core_.scan()
                 .Rows(place.incarnation, place.table, next_, kRowsLoaded)
                 .then([this, folds = core_.folds()](Result<StoredRows>&& rows) { Take(folds, rows); }));
}

void RowLoader::Take(uint64_t folds, const Result<StoredRows>& rows) {
  const Place place = places_.front();
  if (!rows.ok()) return Retry(rows.status());
  if (Find(place) != nullptr && core_.folds() == folds) {
    if (Status loaded = Load(place, *rows); !loaded.ok()) return Retry(core_.scan().NoteBase(loaded));
  }
  failures_ = 0;
  Next();
}

Status RowLoader::Load(const Place& place, const StoredRows& rows) {
  Shard& shard = *Find(place);
  PENSTOCK_RETURN_IF_ERROR(LoadRows(shard, place.table, rows, [&](size_t more) {
    return shard.ResidentBytes() < shard_bytes_ && core_.memory().TakeRoom(shard, place.table, more);
  }));
  next_ = rows.next().value_or(0);
  shard.SetUnread(place.table, rows.next());
  return Status::Ok();
}

void RowLoader::Retry(const Status& failed) {
  LOG(ERROR) << core_.options().node_name << ": rows of the base: " << failed.ToString();
  if (++failures_ == kTries) (void)core_.scan().NoteBase(DataLoss(failed.message()));
  tasks_.add(loop_.Sleep(kRetryMs).then([this] { Next(); }));
}

}  // namespace penstock
