// Tables, pulls and pushes of a Shard; its deltas are in shard_delta.cc.
#include "server/shard/shard.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "common/base/copy_row.h"
#include "common/base/hash.h"
#include "common/base/mutant.h"
#include "common/cluster/table_difference.h"
#include "server/shard/initializer.h"
#include "server/shard/optimizer_kernels.h"

namespace penstock {
namespace {

// What `alter` may change, taken from the other spec.
TableSpec WithAlterable(TableSpec spec, const TableSpec& other) {
  spec.durability = other.durability;
  const OptimizerKind kind = spec.optimizer.kind;
  spec.optimizer = other.optimizer;
  spec.optimizer.kind = kind;
  spec.schedule = other.schedule;
  return spec;
}

void AddValues(std::span<const float> values, ShardTableStats* stats) {
  for (const float value : values) {
    stats->sum_squares += static_cast<double>(value) * value;
    stats->sum_abs += std::fabs(static_cast<double>(value));
    stats->non_zero += value != 0;
  }
}

}  // namespace

Shard::Shard(const ShardOptions& options) : options_(options) {}

// --- Tables.

Status Shard::CreateTable(const TableSpec& spec) {
  if (spec.id == 0) return InvalidArgument("table '" + spec.name + "' has no id");
  PENSTOCK_RETURN_IF_ERROR(spec.Validate());
  const std::string name = "table '" + spec.name + "' (" + std::to_string(spec.id) + ")";
  if (dropped_.contains(spec.id)) return FailedPrecondition(name + " was dropped; ids are never used again");
  const uint32_t slots = spec.slots();
  Table* table = FindTable(spec.id);
  if (table == nullptr) table = &AddTable(spec.id, spec.dim, slots, spec.accumulate);
  if (table->spec) {
    if (*table->spec == spec) return Status::Ok();
    return AlreadyExists(name + " exists with another spec: its " + DescribeDifference(*table->spec, spec));
  }
  if (table->rows.dim() != spec.dim || table->rows.slots() != slots) {
    return FailedPrecondition(name + ": the spec says " + std::to_string(spec.dim) + " values and " +
                              std::to_string(slots) + " slots a row, stored are " +
                              std::to_string(table->rows.dim()) + " and " +
                              std::to_string(table->rows.slots()));
  }
  if (spec.accumulate ? !MakeRoomToAccumulate(*table, spec.id) : table->rows.accumulates()) {
    return FailedPrecondition(name + ": the spec says that it " +
                              (spec.accumulate ? "accumulates" : "does not accumulate") +
                              ", the stored rows say otherwise");
  }
  table->spec = spec;
  table->optimizer.emplace(spec.optimizer, spec.schedule);
  if (spec.admission.min_count > 1) table->counts.emplace(spec.id);
  return Status::Ok();
}

Shard::Table& Shard::AddTable(TableId id, uint32_t dim, uint32_t slots, bool accumulates) {
  auto& table = tables_[id] = std::make_unique<Table>(id, dim, slots, accumulates);
  return *table;
}

Status Shard::DropTable(TableId table) {
  if (tables_.erase(table) == 0) return NotFound("table " + std::to_string(table));
  dropped_[table] = 0;
  return Status::Ok();
}

Status Shard::AlterTable(const TableSpec& spec) {
  PENSTOCK_RETURN_IF_ERROR(spec.Validate());
  PENSTOCK_ASSIGN_OR_RETURN(Table * table, ServingTable(spec.id));
  if (WithAlterable(*table->spec, spec) != spec) {
    return InvalidArgument("table '" + table->spec->name +
                           "': only durability, the schedule and the optimizer's parameters can be altered, "
                           "not its kind or anything else");
  }
  if (*table->spec == spec) return Status::Ok();
  table->spec = spec;
  table->optimizer.emplace(spec.optimizer, spec.schedule);
  return Status::Ok();
}

const TableSpec* Shard::FindSpec(TableId table) const {
  const Table* found = FindTable(table);
  return found != nullptr && found->spec ? &*found->spec : nullptr;
}

Shard::TableHandle Shard::Serving(TableId table) const {
  Table* found = FindTable(table);
  return TableHandle(found != nullptr && found->spec ? found : nullptr);
}

std::vector<TableId> Shard::TableIds() const {
  std::vector<TableId> ids;
  for (const auto& [id, table] : tables_) ids.push_back(id);
  return ids;
}

Shard::Table* Shard::FindTable(TableId table) const {
  const auto found = tables_.find(table);
  return found == tables_.end() ? nullptr : found->second.get();
}

Result<Shard::Table*> Shard::ServingTable(TableId table) const {
  if (const TableHandle found = Serving(table)) return found.table_;
  return NotFound("table " + std::to_string(table) + " in shard " + std::to_string(options_.shard));
}

std::string Shard::Name(const Table& table) const {
  return "table '" + table.spec->name + "' shard " + std::to_string(options_.shard);
}

// --- Pull and push.

Status Shard::PullRows(TableId id, std::span<const Key> keys, float* out, std::vector<uint32_t>* cold,
                       uint8_t* stored) const {
  PENSTOCK_ASSIGN_OR_RETURN(Table * table, ServingTable(id));
  PullRows(TableHandle(table), keys, out, cold, stored);
  return Status::Ok();
}

void Shard::PullRows(TableHandle handle, std::span<const Key> keys, float* out, std::vector<uint32_t>* cold,
                     uint8_t* stored) const {
  const Table* table = handle.table_;
  const TableSpec& spec = *table->spec;
  const size_t dim = spec.dim;
  table->rows.VisitBatch(keys, [&](size_t i, RowHeader* row) {
    float* to = out + i * dim;
    if (row != nullptr && !row->deleted()) {
      RowTable::Touch(row);
      CopyRow(RowTable::Values(row), dim, to);
      if (stored != nullptr) stored[i] = 1;
    } else if (row == nullptr && table->cold.MayHold(keys[i])) {
      cold->push_back(static_cast<uint32_t>(i));
    } else {
      InitializeRow(spec.initializer, spec.seed, spec.id, keys[i], spec.dim, to);
      if (stored != nullptr) stored[i] = 0;
    }
  });
}

Result<PushOutcome> Shard::PushUnit(const UnitContext& unit, TableId id, std::span<const Key> keys,
                                    const float* values, size_t growth_bytes) {
  PENSTOCK_ASSIGN_OR_RETURN(Table * table, ServingTable(id));
  return PushUnit(unit, TableHandle(table), keys, values, growth_bytes);
}

Result<PushOutcome> Shard::PushUnit(const UnitContext& unit, TableHandle handle, std::span<const Key> keys,
                                    const float* values, size_t growth_bytes) {
  Table* table = handle.table_;
  PENSTOCK_RETURN_IF_ERROR(CheckRewind(unit.rewind));
  PENSTOCK_RETURN_IF_ERROR(CheckUnit(unit, *table, keys));
  if (Defended(Defence::kMarks) && table->marks.Contains(unit.producer, unit.sequence)) {
    table->marks.AdvanceLow(unit.producer, unit.low);
    return PushOutcome{.duplicate = true, .lsn = UnitLsn(*table), .cold = {}};
  }
  PENSTOCK_RETURN_IF_ERROR(CheckRound(*table, unit.round));
  PENSTOCK_RETURN_IF_ERROR(
      table->marks.CheckWindow(unit.producer, unit.sequence, unit.low).Prepend(Name(*table)));
  PENSTOCK_RETURN_IF_ERROR(CheckFinite(*table, keys, values));
  PushOutcome outcome;
  PENSTOCK_RETURN_IF_ERROR(FindOrCreate(*table, unit, keys, growth_bytes, &outcome));
  if (!outcome.applied()) return outcome;
  if (unit.round > 0) {
    Accumulate(*table, keys, values, unit.round);
  } else {
    ApplyRows(*table, unit, keys, values);
  }
  table->marks.Add(unit.producer, unit.sequence);
  table->marks.AdvanceLow(unit.producer, unit.low);
  outcome.lsn = NextLsn();
  if (table->told == 0) table->told = outcome.lsn;
  return outcome;
}

Status Shard::CheckRewind(uint64_t number) const {
  if (number == 0 || number >= rewind_ || !Defended(Defence::kRewind)) return Status::Ok();
  return Cancelled("shard " + std::to_string(options_.shard) + " has rewind number " +
                   std::to_string(rewind_) + ", the lease of this call has " + std::to_string(number) +
                   ": the job was rewound since, and the lease has ended");
}

Status Shard::CheckUnit(const UnitContext& unit, const Table& table, std::span<const Key> keys) const {
  if (table.spec->accumulate != (unit.round > 0)) {
    return FailedPrecondition(Name(table) +
                              (table.spec->accumulate
                                   ? ": it belongs to a sync job and takes pushes of its rounds only"
                                   : ": a push of a round, but the table does not accumulate"));
  }
  const ProducerId producer = unit.producer;
  if (producer == 0) return InvalidArgument(Name(table) + ": a push needs a producer id above 0");
  if (unit.sequence < unit.low) {
    return InvalidArgument(Name(table) + ": sequence " + std::to_string(unit.sequence) + " of producer " +
                           std::to_string(producer) + " is below its own low " + std::to_string(unit.low));
  }
  const size_t bytes = keys.size() * (sizeof(Key) + sizeof(float) * size_t{table.spec->dim});
  if (bytes > kMaxUnitBytes) {
    return InvalidArgument(Name(table) + ": a unit of " + std::to_string(bytes) + " bytes, allowed are " +
                           std::to_string(kMaxUnitBytes) + "; push fewer rows at once");
  }
  if (producer < forget_floor_) {
    return UnknownProducer("producer " + std::to_string(producer) + " is below the forget floor " +
                           std::to_string(forget_floor_) + " of shard " + std::to_string(options_.shard));
  }
  if (Finished(producer) || table.marks.Finished(producer)) {
    return UnknownProducer("producer " + std::to_string(producer) + " is finished");
  }
  return Status::Ok();
}

bool Shard::Finished(ProducerId producer) const {
  const auto after = finished_.upper_bound(producer);
  return after != finished_.begin() && std::prev(after)->second >= producer;
}

Status Shard::CheckFinite(const Table& table, std::span<const Key> keys, const float* values) {
  if (table.spec->allow_non_finite) return Status::Ok();
  const size_t dim = table.spec->dim, count = keys.size() * dim;
  const size_t bad = CountNonFinite(values, count);
  if (bad == 0) return Status::Ok();
  ++non_finite_units_;
  size_t first = 0;
  while (CountNonFinite(values + first * dim, dim) == 0) ++first;
  return InvalidArgument(Name(table) + ": " + std::to_string(bad) + " of " + std::to_string(count) +
                         " pushed values are NaN or infinite, the first of them of key " +
                         std::to_string(keys[first]) + "; nothing of the unit was applied");
}

// The unit stays whole: it is applied, and the answer says so.
void Shard::NoteNotFinite(Table& table, Key key) {
  if (table.spec->allow_non_finite) return;
  ++table.not_finite.rows;
  table.not_finite.key = key;
}

// Leaves the unit's rows in found_. Everything that can fail comes before the first row is made or a push is
// counted.
Status Shard::FindOrCreate(Table& table, const UnitContext& unit, std::span<const Key> keys,
                           size_t growth_bytes, PushOutcome* outcome) {
  RowTable& rows = table.rows;
  const bool admits_all = table.spec->admission == AdmissionSpec{};
  found_.resize(keys.size());
  const size_t missing = rows.FindBatch(keys, found_.data());
  if (missing == 0 && rows.deleted_rows() == 0) return Status::Ok();
  if (missing > 0) {
    for (size_t i = 0; i < keys.size(); ++i) {
      if (found_[i] == kNoRow && table.cold.MayHold(keys[i])) outcome->cold.push_back(keys[i]);
    }
    if (!outcome->cold.empty()) return Status::Ok();
    size_t growth = rows.GrowthBytes(missing);
    if (growth > growth_bytes && !admits_all) {
      size_t admitted = 0;
      for (size_t i = 0; i < keys.size(); ++i)
        admitted += found_[i] == kNoRow && WouldAdmit(table, unit, keys[i]);
      growth = rows.GrowthBytes(admitted);
    }
    if (growth > growth_bytes) {
      outcome->lacks_bytes = growth;
      return Status::Ok();
    }
    PENSTOCK_RETURN_IF_ERROR(rows.Reserve(missing));
    outcome->grown_bytes = growth;
  }
  const TableSpec& spec = *table.spec;
  for (size_t i = 0; i < keys.size(); ++i) {
    RowNumber& row = found_[i];
    // A key that stands twice in the unit was made at its first place.
    if (row == kNoRow) row = rows.Find(keys[i]);
    const bool is_new = row == kNoRow;
    if (!is_new && !rows.Header(row)->deleted()) continue;
    if (!admits_all && !Admit(table, unit, keys[i])) {
      row = kNoRow;
      continue;
    }
    if (is_new) {
      row = rows.Insert(keys[i]);
      table.cold.Replace(keys[i]);
    } else {
      rows.Revive(row);
    }
    InitializeRow(spec.initializer, spec.seed, spec.id, keys[i], spec.dim, rows.Values(row));
    table.optimizer->InitializeSlots(spec.dim, rows.Slots(row));
  }
  return Status::Ok();
}

void Shard::ApplyRows(Table& table, const UnitContext& unit, std::span<const Key> keys, const float* values) {
  RowTable& rows = table.rows;
  const uint32_t dim = table.spec->dim;
  const uint32_t touch = UnitTouch(table, unit);
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i + RowTable::kAhead < keys.size() && found_[i + RowTable::kAhead] != kNoRow)
      rows.PrefetchNear(rows.Header(found_[i + RowTable::kAhead]));
    const RowNumber row = found_[i];
    if (row == kNoRow) continue;
    RowHeader* header = rows.Header(row);
    if (header->push_count != UINT32_MAX) ++header->push_count;
    header->flags |= kRowReferenced;
    float* weights = RowTable::Values(header);
    const bool finite = table.optimizer->Apply(header->push_count, unit.step, values + i * size_t{dim}, dim,
                                               weights, weights + dim);
    if (!finite) NoteNotFinite(table, header->key);
    header->flags = WithTouch(header->flags, touch);
    rows.MarkDirty(row, header);
  }
}

