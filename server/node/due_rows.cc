#include "server/node/due_rows.h"

#include <algorithm>

namespace penstock {

Result<DueRows> FindDueRows(const BaseStore& base, Incarnation incarnation, const TableSpec& spec,
                            const ExpiryMoment& moment, Key first, size_t limit) {
  PENSTOCK_ASSIGN_OR_RETURN(const StoredRows stored, base.Scan(incarnation, spec.id, first, limit));
  DueRows due;
  for (size_t i = 0; i < stored.size(); ++i) {
    const BaseRow row = stored.row(i);
    const RowExpiry decision = DecideExpiry(spec.expiry, moment, TouchOf(row.flags),
                                            row.floats.first(std::min<size_t>(spec.dim, row.floats.size())));
    if (decision.rule != ExpiryRule::kNone) {
      due.rows.emplace_back(row.key, decision.rule);
    } else {
      due.wait = std::min(due.wait, decision.wait);
    }
  }
  due.next = stored.next();
  return due;
}

}  // namespace penstock
