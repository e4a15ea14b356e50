// BaseStore: how much of it is deletions, and merging them with what they delete.
#include <rocksdb/table_properties.h>

#include "server/storage/base_store.h"

namespace penstock {

Result<BaseStore::Entries> BaseStore::CountEntries() const {
  rocksdb::TablePropertiesCollection files;
  PENSTOCK_RETURN_IF_ERROR(ToStatus(db_->GetPropertiesOfAllTables(rows_, &files), "read properties"));
  Entries entries;
  for (const auto& [name, properties] : files) {
    entries.all += properties->num_entries;
    entries.deletions += properties->num_deletions;
  }
  return entries;
}

Status BaseStore::Compact(std::atomic<bool>& cancel) {
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.max_subcompactions = 2;
  options.canceled = &cancel;
  return ToStatus(db_->CompactRange(options, rows_, nullptr, nullptr), "compact");
}

}  // namespace penstock
