// The index of a fold, and the second reading of its images.
#include "server/storage/fold_rows.h"

#include <capnp/serialize.h>

#include <cstring>
#include <numeric>
#include <string>

#include "proto/delta.capnp.h"

namespace penstock {
namespace {

constexpr size_t kDeleted = SIZE_MAX;
constexpr size_t kLookEveryRows = 1 << 16;  // whether the fold goes on

}  // namespace

void FoldRows::Clear(size_t most_index_bytes) {
  deltas_.clear();
  pieces_.clear();
  index_.Clear(most_index_bytes);
  rows_.clear();
}

void FoldRows::AddDelta(uint32_t segment, const LoggedDelta& delta) {
  deltas_.push_back({.segment = segment,
                     .words = static_cast<uint32_t>(delta.words.size()),
                     .offset = delta.offset,
                     .checksum = delta.checksum});
}

void FoldRows::AddTable(FoldIndex::GroupKey group, unsigned entry, Lsn lsn, uint16_t layout,
                        const TableImages& images) {
  const auto piece = static_cast<uint32_t>(pieces_.size());
  pieces_.push_back({.delta = static_cast<uint32_t>(deltas_.size() - 1),
                     .entry = entry,
                     .lsn = lsn,
                     .images = static_cast<uint32_t>(images.keys.size()),
                     .floats = images.image_floats(),
                     .layout = layout});
  index_.Add(group, piece, images.keys, images.deletions);
}

Result<FoldRows::Written> FoldRows::Write(const Opener& open, size_t buffer_bytes,
                                          const std::atomic<bool>* stop, BaseWriter& writer) {
  Written written;
  size_t floats = 0;
  const auto flush = [&] {
    if (images_.size() < floats) images_.resize(floats);
    floats = 0;
    return Flush(open, stop, writer, &written);
  };
  for (const auto& [group, entries] : index_.groups()) {
    for (const FoldIndex::Entry& entry : entries) {
      const Piece& piece = pieces_[entry.piece];
      const bool deleted = entry.row >= piece.images;
      rows_.push_back({&group, &entry, deleted ? kDeleted : floats});
      if (!deleted) floats += piece.floats;
      if (floats * sizeof(float) + rows_.size() * (sizeof(Row) + sizeof(ImageHeader) + sizeof(uint32_t)) >=
          buffer_bytes)
        PENSTOCK_RETURN_IF_ERROR(flush());
    }
  }
  PENSTOCK_RETURN_IF_ERROR(flush());
  return written;
}

Status FoldRows::Flush(const Opener& open, const std::atomic<bool>* stop, BaseWriter& writer,
                       Written* written) {
  if (rows_.empty()) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(FillImages(open));
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (i % kLookEveryRows == 0) PENSTOCK_RETURN_IF_ERROR(GoesOn(stop));
    const Row& row = rows_[i];
    const auto& [incarnation, table] = *row.group;
    if (row.offset == kDeleted) {
      PENSTOCK_RETURN_IF_ERROR(writer.DeleteRow(incarnation, table, row.entry->key));
      ++written->deletions;
      continue;
    }
    const Piece& piece = pieces_[row.entry->piece];
    PENSTOCK_RETURN_IF_ERROR(
        writer.PutRow(incarnation, {.table = table,
                                    .key = row.entry->key,
                                    .lsn = piece.lsn,
                                    .push_count = headers_[i].push_count,
                                    .flags = headers_[i].flags,
                                    .layout = piece.layout,
                                    .floats = {images_.data() + row.offset, piece.floats}}));
    ++written->rows;
  }
  rows_.clear();
  return Status::Ok();
}

// Reads those deltas again that hold the buffer's images.
Status FoldRows::FillImages(const Opener& open) {
  headers_.resize(rows_.size());
  firsts_.assign(pieces_.size() + 1, 0);
  for (const Row& row : rows_) firsts_[row.entry->piece + 1] += row.offset != kDeleted;
  std::partial_sum(firsts_.begin(), firsts_.end(), firsts_.begin());
  copies_.resize(firsts_.back());
  for (uint32_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].offset != kDeleted) copies_[firsts_[rows_[i].entry->piece]++] = i;
  }
  std::unique_ptr<SegmentReader> reader;
  uint32_t segment = 0;  // that it reads
  for (size_t next = 0; next < copies_.size();) {
    const uint32_t delta = pieces_[rows_[copies_[next]].entry->piece].delta;
    const Place& place = deltas_[delta];
    if (reader == nullptr || segment != place.segment) {
      segment = place.segment;
      PENSTOCK_ASSIGN_OR_RETURN(reader, open(segment));
    }
    PENSTOCK_ASSIGN_OR_RETURN(const auto words, reader->ReadDelta(place.offset, place.words, place.checksum));
    if (!words) {
      return DataLoss("the delta at " + std::to_string(place.offset) + " of " + reader->path() +
                      " reads otherwise than before");
    }
    PENSTOCK_RETURN_IF_ERROR(CopyImages(delta, *words, &next));
  }
  return Status::Ok();
}

Status FoldRows::CopyImages(uint32_t delta, kj::ArrayPtr<const capnp::word> words, size_t* next) {
  capnp::FlatArrayMessageReader message(words, DeltaReaderOptions());
  const auto tables = message.getRoot<proto::Delta>().getTables();
  while (*next < copies_.size() && pieces_[rows_[copies_[*next]].entry->piece].delta == delta) {
    const uint32_t at = rows_[copies_[*next]].entry->piece;
    const Piece& piece = pieces_[at];
    PENSTOCK_ASSIGN_OR_RETURN(const TableImages images, ReadTableImages(tables[piece.entry]));
    for (; *next < copies_.size() && rows_[copies_[*next]].entry->piece == at; ++*next) {
      const uint32_t index = copies_[*next];
      const Row& row = rows_[index];
      headers_[index] = images.headers[row.entry->row];
      std::memcpy(images_.data() + row.offset, images.images.data() + size_t{row.entry->row} * piece.floats,
                  piece.floats * sizeof(float));
    }
  }
  return Status::Ok();
}

}  // namespace penstock
