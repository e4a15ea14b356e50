// The steps of a fold.
#include "server/storage/fold.h"

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <numeric>
#include <set>

#include "common/base/fault.h"
#include "common/base/mutant.h"
#include "server/marks.h"
#include "server/shard/table_images.h"
#include "server/storage/fold_index.h"
#include "server/storage/segment_reader.h"

namespace penstock {
namespace {

capnp::ReaderOptions DeltaReaderOptions() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = kj::maxValue;  // it passed its checksum, and is as large as its window was
  return options;
}

// A delta that is taken, where it stands in the log.
struct Place {
  uint32_t segment;
  uint32_t words;
  uint64_t offset;
  uint32_t checksum;
};
// One TableDelta of it.
struct Piece {
  uint32_t delta;  // in places
  uint32_t entry;
  Lsn lsn;
  uint32_t images;  // rows from here on are deletions
  uint32_t floats;  // of an image
  uint16_t layout;
};
// One row of a buffer on its way into the base.
struct Row {
  const FoldIndex::GroupKey* group;
  const FoldIndex::Entry* entry;
  size_t offset;  // in images; kDeleted: it has none
};
constexpr size_t kDeleted = SIZE_MAX;

}  // namespace

struct FoldMemory::Arrays {
  std::vector<Place> deltas;
  std::vector<Piece> pieces;
  FoldIndex index;
  // The buffer that is being filled, in the order of keys; what it copies, piece by piece in the order of the
  // log.
  std::vector<Row> rows;
  std::vector<uint32_t> copies;
  std::vector<uint32_t> firsts;  // of each piece's first among them
  std::vector<float> images;     // at least as many as the buffer needs
  std::vector<ImageHeader> headers;
};

FoldMemory::FoldMemory() : arrays_(std::make_unique<Arrays>()) {}
FoldMemory::~FoldMemory() = default;
void FoldMemory::Release() { arrays_ = std::make_unique<Arrays>(); }

class Folder {
 public:
  Folder(FileLayer& files, const std::string& log_dir, DeltaLog& log, BaseStore& base, uint64_t cluster,
         const QuarantinedLives& quarantined, const FoldOptions& options, FoldMemory& memory)
      : files_(files),
        log_dir_(log_dir),
        log_(log),
        base_(base),
        cluster_(cluster),
        quarantined_(quarantined),
        options_(options),
        writer_(base),
        deltas_(memory.arrays_->deltas),
        pieces_(memory.arrays_->pieces),
        index_(memory.arrays_->index),
        rows_(memory.arrays_->rows),
        copies_(memory.arrays_->copies),
        firsts_(memory.arrays_->firsts),
        images_(memory.arrays_->images),
        headers_(memory.arrays_->headers) {
    deltas_.clear();
    pieces_.clear();
    index_.Clear(options.index_limit_bytes);
    rows_.clear();
  }

  Result<FoldReport> Run();

 private:
  struct Table {
    uint32_t dim = 0;
    uint32_t slots = 0;
    uint16_t layout = 0;
    uint64_t open_round = 0, committed_round = 0;
    Marks marks;
  };
  struct ShardState {
    ShardState(ShardId shard, const ShardFolded& folded) : chain(shard, folded), folded(folded) {}
    DeltaChain chain;
    ShardFolded folded;  // by the last delta taken
    std::map<TableId, Table> tables;
    ProducerId forget_floor = 0;
    bool changed = false;
  };
  struct Segment {
    SegmentInfo info;
    std::set<ShardId> needed_by;  // it holds deltas of these that cannot be folded
  };
  Status LoadBase();
  Status ReadSegments();
  Status ReadSegment(size_t at);
  Status TakeDelta(size_t segment, const LoggedDelta& logged, proto::Delta::Reader delta);
  ShardState& StateOf(ShardId shard);
  void NoteBroken(Segment& segment, ShardId shard, const ShardState& state);
  void NoteGoesOn(ShardId shard);
  void BeginIncarnation(ShardId shard, ShardState& state);
  Status CheckTables(const ShardState& state, Incarnation incarnation, proto::Delta::Reader delta) const;
  Status TakeTable(ShardState& state, proto::Delta::Reader delta, unsigned entry);
  size_t IndexBytes() const {
    return index_.Bytes() + pieces_.size() * sizeof(Piece) + deltas_.size() * sizeof(Place);
  }

