#include "data/partition_store.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace penstock {

Result<std::shared_ptr<const Examples>> PartitionStore::Get(const std::shared_ptr<const Dataset>& dataset,
                                                            const PartitionRange& range) {
  if (const Entry* entry = Find(dataset, range)) return entry->examples;
  Result<Examples> read = ahead_ && ahead_->entry.Is(dataset, range)
                              ? std::exchange(ahead_, std::nullopt)->result.get()
                              : dataset->ReadPartition(range);
  if (!read.ok()) return read.status();
  auto examples = std::make_shared<const Examples>(std::move(*read));
  Keep({dataset, range, examples});
  return examples;
}

void PartitionStore::ReadAhead(const std::shared_ptr<const Dataset>& dataset, const PartitionRange& range) {
  if (Find(dataset, range) != nullptr) return;
  if (ahead_) {
    const bool read = ahead_->result.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    if (!read || ahead_->entry.Is(dataset, range)) return;
    // Another one was asked for in its place, but its turn will come.
    Ahead other = std::move(*ahead_);
    ahead_.reset();
    if (Result<Examples> examples = other.result.get(); examples.ok()) {
      other.entry.examples = std::make_shared<const Examples>(std::move(*examples));
      Keep(std::move(other.entry));
    }
  }
  ahead_ = Ahead{
      .entry = {.dataset = dataset, .range = range, .examples = nullptr},
      .result = std::async(std::launch::async, [dataset, range] { return dataset->ReadPartition(range); })};
}

const PartitionStore::Entry* PartitionStore::Find(const std::shared_ptr<const Dataset>& dataset,
                                                  const PartitionRange& range) {
  const auto found =
      std::find_if(kept_.begin(), kept_.end(), [&](const Entry& entry) { return entry.Is(dataset, range); });
  if (found == kept_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, found);
  return &kept_.front();
}

void PartitionStore::Keep(Entry entry) {
  const uint64_t bytes = entry.examples->MemoryBytes();
  if (bytes > capacity_bytes_) return;
  while (kept_bytes_ + bytes > capacity_bytes_) {
    const auto other = std::find_if(kept_.rbegin(), kept_.rend(),
                                    [&](const Entry& one) { return one.dataset != entry.dataset; });
    if (other == kept_.rend()) return;
    kept_bytes_ -= other->examples->MemoryBytes();
    kept_.erase(std::next(other).base());
  }
  kept_bytes_ += bytes;
  kept_.push_front(std::move(entry));
}

}  // namespace penstock