// Rule 14, for a unit that was applied before: what is open of its table goes into the next delta, else it is
// in one already.
Lsn Shard::UnitLsn(const Table& table) const {
  if (!Defended(Defence::kDuplicateWait)) return 0;
  return HasUnlogged(table) ? NextLsn() : last_lsn_;
}

Result<size_t> Shard::DeleteRows(TableId id, std::span<const Key> keys) {
  PENSTOCK_ASSIGN_OR_RETURN(Table * table, ServingTable(id));
  size_t deleted = 0;
  for (const Key key : keys) {
    const RowNumber row = table->rows.Find(key);
    if (row == kNoRow && table->cold.MayHold(key)) {
      table->cold.Delete(key);
      ++deleted;
      continue;
    }
    if (row == kNoRow || table->rows.Header(row)->deleted()) continue;
    table->rows.MarkDeleted(row);
    table->rows.MarkDirty(row);
    ++deleted;
  }
  return deleted;
}

// --- Looking.

Status Shard::ForEachRow(TableId id, const RowVisitor& visit) const {
  const Table* table = FindTable(id);
  if (table == nullptr)
    return NotFound("table " + std::to_string(id) + " in shard " + std::to_string(options_.shard));
  const RowTable& rows = table->rows;
  for (RowNumber row = 0; row < rows.size(); ++row) {
    const RowHeader& header = *rows.Header(row);
    if (header.free() || header.deleted()) continue;
    visit(header, {rows.Values(row), rows.dim()}, {rows.Slots(row), rows.slots()});
  }
  return Status::Ok();
}