  Status WriteFiles();
  Status WriteRows();
  Status FlushRows();
  Status FillImages();
  Status CopyImages(uint32_t delta, kj::ArrayPtr<const capnp::word> words, size_t* next);
  Status WriteMeta(ShardId shard, const ShardState& state);
  Status RemoveSegments();
  void FillReport();

  FileLayer& files_;
  const std::string log_dir_;
  DeltaLog& log_;
  BaseStore& base_;
  const uint64_t cluster_;
  const QuarantinedLives& quarantined_;
  const FoldOptions options_;
  BaseWriter writer_;
  FoldReport report_;

  std::map<ShardId, ShardState> shards_;
  std::vector<Segment> segments_;
  std::set<FoldIndex::GroupKey> removed_tables_;
  std::set<Incarnation> removed_incarnations_;

  // FoldMemory's.
  std::vector<Place>& deltas_;
  std::vector<Piece>& pieces_;
  FoldIndex& index_;
  std::vector<Row>& rows_;
  std::vector<uint32_t>& copies_;
  std::vector<uint32_t>& firsts_;
  std::vector<float>& images_;
  std::vector<ImageHeader>& headers_;
};

Result<FoldReport> Folder::Run() {
  const auto started = std::chrono::steady_clock::now();
  for (const SegmentInfo& info : log_.Sealed()) segments_.push_back({info});
  if (segments_.empty()) return report_;
  // What was logged and not yet synced might be lost after its segment's base had already been kept.
  PENSTOCK_RETURN_IF_ERROR(log_.Sync());
  PENSTOCK_RETURN_IF_ERROR(LoadBase());
  PENSTOCK_RETURN_IF_ERROR(ReadSegments());
  PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("fold.sst.before"));
  PENSTOCK_RETURN_IF_ERROR(WriteFiles());
  PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("fold.sst.after"));
  PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("fold.ingest.before"));
  PENSTOCK_RETURN_IF_ERROR(writer_.Commit());
  FillReport();
  report_.removal = RemoveSegments();
  report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return report_;
}

Status Folder::LoadBase() {
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<StoredMeta> metas, base_.LoadMeta());
  for (const StoredMeta& stored : metas) {
    const auto meta = stored.reader();
    const ShardId shard = meta.getShard();
    const ShardFolded folded = FoldedOf(meta);
    ShardState& state = shards_.try_emplace(shard, shard, folded).first->second;
    state.forget_floor = meta.getForgetFloor();
    for (const auto entry : meta.getTables()) {
      Table& table = state.tables[entry.getTable()];
      table.dim = entry.getDim();
      table.slots = entry.getSlots();
      table.layout = entry.getLayout();
      table.open_round = entry.getOpenRound();
      table.committed_round = entry.getCommittedRound();
      table.marks.Merge(entry);
    }
  }
  return Status::Ok();
}

Folder::ShardState& Folder::StateOf(ShardId shard) {
  return shards_.try_emplace(shard, shard, ShardFolded{}).first->second;
}

// --- First reading: which deltas count, and each row's last image.

Status Folder::ReadSegments() {
  for (size_t i = 0; i < segments_.size(); ++i) {
    PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("fold.read"));
    PENSTOCK_RETURN_IF_ERROR(ReadSegment(i));
    if (IndexBytes() <= options_.index_limit_bytes) continue;
    index_.Compact();
    if (IndexBytes() <= options_.index_limit_bytes) continue;
    segments_.resize(i + 1);
  }
  index_.Compact();
  return Status::Ok();
}

Status Folder::ReadSegment(size_t at) {
  const SegmentInfo& info = segments_[at].info;
  report_.log_bytes += info.bytes;
  return ForEachDelta(files_, log_dir_, info,
                      [&](const LoggedDelta& logged) -> Status {
                        try {
                          capnp::FlatArrayMessageReader message(logged.words, DeltaReaderOptions());
                          return TakeDelta(at, logged, message.getRoot<proto::Delta>());
                        } catch (const kj::Exception& e) {
                          return DataLoss("a delta of shard " + std::to_string(logged.shard) + ": " +
                                          e.getDescription().cStr());
                        }
                      })
      .Prepend("fold " + log_dir_);
}

