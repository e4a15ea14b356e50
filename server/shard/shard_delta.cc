// The deltas of a Shard: what waits for the next one, building it, and logging again after a failed write.
#include <capnp/serialize.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "common/base/crc32c.h"
#include "common/base/mutant.h"
#include "server/shard/flat_writer.h"
#include "server/shard/shard.h"

namespace penstock {
namespace {

// The words that a struct takes in a list of structs.
template <typename T>
constexpr size_t StructWords() {
  return capnp::_::structSize<T>().total();
}

size_t DataWords(size_t bytes) { return (bytes + 7) / 8; }

// A Data field as the array of T that it holds.
template <typename T>
T* As(capnp::Data::Builder data) {
  return reinterpret_cast<T*>(data.begin());
}

}  // namespace

// One TableDelta of the delta to come: a table's dirty rows or a piece of them, its marks with the first
// piece, or a drop.
struct Shard::PlannedEntry {
  TableId id = 0;
  const Table* table = nullptr;  // nullptr: the table was dropped
  std::span<const RowNumber> rows;
  size_t deleted = 0;                   // of rows
  std::span<const Key> cold_deletions;  // of rows that are not in memory
  bool open = false;                    // the rows are open: their images have accumulators
  bool marks = false;
  bool marks_later = false;  // a mutant's: they wait for another delta

  size_t ImageFloats() const { return open ? table->rows.all_floats() : table->rows.row_floats(); }

