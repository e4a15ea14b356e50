#include "server/node/base_scan.h"

#include <memory>

#include "common/base/strings.h"

namespace penstock {
namespace {

constexpr size_t kScanRows = 4096;  // at a time, so that fetches need not wait for a whole table
constexpr uint32_t kLoadingRetryMs = 200;

}  // namespace

Status BaseScan::NoteBase(const Status& read) {
  if (read.code() != Code::kDataLoss) return read;
  damaged_(read);
  return Unavailable(StrCat(node_, ": ", read.message()), kRetrySoonMs);
}

Status BaseScan::Loaded(ShardId id, TableId table) const {
  const ShardSlot* slot = slots_.Held(id);
  if (slot == nullptr || !slot->shard->Loading(table)) return Status::Ok();
  return Unavailable(StrCat(node_, ": shard ", id, ": which rows table ", table,
                            " has is not known yet, the base is still being read after a restart"),
                     kLoadingRetryMs);
}

kj::Promise<Status> BaseScan::AddColdRows(ShardId id, TableId table, ShardTableStats* stats) {
  const ShardSlot* slot = slots_.Held(id);
  if (slot == nullptr || slot->shard->cold_rows(table) == 0) return Status::Ok();
  return VisitBase(id, slot->shard->incarnation(), table, 0,
                   [table, stats](const Shard& shard, const BaseRow& row) {
                     shard.AddColdRow(table, row.key, row.floats, stats);
                   });
}

kj::Promise<Result<ContentHash>> BaseScan::Digest(ShardId id) {
  const ShardSlot* slot = slots_.Held(id);
  if (slot == nullptr || !(slot->replica.granted() || slot->replica.following()))
    return Result<ContentHash>(NotFound(node_ + " has no copy of shard " + std::to_string(id)));
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

kj::Promise<Status> BaseScan::VisitBase(ShardId id, Incarnation incarnation, TableId table, Key first,
                                        Visitor visit) {
  return Rows(incarnation, table, first, kScanRows)
      .then([this, id, incarnation, table,
             visit = std::move(visit)](Result<StoredRows>&& rows) mutable -> kj::Promise<Status> {
        if (!rows.ok()) return rows.status();
        const ShardSlot* slot = slots_.Held(id, incarnation);
        if (slot == nullptr) return Status::Ok();
        for (size_t i = 0; i < rows->size(); ++i) visit(*slot->shard, rows->row(i));
        if (!rows->next()) return Status::Ok();
        return VisitBase(id, incarnation, table, *rows->next(), std::move(visit));
      });
}

}  // namespace penstock
