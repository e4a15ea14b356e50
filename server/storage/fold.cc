// The steps of a fold.
#include "server/storage/fold.h"

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>

#include "common/base/fault.h"
#include "common/base/mutant.h"
#include "server/marks.h"
#include "server/shard/table_images.h"
#include "server/storage/fold_rows.h"
#include "server/storage/segment_reader.h"

namespace penstock {

FoldMemory::FoldMemory() : rows_(std::make_unique<FoldRows>()) {}
FoldMemory::~FoldMemory() = default;
void FoldMemory::Release() { rows_ = std::make_unique<FoldRows>(); }

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
        rows_(*memory.rows_) {
    rows_.Clear(options.index_limit_bytes);
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
    Epoch led_since = 0;  // as the last delta says
    Lsn held_up_to = 0;
    bool changed = false;
  };
  struct Segment {
    SegmentInfo info;
    std::set<ShardId> needed_by;  // it holds deltas of these that cannot be folded
  };
  Status LoadBase();
  Status ReadSegments();
  Status ReadSegment(size_t at);
  bool IsDiscarded(ShardId shard, Incarnation incarnation) const {
    const auto found = options_.discarded.find(shard);
    return found != options_.discarded.end() && incarnation != 0 && incarnation <= found->second;
  }
  Status TakeDelta(size_t segment, const LoggedDelta& logged, proto::Delta::Reader delta);
  ShardState& StateOf(ShardId shard);
  void NoteBroken(Segment& segment, ShardId shard, const ShardState& state);
  void NoteGoesOn(ShardId shard);
  void BeginIncarnation(ShardId shard, ShardState& state);
  Status CheckTables(const ShardState& state, Incarnation incarnation, proto::Delta::Reader delta) const;
  Status TakeTable(ShardState& state, proto::Delta::Reader delta, unsigned entry);

  Status WriteFiles();
  Status WriteRows();
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

  FoldRows& rows_;  // FoldMemory's
};

Result<FoldReport> Folder::Run() {
  const auto started = std::chrono::steady_clock::now();
  for (const SegmentInfo& info : log_.Sealed()) segments_.push_back({info});
  if (segments_.empty() && options_.discarded.empty()) return report_;
  // What was logged and not yet synced might be lost after its segment's base had already been kept.
  PENSTOCK_RETURN_IF_ERROR(log_.Sync());
  PENSTOCK_RETURN_IF_ERROR(LoadBase());
  PENSTOCK_RETURN_IF_ERROR(ReadSegments());
  for (const auto& [shard, state] : shards_) {
    if (IsDiscarded(shard, state.folded.incarnation)) removed_incarnations_.insert(state.folded.incarnation);
  }
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
    state.led_since = meta.getLedSince();
    state.held_up_to = meta.getHeldUpTo();
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
    PENSTOCK_RETURN_IF_ERROR(GoesOn(options_.stop));
    PENSTOCK_RETURN_IF_ERROR(ReadSegment(i));
    // With the meta of a life all of its deltas go, those in later segments too.
    if (rows_.Bytes() <= options_.index_limit_bytes || !options_.discarded.empty()) continue;
    rows_.Compact();
    if (rows_.Bytes() <= options_.index_limit_bytes) continue;
    segments_.resize(i + 1);
  }
  rows_.Compact();
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
  if (IsDiscarded(shard, logged.incarnation)) return Status::Ok();
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
  state.led_since = delta.getLedSince();
  state.held_up_to = delta.getHeldUpTo();
  rows_.AddDelta(static_cast<uint32_t>(at), logged);
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
  rows_.RemoveIncarnation(state.folded.incarnation);
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
    rows_.RemoveTable(group);
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
  rows_.AddTable(group, entry, delta.getLsn(), from.getLayout(), images);
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
    if (IsDiscarded(shard, state.folded.incarnation)) {
      PENSTOCK_RETURN_IF_ERROR(writer_.RemoveMeta(shard));
    } else if (state.changed) {
      PENSTOCK_RETURN_IF_ERROR(WriteMeta(shard, state));
    }
  }
  PENSTOCK_RETURN_IF_ERROR(writer_.Finish());
  report_.base_bytes = writer_.bytes();
  return Status::Ok();
}

Status Folder::WriteRows() {
  const auto open = [&](uint32_t segment) {
    const SegmentInfo& info = segments_[segment].info;
    return SegmentReader::Open(files_, log_dir_, {info.number, info.aside}, info.bytes);
  };
  const auto written = rows_.Write(open, options_.image_buffer_bytes, options_.stop, writer_);
  if (!written.ok()) return written.status().Prepend("fold " + log_dir_);
  report_.rows = written->rows;
  report_.deletions = written->deletions;
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
  meta.setLedSince(state.led_since);
  meta.setHeldUpTo(state.held_up_to);
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