  size_t Words() const {
    if (table == nullptr) return StructWords<proto::TableDelta>();
    const size_t live = rows.size() - deleted;
    return StructWords<proto::TableDelta>() + DataWords(live * sizeof(Key)) +
           DataWords(live * sizeof(ImageHeader)) + DataWords(live * ImageFloats() * sizeof(float)) +
           DataWords(deletions() * sizeof(Key)) + MarksWords();
  }
  size_t deletions() const { return deleted + cold_deletions.size(); }
  size_t MarksWords() const {
    if (!marks) return 0;
    return table->full_marks ? table->marks.FullWords() : table->marks.ChangesWords();
  }
};

// --- Producers: what they change waits for the next delta.

Status Shard::AdvanceLow(TableId id, ProducerId producer, Sequence low) {
  Table* table = FindTable(id);
  if (table == nullptr)
    return NotFound("table " + std::to_string(id) + " in shard " + std::to_string(options_.shard));
  table->marks.AdvanceLow(producer, low);
  return Status::Ok();
}

void Shard::CompleteProducers(ProducerId first, ProducerId last) {
  for (auto& [id, table] : tables_) table->marks.CompleteProducers(first, last);
}

void Shard::FinishProducers(ProducerId first, ProducerId last) {
  for (auto& [id, table] : tables_) table->marks.FinishProducers(first, last);
  // Ranges that overlap become one.
  auto range = finished_.upper_bound(last);
  while (range != finished_.begin() && std::prev(range)->second >= first) {
    range = std::prev(range);
    first = std::min(first, range->first);
    last = std::max(last, range->second);
    range = finished_.erase(range);
  }
  finished_[first] = last;
}

void Shard::SetForgetFloor(ProducerId floor) {
  if (floor <= forget_floor_) return;
  forget_floor_ = floor;
  for (auto& [id, table] : tables_) table->marks.Forget(floor);
  while (!finished_.empty() && finished_.begin()->second < floor) finished_.erase(finished_.begin());
}

bool Shard::MarksPress(TableHandle table) const { return table.table_->marks.NearWindowHalf(); }

// --- Building.

Status Shard::BeginEpoch(Epoch epoch, Lsn min_lsn, Past past) {
  if (epoch <= epoch_) {
    return FailedPrecondition("shard " + std::to_string(options_.shard) + ": epoch " + std::to_string(epoch) +
                              " is not above the present " + std::to_string(epoch_));
  }
  if (past != Past::kLed) {
    // Units that no delta has taken are in memory, if it is this memory that they went to.
    const Lsn up_to = serving_ ? NextLsn() : held_up_to_;
    held_ = {.since = Defended(Defence::kHeldBefore) ? epoch : 1,
             .from = led_since_,
             .to = epoch_,
             .up_to = past == Past::kDamaged ? 0 : up_to};
    led_since_ = epoch;
  }
  epoch_ = epoch;
  min_lsn_ = min_lsn;
  first_of_epoch_ = true;
  serving_ = true;
  return Status::Ok();
}

bool Shard::HasUnlogged(const Table& table) const {
  return !table.rows.dirty().empty() || table.cold.tombstones().HasFresh() || table.full_marks ||
         table.rounds_changed || table.marks.HasChanges();
}

bool Shard::HasUnlogged(TableId id) const {
  const Table* table = FindTable(id);
  return table != nullptr && HasUnlogged(*table);
}

bool Shard::HasUnlogged() const {
  if (relog_ || forget_floor_ != logged_floor_) return true;
  for (const auto& [id, lsn] : dropped_) {
    if (lsn == 0) return true;
  }
  return std::any_of(tables_.begin(), tables_.end(),
                     [&](const auto& entry) { return HasUnlogged(*entry.second); });
}

// Of the dirty list, which has them first.
size_t Shard::CountOpen(const Table& table) {
  const auto& dirty = table.rows.dirty();
  if (table.opened.empty()) return 0;
  return std::partition_point(dirty.begin(), dirty.end(),
                              [&](RowNumber row) { return table.rows.Header(row)->open(); }) -
         dirty.begin();
}

std::vector<Shard::PlannedEntry> Shard::PlanEntries(const TableChoice& choose) const {
  std::vector<PlannedEntry> plan;
  for (const auto& [id, lsn] : dropped_) {
    if (lsn == 0) plan.push_back({.id = id, .table = nullptr, .rows = {}});
  }
  for (const auto& [id, table] : tables_) {
    // A delta that repeats takes every table, or replay would miss what the lost ones held.
    if (!relog_ && (!HasUnlogged(*table) || !choose(id))) continue;
    const std::span<const RowNumber> dirty = table->rows.dirty();
    const size_t row_bytes = table->rows.all_floats() * sizeof(float);
    const size_t piece = std::max<size_t>(1, options_.max_entry_bytes / row_bytes);
    const size_t open = CountOpen(*table);  // they stand first
    size_t first = 0;
    do {
      const size_t end = first < open ? open : dirty.size();
      PlannedEntry entry{.id = id,
                         .table = table.get(),
                         .rows = dirty.subspan(first, std::min(piece, end - first)),
                         .open = first < open};
      if (table->rows.deleted_rows() > 0) {
        entry.deleted =
            std::count_if(entry.rows.begin(), entry.rows.end(),
                          [rows = &table->rows](RowNumber row) { return rows->Header(row)->deleted(); });
      }
      entry.marks = first == 0;
      entry.marks_later = !Defended(Defence::kAtomicUnit) && !entry.rows.empty();
      if (entry.marks) entry.cold_deletions = table->cold.tombstones().Fresh();
      first += entry.rows.size();
      plan.push_back(entry);
    } while (first < dirty.size());
  }
  return plan;
}

void Shard::WriteEntry(const PlannedEntry& entry, proto::TableDelta::Builder out) const {
  out.setTable(entry.id);
  out.setLayout(kRowLayout);
  if (entry.table == nullptr) return out.setDropped(true);
  const RowTable& rows = entry.table->rows;
  const size_t live = entry.rows.size() - entry.deleted;
  const size_t row_bytes = entry.ImageFloats() * sizeof(float);
  out.setDim(rows.dim());
  out.setSlots(rows.slots());
  out.setSections(kSectionValues | kSectionSlots | (entry.open ? kSectionAccumulator : 0));
  out.setOpenRound(entry.table->open_round);
  out.setCommittedRound(entry.table->committed_round);
  auto* key = As<Key>(out.initKeys(live * sizeof(Key)));
  auto* header = As<ImageHeader>(out.initHeaders(live * sizeof(ImageHeader)));
  auto* image = As<std::byte>(out.initImages(live * row_bytes));
  auto* deletion = As<Key>(out.initDeletions(entry.deletions() * sizeof(Key)));
  deletion = std::copy(entry.cold_deletions.begin(), entry.cold_deletions.end(), deletion);
  for (size_t i = 0; i < entry.rows.size(); ++i) {
    if (i + RowTable::kAhead < entry.rows.size())
      rows.PrefetchWhole(rows.Header(entry.rows[i + RowTable::kAhead]));
    const RowHeader& from = *rows.Header(entry.rows[i]);
    if (from.deleted()) {
      *deletion++ = from.key;
      continue;
    }
    *key++ = from.key;
    *header++ = {from.push_count, from.flags & kTouchMask};
    std::memcpy(image, rows.Values(entry.rows[i]), row_bytes);
    image += row_bytes;
  }
  if (!entry.marks || entry.marks_later) return;
  if (entry.table->full_marks) {
    entry.table->marks.WriteFull(out);
  } else {
    entry.table->marks.WriteChanges(out);
  }
}

// Once a delta at `lsn` has taken these tables.
Lsn Shard::HeldUpTo(Lsn lsn, const TableChoice& taken) const {
  for (const auto& [id, table] : tables_) {
    if (table->told != 0 && table->told <= lsn && !taken(id)) lsn = table->told - 1;
  }
  return lsn;
}

BuiltDelta Shard::WriteDelta(std::span<const PlannedEntry> plan, Lsn held_up_to) const {
  size_t words = 8 + StructWords<proto::Delta>();
  for (const PlannedEntry& entry : plan) words += entry.Words();

  BuiltDelta built;
  built.lsn = NextLsn();
  FlatWriter writer(words);
  auto delta = writer.initRoot<proto::Delta>();
  delta.setFormat(proto::DELTA_FORMAT);
  delta.setCluster(options_.cluster);
  delta.setShard(options_.shard);
  delta.setEpoch(epoch_);
  delta.setLsn(built.lsn);
  delta.setPreviousLsn(previous_lsn_);
  delta.setPreviousChecksum(previous_checksum_);
  delta.setFirstOfEpoch(first_of_epoch_ || relog_);
  delta.setForgetFloor(forget_floor_);
  delta.setLedSince(led_since_);
  delta.setHeldUpTo(held_up_to);
  auto entries = delta.initTables(plan.size());
  for (size_t i = 0; i < plan.size(); ++i) WriteEntry(plan[i], entries[i]);
  built.words = writer.Finish();
  const auto bytes = built.words.asBytes();
  built.checksum = Crc32c(0, bytes.begin(), bytes.size());
  return built;
}

Result<BuiltDelta> Shard::BuildDelta(const TableChoice& choose) {
  if (!serving_)
    return FailedPrecondition("shard " + std::to_string(options_.shard) + " has no epoch to log in");
  for (auto& [id, table] : tables_) {
    if (!table->opened.empty()) table->rows.OpenRowsFirst();
  }
  const std::vector<PlannedEntry> plan = PlanEntries(choose);
  const Lsn held = relog_ ? NextLsn() : HeldUpTo(NextLsn(), choose);
  BuiltDelta built;
  try {
    built = WriteDelta(plan, held);
  } catch (const std::bad_alloc&) {
    return Overloaded("shard " + std::to_string(options_.shard) + ": no memory to build its next delta in",
                      1000);
  }
  for (const PlannedEntry& entry : plan) {
    if (entry.table == nullptr) {
      dropped_[entry.id] = built.lsn;
    } else if (entry.marks) {
      Table& table = *FindTable(entry.id);
      table.rows.ClearDirty(built.lsn);
      table.cold.tombstones().ClearFresh(built.lsn);
      if (!entry.marks_later) table.marks.ClearChanges();
      table.full_marks = table.rounds_changed = false;
      table.told = 0;
    }
  }
  logged_floor_ = forget_floor_;
  held_up_to_ = held;
  last_lsn_ = previous_lsn_ = built.lsn;
  last_checksum_ = previous_checksum_ = built.checksum;
  first_of_epoch_ = relog_ = false;
  return built;
}

void Shard::RelogFrom(Lsn from, uint32_t checksum) {
  for (auto& [id, table] : tables_) {
    for (RowNumber row = 0; row < table->rows.size(); ++row) {
      const RowHeader& header = *table->rows.Header(row);
      if (!header.free() && header.lsn > from) table->rows.MarkDirty(row);
    }
    table->cold.tombstones().Relog(from);
    table->full_marks = true;
  }
  for (auto& [id, lsn] : dropped_) {
    if (lsn > from) lsn = 0;
  }
  previous_lsn_ = from;
  previous_checksum_ = checksum;
  relog_ = true;
}

void Shard::SetFolded(Lsn lsn) {
  folded_lsn_ = std::max(folded_lsn_, lsn);
  if (seeds_ > 0) return;  // what a seed reads of the base may still have their rows
  for (auto& [id, table] : tables_) {
    table->rows.EraseTombstones(lsn);
    table->cold.tombstones().Forget(lsn);
  }
}

}  // namespace penstock