Result<ShardTableStats> Shard::Stats(TableId id) const {
  ShardTableStats stats;
  PENSTOCK_RETURN_IF_ERROR(ForEachRow(id, [&](const RowHeader&, std::span<const float> values,
                                              std::span<const float>) { AddValues(values, &stats); }));
  const Table* table = FindTable(id);
  stats.rows = table->rows.live_rows() + table->cold.count();
  stats.bytes = TableBytes(*table);
  return stats;
}

void Shard::AddColdRow(TableId id, Key key, std::span<const float> values, ShardTableStats* stats) const {
  const Table* table = FindTable(id);
  if (table != nullptr && values.size() >= table->rows.dim() && MayBeCold(*table, key))
    AddValues(values.first(table->rows.dim()), stats);
}

namespace {

void AddToHash(TableId table, Key key, uint32_t push_count, std::span<const float> floats,
               ContentHash* content) {
  uint64_t hash = RowHash(key, table) ^ push_count;
  for (const float value : floats)
    hash = std::rotl(hash ^ std::bit_cast<uint32_t>(value), 29) * 0x9e3779b97f4a7c15ULL;
  // A sum over rows does not depend on their order.
  content->hash += Mix64(hash);
  ++content->rows;
}

}  // namespace

void Shard::AddColdRow(TableId id, Key key, uint32_t push_count, std::span<const float> floats,
                       ContentHash* content) const {
  const Table* table = FindTable(id);
  if (table != nullptr && MayBeCold(*table, key)) AddToHash(id, key, push_count, floats, content);
}

