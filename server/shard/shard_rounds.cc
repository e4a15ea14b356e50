// The rounds of a Shard's tables of sync jobs: units are summed in accumulators, a commit steps their rows
// once.
#include <algorithm>
#include <string>

#include "server/shard/shard.h"

namespace penstock {

// While a table has no rows they may still get another shape: replay makes tables before it knows of rounds.
bool Shard::MakeRoomToAccumulate(Table& table, TableId id) {
  if (table.rows.accumulates()) return true;
  if (table.rows.used_rows() > 0) return false;
  table.rows = RowTable(id, table.rows.dim(), table.rows.slots(), true);
  return true;
}

uint64_t Shard::open_round(TableId id) const {
  const Table* table = FindTable(id);
  return table == nullptr ? 0 : table->open_round;
}

uint64_t Shard::committed_round(TableId id) const {
  const Table* table = FindTable(id);
  return table == nullptr ? 0 : table->committed_round;
}

Status Shard::CheckRound(const Table& table, uint64_t round) const {
  if (round == 0 || (round > table.committed_round && round >= table.open_round)) return Status::Ok();
  return FailedPrecondition(Name(table) + ": a push of round " + std::to_string(round) + ", but round " +
                            (round <= table.committed_round
                                 ? std::to_string(table.committed_round) + " is committed"
                                 : std::to_string(table.open_round) + " is open"));
}

void Shard::OpenRow(Table& table, RowNumber row) {
  RowHeader* header = table.rows.Header(row);
  if (header->open()) return;
  header->flags |= kRowOpen;
  table.opened.push_back(row);
}

// The number stays in `opened`: the flag counts.
void Shard::CloseRow(Table& table, RowNumber row) {
  table.rows.Header(row)->flags &= ~kRowOpen;
  std::fill_n(table.rows.Accumulator(row), table.rows.dim(), 0.0f);
}

void Shard::Accumulate(Table& table, std::span<const Key> keys, const float* values, uint64_t round) {
  if (round != table.open_round) {
    DropOpen(table);
    table.open_round = round;
    table.rounds_changed = true;
  }
  const uint32_t dim = table.spec->dim;
  for (size_t i = 0; i < keys.size(); ++i) {
    OpenRow(table, found_[i]);
    float* sum = table.rows.Accumulator(found_[i]);
    const float* value = values + i * size_t{dim};
    for (uint32_t d = 0; d < dim; ++d) sum[d] += value[d];
    table.rows.MarkDirty(found_[i]);
  }
}

// Sums of a round whose commit this shard has missed.
void Shard::DropOpen(Table& table) {
  for (const RowNumber row : table.opened) {
    if (!table.rows.Header(row)->open()) continue;
    CloseRow(table, row);
    table.rows.MarkDirty(row);  // the log has it open
  }
  table.opened.clear();
  table.open_round = 0;
}

Result<bool> Shard::CommitRound(TableId id, uint64_t round, uint64_t examples, uint64_t step) {
  PENSTOCK_ASSIGN_OR_RETURN(Table * table, ServingTable(id));
  if (!table->spec->accumulate) return FailedPrecondition(Name(*table) + " does not accumulate");
  if (round == 0 || examples == 0)
    return InvalidArgument(Name(*table) + ": a commit of round " + std::to_string(round) + " with " +
                           std::to_string(examples) + " examples");
  if (round <= table->committed_round) return false;
  if (round < table->open_round) {
    return FailedPrecondition(Name(*table) + ": a commit of round " + std::to_string(round) + ", but round " +
                              std::to_string(table->open_round) + " is open");
  }
  if (round != table->open_round) DropOpen(*table);
  RowTable& rows = table->rows;
  const uint32_t dim = rows.dim();
  const float scale = 1.0f / static_cast<float>(examples);
  mean_.resize(dim);
  for (const RowNumber row : table->opened) {
    RowHeader* header = rows.Header(row);
    if (!header->open()) continue;
    const float* sum = rows.Accumulator(row);
    for (uint32_t d = 0; d < dim; ++d) mean_[d] = sum[d] * scale;
    if (header->push_count != UINT32_MAX) ++header->push_count;
    const bool finite = table->optimizer->Apply(header->push_count, step, mean_.data(), dim, rows.Values(row),
                                                rows.Slots(row));
    if (!finite) NoteNotFinite(*table, header->key);
    CloseRow(*table, row);
    rows.MarkDirty(row);
  }
  table->opened.clear();
  table->open_round = 0;
  table->committed_round = round;
  table->rounds_changed = true;
  return true;
}

}  // namespace penstock
