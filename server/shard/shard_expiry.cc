// Admission of keys and expiry of rows in a Shard.
#include <algorithm>

#include "server/shard/shard.h"

namespace penstock {

// Whether a push of a key without a row would make one; nothing is counted. A key that stands twice in a unit
// may be admitted by its second place, which is not looked for here.
bool Shard::WouldAdmit(const Table& table, const UnitContext& unit, Key key) {
  const AdmissionSpec& rule = table.spec->admission;
  return AdmissionDraws(rule, table.spec->seed, unit.producer, unit.sequence, key) &&
         (!table.counts || table.counts->Count(key) + 1 >= rule.min_count);
}

bool Shard::Admit(Table& table, const UnitContext& unit, Key key) {
  const AdmissionSpec& rule = table.spec->admission;
  if (!AdmissionDraws(rule, table.spec->seed, unit.producer, unit.sequence, key)) return false;
  if (!table.counts) return true;
  if (table.counts->Add(key) < rule.min_count) return false;
  table.counts->Remove(key);
  return true;
}

// A push that comes late, from a pass that others have left, touches the present one.
uint32_t Shard::UnitTouch(Table& table, const UnitContext& unit) {
  const ExpirySpec& rules = table.spec->expiry;
  if (!rules.any()) return 0;
  if (rules.unused_passes == 0) return TouchOfSeconds(unit.seconds);
  table.highest_touch = std::max(table.highest_touch, std::min(unit.pass, kMaxTouch));
  return table.highest_touch;
}

Result<ExpiryMoment> Shard::BeginExpiry(TableId id, uint32_t seconds, uint32_t grace_seconds) {
  PENSTOCK_ASSIGN_OR_RETURN(Table * table, ServingTable(id));
  const bool passes = table->spec->expiry.unused_passes > 0;
  ExpiryMoment moment{.now = passes ? table->highest_touch : TouchOfSeconds(seconds),
                      .grace = passes ? 1 : grace_seconds};
  if (!table->first_seen) table->first_seen = moment.now;
  moment.first_seen = *table->first_seen;
  return moment;
}

Result<bool> Shard::ExpireRows(TableId id, const ExpiryMoment& moment, bool dry_run, size_t limit,
                               RowCursor* cursor, ExpiryTally* tally) {
  PENSTOCK_ASSIGN_OR_RETURN(Table * table, ServingTable(id));
  RowTable& rows = table->rows;
  if (rows.size() < cursor->size) tally->wait = 0;
  cursor->size = rows.size();
  const size_t end = std::min(rows.size(), cursor->next + limit);
  for (; cursor->next < end; ++cursor->next) {
    const RowNumber row = cursor->next;
    const RowHeader& header = *rows.Header(row);
    // A unit that waits for cold rows is about to push what it has pinned.
    if (header.free() || header.deleted() || table->cold.Pinned(header.key)) continue;
    const RowExpiry decision =
        DecideExpiry(table->spec->expiry, moment, TouchOf(header.flags), {rows.Values(row), rows.dim()});
    tally->Add(decision);
    if (decision.rule == ExpiryRule::kNone || dry_run) continue;
    rows.MarkDeleted(row);
    rows.MarkDirty(row);
  }
  return cursor->next >= rows.size();
}

Status Shard::ExpireColdRows(TableId id, std::span<const std::pair<Key, ExpiryRule>> due, bool dry_run,
                             ExpiryTally* tally) {
  PENSTOCK_ASSIGN_OR_RETURN(Table * table, ServingTable(id));
  for (const auto& [key, rule] : due) {
    if (!MayBeCold(*table, key) || table->cold.Pinned(key)) {
      tally->wait = 0;
      continue;
    }
    tally->Count(rule);
    if (!dry_run) table->cold.Delete(key);
  }
  return Status::Ok();
}

size_t Shard::TombstoneBytes() const {
  size_t bytes = 0;
  for (const auto& [id, table] : tables_) bytes += table->cold.tombstones().ResidentBytes();
  return bytes;
}

}  // namespace penstock
