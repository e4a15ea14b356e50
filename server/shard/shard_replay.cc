// A Shard that takes what others have written: its base and log at a restart, deltas and seeds from a
// primary.
#include <kj/exception.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "common/base/mutant.h"
#include "server/shard/shard.h"

namespace penstock {
namespace {

void TakeHeader(const ImageHeader& from, RowHeader* to) {
  to->push_count = from.push_count;
  to->flags = WithTouch(to->flags, TouchOf(from.flags));
}

}  // namespace

// --- What the base knows.

Status Shard::LoadMeta(proto::ShardMeta::Reader meta) {
  const std::string context = "meta of shard " + std::to_string(options_.shard);
  try {
    if (last_lsn_ != 0 || serving_) return FailedPrecondition(context + ": the shard is not empty");
    if (meta.getFormat() != proto::DELTA_FORMAT || meta.getCluster() != options_.cluster ||
        meta.getShard() != options_.shard || meta.getIncarnation() != options_.incarnation) {
      return DataLoss(context + " is of format " + std::to_string(meta.getFormat()) + ", cluster " +
                      std::to_string(meta.getCluster()) + ", shard " + std::to_string(meta.getShard()) +
                      ", incarnation " + std::to_string(meta.getIncarnation()));
    }
    for (const auto entry : meta.getTables()) {
      PENSTOCK_ASSIGN_OR_RETURN(const TableImages images, ReadTableImages(entry));
      Table& table = AddTable(images.table, images.dim, images.slots, images.accumulates());
      table.open_round = images.open_round;
      table.committed_round = images.committed_round;
      table.marks.Merge(entry);
    }
    epoch_ = meta.getEpoch();
    last_lsn_ = previous_lsn_ = loaded_lsn_ = folded_lsn_ = meta.getLsn();
    last_checksum_ = previous_checksum_ = meta.getChecksum();
    pieces_ = meta.getPieces();
    led_since_ = meta.getLedSince();
    held_up_to_ = meta.getHeldUpTo();
    forget_floor_ = logged_floor_ = meta.getForgetFloor();
    return Status::Ok();
  } catch (const kj::Exception& e) {
    return DataLoss(context + ": " + e.getDescription().cStr());
  }
}

Status Shard::LoadRow(TableId id, Key key, Lsn lsn, ImageHeader header, std::span<const float> floats,
                      bool resident) {
  if (dropped_.contains(id)) return Status::Ok();
  Table* table = FindTable(id);
  PENSTOCK_ASSIGN_OR_RETURN(const bool open, CheckShape(table, id, key, floats.size()));
  table->highest_touch = std::max(table->highest_touch, TouchOf(header.flags));
  if (table->rows.Find(key) != kNoRow || table->cold.tombstones().Contains(key)) return Status::Ok();
  if (!resident && !open) {
    table->cold.Add(key);
    return Status::Ok();
  }
  table->cold.Replace(key);
  return Place(*table, key, lsn, header, floats, open);
}

void Shard::SetUnread(TableId id, std::optional<Key> from) {
  if (Table* table = FindTable(id)) table->cold.SetUnread(from);
}

bool Shard::Loading(TableId id) const {
  const Table* table = FindTable(id);
  return table != nullptr && table->cold.unread();
}

Result<bool> Shard::CheckShape(const Table* table, TableId id, Key key, size_t floats) const {
  if (table != nullptr && table->rows.accumulates() && table->rows.all_floats() == floats) return true;
  if (table != nullptr && table->rows.row_floats() == floats) return false;
  return DataLoss("row " + std::to_string(key) + " of table " + std::to_string(id) + " in shard " +
                  std::to_string(options_.shard) + " has " + std::to_string(floats) +
                  " floats, its meta says " +
                  (table == nullptr ? "nothing of the table" : std::to_string(table->rows.row_floats())));
}

Status Shard::Place(Table& table, Key key, Lsn lsn, ImageHeader header, std::span<const float> floats,
                    bool open) {
  PENSTOCK_RETURN_IF_ERROR(table.rows.Reserve(1));
  const RowNumber row = table.rows.Insert(key);
  table.rows.Header(row)->lsn = lsn;
  TakeHeader(header, table.rows.Header(row));
  std::memcpy(table.rows.Values(row), floats.data(), floats.size_bytes());
  if (open) OpenRow(table, row);
  return Status::Ok();
}

// --- Deltas.

Status Shard::ApplyDelta(proto::Delta::Reader delta, uint32_t checksum) {
  try {
    return ApplyChecked(delta, checksum)
        .Prepend("delta " + std::to_string(delta.getLsn()) + " of shard " + std::to_string(options_.shard));
  } catch (const kj::Exception& e) {
    return DataLoss("a delta of shard " + std::to_string(options_.shard) + ": " + e.getDescription().cStr());
  }
}

Status Shard::CheckChain(proto::Delta::Reader delta) const {
  const Lsn lsn = delta.getLsn(), previous = delta.getPreviousLsn();
  const std::string follows =
      "it follows delta " + std::to_string(previous) + ", the last one here is " + std::to_string(last_lsn_);
  if (delta.getFormat() != proto::DELTA_FORMAT)
    return DataLoss("format " + std::to_string(delta.getFormat()));
  if (delta.getCluster() != options_.cluster || delta.getShard() != options_.shard) {
    return DataLoss("it is of cluster " + std::to_string(delta.getCluster()) + ", shard " +
                    std::to_string(delta.getShard()));
  }
  if (delta.getPiece() != 0) return CheckPiece(delta);
  const bool epoch_fits = delta.getFirstOfEpoch() ? delta.getEpoch() >= epoch_ : delta.getEpoch() == epoch_;
  if (!epoch_fits) {
    return DataLoss("its epoch is " + std::to_string(delta.getEpoch()) + ", the last one here is " +
                    std::to_string(epoch_));
  }
  if (lsn <= last_lsn_ || lsn <= previous || previous > last_lsn_ ||
      (!delta.getFirstOfEpoch() && lsn != previous + 1)) {
    return DataLoss(follows);
  }
  if (previous < last_lsn_) {
    return RepeatsEverything(delta) ? Status::Ok()
                                    : DataLoss(follows + " and it does not repeat what came between");
  }
  if (Defended(Defence::kContentChain) && delta.getPreviousChecksum() != last_checksum_)
    return DataLoss(follows + " with another checksum");
  return Status::Ok();
}

Status Shard::CheckPiece(proto::Delta::Reader piece) const {
  const bool begins = piece.getPiece() == 1;
  if (begins && epoch_ == 0 && last_lsn_ == 0) return Status::Ok();
  if (!begins && piece.getPiece() == pieces_ + 1 && piece.getEpoch() >= epoch_ &&
      piece.getLsn() == last_lsn_ && piece.getPreviousChecksum() == last_checksum_) {
    return Status::Ok();
  }
  return DataLoss("piece " + std::to_string(piece.getPiece()) + " of a seed does not follow the " +
                  std::to_string(pieces_) + " pieces and delta " + std::to_string(last_lsn_) + " here");
}

// A delta of RelogFrom brings full marks of every table, and so may follow an older one than the last.
bool Shard::RepeatsEverything(proto::Delta::Reader delta) const {
  if (!delta.getFirstOfEpoch()) return false;
  size_t covered = 0;
  for (const auto entry : delta.getTables()) {
    covered += (entry.getFull() || entry.getDropped()) && tables_.contains(entry.getTable());
  }
  return covered == tables_.size();
}

Result<std::vector<TableImages>> Shard::ReadTables(proto::Delta::Reader delta) const {
  std::vector<TableImages> all;
  for (const auto entry : delta.getTables()) {
    PENSTOCK_ASSIGN_OR_RETURN(TableImages images, ReadTableImages(entry));
    const Table* table = FindTable(images.table);
    if (table != nullptr && images.accumulates() && !table->rows.accumulates() &&
        table->rows.used_rows() > 0) {
      return DataLoss("table " + std::to_string(images.table) +
                      " has rounds, the rows before them have no accumulators");
    }
    if (!images.dropped && table != nullptr &&
        (table->rows.dim() != images.dim || table->rows.slots() != images.slots)) {
      return DataLoss("table " + std::to_string(images.table) + " has " + std::to_string(images.dim) +
                      " values and " + std::to_string(images.slots) + " slots a row, stored are " +
                      std::to_string(table->rows.dim()) + " and " + std::to_string(table->rows.slots()));
    }
    all.push_back(images);
  }
  return all;
}

Status Shard::ApplyChecked(proto::Delta::Reader delta, uint32_t checksum) {
  if (serving_) return FailedPrecondition("the shard takes pushes of its own");
  const bool piece = delta.getPiece() != 0;
  if (!piece && delta.getLsn() <= loaded_lsn_) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(CheckChain(delta));
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<TableImages> all, ReadTables(delta));
  const auto entries = delta.getTables();
  for (unsigned i = 0; i < entries.size(); ++i) {
    if (all[i].dropped) {
      tables_.erase(all[i].table);
      dropped_[all[i].table] = delta.getLsn();
      continue;
    }
    Table* table = FindTable(all[i].table);
    if (table == nullptr) table = &AddTable(all[i].table, all[i].dim, all[i].slots, all[i].accumulates());
    if (all[i].accumulates()) MakeRoomToAccumulate(*table, all[i].table);  // ReadTables saw to it
    // What a piece brings is in the base for sure when the next delta is.
    PENSTOCK_RETURN_IF_ERROR(ApplyImages(*table, all[i], delta.getLsn() + (piece ? 1 : 0)));
    table->open_round = all[i].open_round;
    table->committed_round = all[i].committed_round;
    if (table->open_round == 0) table->opened.clear();
    table->marks.Merge(entries[i]);
  }
  epoch_ = delta.getEpoch();
  last_lsn_ = previous_lsn_ = delta.getLsn();
  last_checksum_ = previous_checksum_ = piece ? delta.getPreviousChecksum() : checksum;
  if (piece) pieces_ = delta.getSeeded() ? 0 : delta.getPiece();
  led_since_ = delta.getLedSince();
  held_up_to_ = delta.getHeldUpTo();
  SetForgetFloor(delta.getForgetFloor());
  logged_floor_ = forget_floor_;
  return Status::Ok();
}