ContentHash Shard::Hash() const {
  ContentHash content;
  for (const auto& [id, table] : tables_) {
    for (RowNumber row = 0; row < table->rows.size(); ++row) {
      const RowHeader& header = *table->rows.Header(row);
      if (header.free() || header.deleted()) continue;
      const uint32_t count = header.open() ? table->rows.all_floats() : table->rows.row_floats();
      AddToHash(id, header.key, header.push_count, {table->rows.Values(row), count}, &content);
    }
  }
  return content;
}

size_t Shard::TableBytes(const Table& table) {
  return sizeof(Table) + table.rows.ResidentBytes() + table.cold.ResidentBytes() +
         table.marks.ResidentBytes() + table.opened.capacity() * sizeof(RowNumber) +
         (table.counts ? table.counts->ResidentBytes() : 0) +
         (table.optimizer ? table.optimizer->ResidentBytes() : 0);
}

size_t Shard::MarksBytes() const {
  size_t bytes = 0;
  for (const auto& [id, table] : tables_) bytes += table->marks.ResidentBytes();
  return bytes;
}

size_t Shard::ResidentBytes() const {
  size_t bytes = sizeof(Shard) + found_.capacity() * sizeof(RowNumber) + mean_.capacity() * sizeof(float);
  for (const auto& [id, table] : tables_) bytes += TableBytes(*table);
  return bytes;
}

uint64_t Shard::live_rows() const {
  uint64_t rows = 0;
  for (const auto& [id, table] : tables_) rows += table->rows.live_rows() + table->cold.count();
  return rows;
}

}  // namespace penstock