Status Folder::TakeDelta(size_t at, const LoggedDelta& logged, proto::Delta::Reader delta) {
  Segment& segment = segments_[at];
  const ShardId shard = logged.shard;
  const uint32_t checksum = logged.checksum;
  ShardState& state = StateOf(shard);
  const auto quarantine = quarantined_.find(shard);
  // Until a later life of it is there: then nobody asks for this one any more.
  if (quarantine != quarantined_.end() && logged.incarnation <= quarantine->second &&
      logged.incarnation >= state.folded.incarnation) {
    segment.needed_by.insert(shard);
    return Status::Ok();
  }
  // Of an abandoned segment a part may be missing; it was logged again later.
  const bool may_lack = segment.info.trusted < segment.info.bytes;
  switch (state.chain.Offer(delta, logged.incarnation, checksum, cluster_, may_lack)) {
    case DeltaChain::Verdict::kSkip:
      return Status::Ok();
    case DeltaChain::Verdict::kGap:
      if (!state.chain.broken().empty()) NoteBroken(segment, shard, state);
      return Status::Ok();
    case DeltaChain::Verdict::kTake:
      break;
  }
  // A delta that does not fit the shard's tables is no better than one that is missing: the other shards are
  // folded nevertheless.
  const Status fits = CheckTables(state, logged.incarnation, delta);
  if (!fits.ok()) {
    state.chain.Refuse(fits.message());
    NoteBroken(segment, shard, state);
    return Status::Ok();
  }
  if (logged.incarnation != state.folded.incarnation) BeginIncarnation(shard, state);
  state.folded = state.chain.last();
  deltas_.push_back({.segment = static_cast<uint32_t>(at),
                     .words = static_cast<uint32_t>(logged.words.size()),
                     .offset = logged.offset,
                     .checksum = checksum});
  for (unsigned i = 0; i < delta.getTables().size(); ++i)
    PENSTOCK_RETURN_IF_ERROR(TakeTable(state, delta, i));
  if (delta.getForgetFloor() > state.forget_floor) {
    state.forget_floor = delta.getForgetFloor();
    for (auto& [id, table] : state.tables) table.marks.Forget(state.forget_floor);
  }
  state.changed = true;
  if (report_.broken.erase(shard) > 0) NoteGoesOn(shard);
  return Status::Ok();
}

void Folder::NoteBroken(Segment& segment, ShardId shard, const ShardState& state) {
  report_.broken[shard] = state.chain.broken();
  segment.needed_by.insert(shard);
}

// Behind what was missing, or in another life: what came before and could not be folded is no longer wanted.
void Folder::NoteGoesOn(ShardId shard) {
  for (Segment& segment : segments_) segment.needed_by.erase(shard);
}

void Folder::BeginIncarnation(ShardId shard, ShardState& state) {
  NoteGoesOn(shard);
  state.tables.clear();
  state.forget_floor = 0;
  index_.RemoveIncarnation(state.folded.incarnation);
  if (state.folded.incarnation != 0) removed_incarnations_.insert(state.folded.incarnation);
}

Status Folder::CheckTables(const ShardState& state, Incarnation incarnation,
                           proto::Delta::Reader delta) const {
  const std::string name = "delta " + std::to_string(delta.getLsn());
  for (const auto entry : delta.getTables()) {
    const auto images = ReadTableImages(entry);
    if (!images.ok()) return images.status().Prepend(name);
    if (images->dropped) continue;
    // Whole images only: the last one of a row is then all that there is to know of it.
    const bool whole = images->accumulators() || images->image_floats() == images->dim + images->slots;
    if (!images->keys.empty() && !whole) {
      return FailedPrecondition(name + ": images of table " + std::to_string(images->table) +
                                " lack sections, which this version " + "does not fold");
    }
    if (incarnation != state.folded.incarnation) continue;
    const auto table = state.tables.find(images->table);
    if (table != state.tables.end() &&
        (table->second.dim != images->dim || table->second.slots != images->slots)) {
      return DataLoss(name + ": table " + std::to_string(images->table) + " has " +
                      std::to_string(images->dim) + " values and " + std::to_string(images->slots) +
                      " slots a row, before it had " + std::to_string(table->second.dim) + " and " +
                      std::to_string(table->second.slots));
    }
  }
  return Status::Ok();
}

