// The ledger of a job: a table into which its workers push +1 for every example, in the same call and under
// the same identity as the gradients that the example gave. With train.ledger the rows 0 .. passes * records
// - 1 are exactly 1 when the job is done, whatever happened to workers and servers meanwhile.
#pragma once

#include <span>

#include "client/client.h"
#include "data/data_plan.h"

namespace penstock {

// The row of a partition's first example in a pass (0-based); its others follow.
inline Key LedgerBase(const DataPlan& plan, uint32_t pass, uint32_t partition) {
  Key base = pass * plan.records;
  for (uint32_t i = 0; i < partition; ++i) base += plan.partitions[i].records;
  return base;
}

// `examples` of a partition, by their place in it.
inline TablePush LedgerRows(TableId table, Key base, std::span<const uint32_t> examples) {
  TablePush rows{.table = table, .keys = {}, .values = std::vector<float>(examples.size(), 1.0f)};
  rows.keys.reserve(examples.size());
  for (const uint32_t index : examples) rows.keys.push_back(base + index);
  return rows;
}

}  // namespace penstock
