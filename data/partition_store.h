// PartitionStore: parsed partitions in memory: those that a worker has read, as far as they fit, and one that
// is read ahead.
//
// Passes go over the same partitions again and again, and text takes about as long to parse as a simple model
// to train on it. What is read first stays, as with everything of the same size an oldest-first rule would
// keep nothing of data that go round; partitions of other data sets, least recently used first, make room.
// Belongs to one thread; what it hands out is immutable and may be held by anybody.
#pragma once

#include <cstdint>
#include <future>
#include <list>
#include <memory>
#include <optional>

#include "data/dataset.h"

namespace penstock {

class PartitionStore {
 public:
  // capacity_bytes: of what is kept. The partitions in use and the one that is read ahead are not counted.
  explicit PartitionStore(uint64_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

  // The records of the partition: kept ones, those read ahead, or read now. An error is Dataset's, and is not
  // kept.
  Result<std::shared_ptr<const Examples>> Get(const std::shared_ptr<const Dataset>& dataset,
                                              const PartitionRange& range);
  // Begins to read the partition on another thread, unless it is there already or another one is still being
  // read.
  void ReadAhead(const std::shared_ptr<const Dataset>& dataset, const PartitionRange& range);

  uint64_t kept_bytes() const { return kept_bytes_; }

 private:
  struct Entry {
    std::shared_ptr<const Dataset> dataset;
    PartitionRange range;
    std::shared_ptr<const Examples> examples;
    bool Is(const std::shared_ptr<const Dataset>& its, const PartitionRange& one) const {
      return dataset == its && range == one;
    }
  };
  struct Ahead {
    Entry entry;  // examples: not yet
    std::future<Result<Examples>> result;
  };

  const Entry* Find(const std::shared_ptr<const Dataset>& dataset, const PartitionRange& range);
  void Keep(Entry entry);

  const uint64_t capacity_bytes_;
  uint64_t kept_bytes_ = 0;
  std::list<Entry> kept_;  // the most recently used first
  std::optional<Ahead> ahead_;
};

}  // namespace penstock