Status Folder::TakeTable(ShardState& state, proto::Delta::Reader delta, unsigned entry) {
  const auto from = delta.getTables()[entry];
  PENSTOCK_ASSIGN_OR_RETURN(const TableImages images, ReadTableImages(from));
  const FoldIndex::GroupKey group{state.folded.incarnation, images.table};
  if (images.dropped) {
    state.tables.erase(images.table);
    index_.RemoveTable(group);
    removed_tables_.insert(group);
    return Status::Ok();
  }
  Table& table = state.tables[images.table];
  table.dim = images.dim;
  table.slots = images.slots;
  table.layout = from.getLayout();
  table.open_round = images.open_round;
  table.committed_round = images.committed_round;
  if (Defended(Defence::kFoldMarks)) table.marks.Merge(from);
  if (images.keys.empty() && images.deletions.empty()) return Status::Ok();
  const auto piece = static_cast<uint32_t>(pieces_.size());
  pieces_.push_back({.delta = static_cast<uint32_t>(deltas_.size() - 1),
                     .entry = entry,
                     .lsn = delta.getLsn(),
                     .images = static_cast<uint32_t>(images.keys.size()),
                     .floats = images.image_floats(),
                     .layout = from.getLayout()});
  index_.Add(group, piece, images.keys, images.deletions);
  return Status::Ok();
}

// --- Writing: the images are fetched again, a buffer of them at a time.

Status Folder::WriteFiles() {
  for (const Incarnation incarnation : removed_incarnations_)
    PENSTOCK_RETURN_IF_ERROR(writer_.RemoveIncarnation(incarnation));
  for (const auto& [incarnation, table] : removed_tables_) {
    if (!removed_incarnations_.contains(incarnation))
      PENSTOCK_RETURN_IF_ERROR(writer_.RemoveTable(incarnation, table));
  }
  PENSTOCK_RETURN_IF_ERROR(WriteRows());
  for (const auto& [shard, state] : shards_) {
    if (state.changed) PENSTOCK_RETURN_IF_ERROR(WriteMeta(shard, state));
  }
  PENSTOCK_RETURN_IF_ERROR(writer_.Finish());
  report_.base_bytes = writer_.bytes();
  return Status::Ok();
}

Status Folder::WriteRows() {
  size_t floats = 0;
  const auto flush = [&] {
    if (images_.size() < floats) images_.resize(floats);
    floats = 0;
    return FlushRows();
  };
  for (const auto& [group, entries] : index_.groups()) {
    for (const FoldIndex::Entry& entry : entries) {
      const Piece& piece = pieces_[entry.piece];
      const bool deleted = entry.row >= piece.images;
      rows_.push_back({&group, &entry, deleted ? kDeleted : floats});
      if (!deleted) floats += piece.floats;
      if (floats * sizeof(float) + rows_.size() * (sizeof(Row) + sizeof(ImageHeader) + sizeof(uint32_t)) >=
          options_.image_buffer_bytes)
        PENSTOCK_RETURN_IF_ERROR(flush());
    }
  }
  return flush();
}

Status Folder::FlushRows() {
  if (rows_.empty()) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(FillImages());
  for (size_t i = 0; i < rows_.size(); ++i) {
    const Row& row = rows_[i];
    const auto& [incarnation, table] = *row.group;
    if (row.offset == kDeleted) {
      PENSTOCK_RETURN_IF_ERROR(writer_.DeleteRow(incarnation, table, row.entry->key));
      ++report_.deletions;
      continue;
    }
    const Piece& piece = pieces_[row.entry->piece];
    PENSTOCK_RETURN_IF_ERROR(
        writer_.PutRow(incarnation, {.table = table,
                                     .key = row.entry->key,
                                     .lsn = piece.lsn,
                                     .push_count = headers_[i].push_count,
                                     .flags = headers_[i].flags,
                                     .layout = piece.layout,
                                     .floats = {images_.data() + row.offset, piece.floats}}));
    ++report_.rows;
  }
  rows_.clear();
  return Status::Ok();
}