Status Shard::ApplyImages(Table& table, const TableImages& images, Lsn lsn) {
  RowTable& rows = table.rows;
  found_.resize(images.keys.size());
  PENSTOCK_RETURN_IF_ERROR(rows.Reserve(rows.FindBatch(images.keys, found_.data())));
  const uint32_t floats = images.image_floats();
  const uint32_t skip = images.sections & kSectionValues ? 0 : images.dim;
  for (size_t i = 0; i < images.keys.size(); ++i) {
    if (i + RowTable::kAhead < images.keys.size() && found_[i + RowTable::kAhead] != kNoRow)
      rows.PrefetchWhole(rows.Header(found_[i + RowTable::kAhead]));
    RowNumber row = found_[i];
    if (row == kNoRow) row = rows.Find(images.keys[i]);
    if (row == kNoRow) {
      if (table.cold.MayHold(images.keys[i])) table.cold.NoteInstalled(images.keys[i]);
      row = rows.Insert(images.keys[i]);
      table.cold.Replace(images.keys[i]);
    }
    rows.Revive(row);
    rows.Header(row)->lsn = lsn;
    TakeHeader(images.headers[i], rows.Header(row));
    table.highest_touch = std::max(table.highest_touch, TouchOf(images.headers[i].flags));
    std::memcpy(rows.Values(row) + skip, images.images.data() + i * floats, floats * sizeof(float));
    if (images.accumulators()) {
      OpenRow(table, row);
    } else if (rows.accumulates()) {
      CloseRow(table, row);
    }
  }
  // A tombstone also for a row that is not here: it hides what the base may have.
  for (const Key key : images.deletions) {
    const RowNumber row = rows.Find(key);
    if (row == kNoRow) {
      if (table.cold.MayHold(key)) table.cold.NoteInstalled(key);
      table.cold.tombstones().Replay(key, lsn);
      continue;
    }
    rows.MarkDeleted(row);
    rows.Header(row)->lsn = lsn;
  }
  return Status::Ok();
}

}  // namespace penstock
