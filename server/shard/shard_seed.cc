// Seeding another copy of a Shard: the pieces that bring it what this one holds (proto/delta.capnp).
#include <cstring>
#include <new>
#include <string>

#include "common/base/crc32c.h"
#include "server/shard/flat_writer.h"
#include "server/shard/shard.h"

namespace penstock {
namespace {

constexpr size_t kHeadWords = 64;  // of a message beside its images and marks, and of each table
constexpr size_t kBytesBesideImage = sizeof(Key) + sizeof(ImageHeader);

BuiltDelta FinishPiece(FlatWriter& writer, Lsn lsn) {
  BuiltDelta built{.lsn = lsn};
  built.words = writer.Finish();
  const auto bytes = built.words.asBytes();
  built.checksum = Crc32c(0, bytes.begin(), bytes.size());
  return built;
}

}  // namespace

bool Shard::HadColdRows(TableId id) const {
  const Table* table = FindTable(id);
  return table != nullptr && table->cold.ever();
}

Result<bool> Shard::CollectRows(TableId id, RowCursor* cursor, size_t bytes, SeedPiece* piece) const {
  const Table* table = FindTable(id);
  if (table == nullptr) return NotFound("table " + std::to_string(id) + " was dropped");
  const RowTable& rows = table->rows;
  piece->table = id;
  for (; cursor->next < rows.size() && piece->bytes < bytes; ++cursor->next) {
    const RowHeader& header = *rows.Header(cursor->next);
    if (header.free() || header.deleted()) continue;
    auto& out = header.open() ? piece->open_rows : piece->rows;
    out.push_back({header.key, {header.push_count, header.flags & kTouchMask}, rows.Values(cursor->next)});
    piece->bytes +=
        kBytesBesideImage + (header.open() ? rows.all_floats() : rows.row_floats()) * sizeof(float);
  }
  return cursor->next >= rows.size();
}

void Shard::CollectBaseRow(TableId id, Key key, ImageHeader header, std::span<const float> floats,
                           SeedPiece* piece) const {
  const Table* table = FindTable(id);
  if (table == nullptr || table->cold.tombstones().Contains(key)) return;
  piece->table = id;
  const RowTable& rows = table->rows;
  const RowNumber row = rows.Find(key);
  if (row == kNoRow) {
    piece->rows.push_back({key, header, floats.data()});
  } else if (const RowHeader& live = *rows.Header(row); !live.deleted()) {
    auto& out = live.open() ? piece->open_rows : piece->rows;
    out.push_back({key, {live.push_count, live.flags & kTouchMask}, rows.Values(row)});
  }
  piece->bytes += kBytesBesideImage + rows.all_floats() * sizeof(float);
}

void Shard::WritePieceHead(uint64_t number, proto::Delta::Builder delta) const {
  delta.setFormat(proto::DELTA_FORMAT);
  delta.setCluster(options_.cluster);
  delta.setShard(options_.shard);
  delta.setPiece(number);
  delta.setEpoch(epoch_);
  delta.setLsn(last_lsn_);
  delta.setPreviousLsn(last_lsn_);
  delta.setPreviousChecksum(last_checksum_);
  delta.setForgetFloor(forget_floor_);
  delta.setLedSince(led_since_);
  delta.setHeldUpTo(HeldUpTo(last_lsn_, [](TableId) { return false; }));
}

void Shard::WriteRows(const Table& table, TableId id, std::span<const SeedRow> rows, bool open,
                      proto::TableDelta::Builder out) const {
  const size_t image_bytes = (open ? table.rows.all_floats() : table.rows.row_floats()) * sizeof(float);
  out.setTable(id);
  out.setLayout(kRowLayout);
  out.setDim(table.rows.dim());
  out.setSlots(table.rows.slots());
  out.setSections(kSectionValues | kSectionSlots | (open ? kSectionAccumulator : 0));
  out.setOpenRound(table.open_round);
  out.setCommittedRound(table.committed_round);
  auto keys = out.initKeys(rows.size() * sizeof(Key));
  auto headers = out.initHeaders(rows.size() * sizeof(ImageHeader));
  auto images = out.initImages(rows.size() * image_bytes);
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(keys.begin() + i * sizeof(Key), &rows[i].key, sizeof(Key));
    std::memcpy(headers.begin() + i * sizeof(ImageHeader), &rows[i].header, sizeof(ImageHeader));
    std::memcpy(images.begin() + i * image_bytes, rows[i].floats, image_bytes);
  }
}

Result<BuiltDelta> Shard::BuildPiece(const SeedPiece& piece) const {
  const Table* table = FindTable(piece.table);
  const bool any = table != nullptr && !(piece.rows.empty() && piece.open_rows.empty());
  try {
    FlatWriter writer(3 * kHeadWords + piece.bytes / sizeof(capnp::word));
    auto delta = writer.initRoot<proto::Delta>();
    WritePieceHead(piece.number, delta);
    // An entry of its own for the open rows, where there are any.
    auto entries = delta.initTables(any ? 1 + (piece.open_rows.empty() ? 0 : 1) : 0);
    if (any) WriteRows(*table, piece.table, piece.rows, false, entries[0]);
    if (entries.size() == 2) WriteRows(*table, piece.table, piece.open_rows, true, entries[1]);
    return FinishPiece(writer, last_lsn_);
  } catch (const std::bad_alloc&) {
    return Overloaded("shard " + std::to_string(options_.shard) + ": no memory for a piece of a seed", 1000);
  }
}

Result<BuiltDelta> Shard::BuildLastPiece(uint64_t number) const {
  size_t words = kHeadWords;
  for (const auto& [id, table] : tables_) words += kHeadWords + table->marks.FullWords();
  try {
    FlatWriter writer(words);
    auto delta = writer.initRoot<proto::Delta>();
    WritePieceHead(number, delta);
    delta.setSeeded(true);
    auto entries = delta.initTables(static_cast<uint32_t>(tables_.size()));
    uint32_t i = 0;
    for (const auto& [id, table] : tables_) {
      WriteRows(*table, id, {}, false, entries[i]);
      table->marks.WriteFull(entries[i++]);
    }
    return FinishPiece(writer, last_lsn_);
  } catch (const std::bad_alloc&) {
    return Overloaded("shard " + std::to_string(options_.shard) + ": no memory for a piece of a seed", 1000);
  }
}

}  // namespace penstock