// Reads those deltas again that hold the buffer's images.
Status Folder::FillImages() {
  headers_.resize(rows_.size());
  firsts_.assign(pieces_.size() + 1, 0);
  for (const Row& row : rows_) firsts_[row.entry->piece + 1] += row.offset != kDeleted;
  std::partial_sum(firsts_.begin(), firsts_.end(), firsts_.begin());
  copies_.resize(firsts_.back());
  for (uint32_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].offset != kDeleted) copies_[firsts_[rows_[i].entry->piece]++] = i;
  }
  std::unique_ptr<SegmentReader> reader;
  uint32_t open = 0;  // the segment that it reads
  for (size_t next = 0; next < copies_.size();) {
    const uint32_t delta = pieces_[rows_[copies_[next]].entry->piece].delta;
    const Place& place = deltas_[delta];
    if (reader == nullptr || open != place.segment) {
      open = place.segment;
      const SegmentInfo& info = segments_[open].info;
      PENSTOCK_ASSIGN_OR_RETURN(reader,
                                SegmentReader::Open(files_, log_dir_, {info.number, info.aside}, info.bytes));
    }
    PENSTOCK_ASSIGN_OR_RETURN(const auto words, reader->ReadDelta(place.offset, place.words, place.checksum));
    if (!words) {
      return DataLoss("fold " + log_dir_ + ": the delta at " + std::to_string(place.offset) + " of " +
                      reader->path() + " reads otherwise than before");
    }
    PENSTOCK_RETURN_IF_ERROR(CopyImages(delta, *words, &next));
  }
  return Status::Ok();
}

Status Folder::CopyImages(uint32_t delta, kj::ArrayPtr<const capnp::word> words, size_t* next) {
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

Status Folder::WriteMeta(ShardId shard, const ShardState& state) {
  capnp::MallocMessageBuilder message;
  auto meta = message.initRoot<proto::ShardMeta>();
  const ShardFolded& last = state.folded;
  meta.setFormat(proto::DELTA_FORMAT);
  meta.setCluster(cluster_);
  meta.setShard(shard);
  meta.setIncarnation(last.incarnation);
  meta.setEpoch(last.epoch);
  meta.setLsn(last.lsn);
  meta.setChecksum(last.checksum);
  meta.setPieces(last.pieces);
  meta.setForgetFloor(state.forget_floor);
  auto tables = meta.initTables(state.tables.size());
  unsigned at = 0;
  for (const auto& [id, table] : state.tables) {
    auto out = tables[at++];
    out.setTable(id);
    out.setLayout(table.layout);
    out.setDim(table.dim);
    out.setSlots(table.slots);
    out.setOpenRound(table.open_round);
    out.setCommittedRound(table.committed_round);
    table.marks.WriteFull(out);
  }
  const auto words = capnp::messageToFlatArray(message);
  return writer_.PutMeta(shard, words);
}

// --- After the ingest.

void Folder::FillReport() {
  for (const auto& [shard, state] : shards_) {
    if (state.changed) report_.folded.emplace_back(shard, state.folded);
  }
}

Status Folder::RemoveSegments() {
  PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("fold.ingest.after"));
  for (const Segment& segment : segments_) {
    PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("fold.remove.before"));
    if (!segment.needed_by.empty()) {
      if (!segment.info.aside) PENSTOCK_RETURN_IF_ERROR(log_.SetAside(segment.info.number));
      ++report_.set_aside;
    } else {
      PENSTOCK_RETURN_IF_ERROR(log_.Remove(segment.info.number));
      ++report_.removed;
    }
    PENSTOCK_RETURN_IF_ERROR(PENSTOCK_FAULT("fold.remove.after"));
  }
  return Status::Ok();
}

Result<FoldReport> Fold(FileLayer& files, const std::string& log_dir, DeltaLog& log, BaseStore& base,
                        uint64_t cluster, const QuarantinedLives& quarantined, const FoldOptions& options,
                        FoldMemory* memory) {
  FoldMemory own;
  return Folder(files, log_dir, log, base, cluster, quarantined, options, memory == nullptr ? own : *memory)
      .Run();
}

}  // namespace penstock
