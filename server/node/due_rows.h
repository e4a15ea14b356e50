// DueRows: which rows of a piece of the base are due to expire. Read on a thread that may wait for the disk.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/cluster/table_spec.h"
#include "server/shard/expiry.h"
#include "server/storage/base_store.h"

namespace penstock {

struct DueRows {
  std::vector<std::pair<Key, ExpiryRule>> rows;
  uint32_t wait = UINT32_MAX;  // of the others: until the first of them can be due
  std::optional<Key> next;     // where the next piece begins
};

// Looks at up to `limit` rows of a table from key `first` on, as they are in the base, whether they are in
// memory too or not.
Result<DueRows> FindDueRows(const BaseStore& base, Incarnation incarnation, const TableSpec& spec,
                            const ExpiryMoment& moment, Key first, size_t limit);

}  // namespace penstock
