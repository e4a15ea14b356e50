// Admission of keys by the rules of TableSpec.admission: which push of a key without a row makes one.
//
// A push counts when it is drawn (AdmissionDraws), and the counted push that reaches min_count admits the
// key. AdmissionCounts holds the counts of one table of one shard: 8 bytes a key, in buckets of eight keys
// that are one cache line each. It grows with the keys up to kMaxBytes, which hold 131,072 keys; when a
// bucket is full then, its key with the lowest count is forgotten and begins anew. So a count is never too
// high (unless two keys share 40 bits of their hash), and memory is bounded whatever is pushed. Counts live
// in this memory only: a restart forgets them.
//
// Not thread-safe: owned by the thread that owns the shard.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/base/ids.h"
#include "common/cluster/table_spec.h"

namespace penstock {

// A pure function of its arguments: a push that is sent again draws the same.
bool AdmissionDraws(const AdmissionSpec& rule, uint64_t seed, ProducerId producer, Sequence sequence,
                    Key key);

class AdmissionCounts {
 public:
  static constexpr size_t kMaxBytes = size_t{1} << 20;

  explicit AdmissionCounts(TableId table) : table_(table) {}

  // Pushes of the key that were counted.
  uint32_t Count(Key key) const;
  // Counts one, and returns how many it are now.
  uint32_t Add(Key key);
  // The key has a row from now on.
  void Remove(Key key);
  size_t keys() const { return keys_; }
  size_t ResidentBytes() const { return buckets_.capacity() * sizeof(Bucket); }

 private:
  static constexpr size_t kBucketKeys = 8;
  using Bucket = std::array<uint64_t, kBucketKeys>;  // 40 bits of the key's hash, 24 of the count; 0: free

  uint64_t* Find(uint64_t tag);
  Bucket& BucketOf(uint64_t tag) { return buckets_[tag & (buckets_.size() - 1)]; }
  void Grow();

  TableId table_;
  std::vector<Bucket> buckets_;  // none or a power of two
  size_t keys_ = 0;
};

}  // namespace penstock
