#include "server/shard/admission.h"

#include <algorithm>
#include <utility>

#include "common/base/hash.h"

namespace penstock {
namespace {

constexpr int kCountBits = 24;
constexpr uint64_t kCountMask = (uint64_t{1} << kCountBits) - 1;
constexpr size_t kFirstBuckets = 8;

constexpr uint64_t TagOf(uint64_t entry) { return entry >> kCountBits; }

}  // namespace

bool AdmissionDraws(const AdmissionSpec& rule, uint64_t seed, ProducerId producer, Sequence sequence,
                    Key key) {
  if (rule.probability >= 1) return true;
  uint64_t hash = Mix64(seed + 0x9e3779b97f4a7c15ULL);
  for (const uint64_t part : {producer, sequence, key})
    hash = Mix64(hash ^ Mix64(part + 0x9e3779b97f4a7c15ULL));
  return static_cast<double>(hash >> 11) * 0x1p-53 < static_cast<double>(rule.probability);
}

// The bucket is taken from the tag's low bits.
uint64_t* AdmissionCounts::Find(uint64_t tag) {
  if (buckets_.empty()) return nullptr;
  for (uint64_t& entry : BucketOf(tag)) {
    if (entry != 0 && TagOf(entry) == tag) return &entry;
  }
  return nullptr;
}

uint32_t AdmissionCounts::Count(Key key) const {
  const uint64_t* entry = const_cast<AdmissionCounts*>(this)->Find(RowHash(key, table_) >> kCountBits);
  return entry == nullptr ? 0 : static_cast<uint32_t>(*entry & kCountMask);
}

uint32_t AdmissionCounts::Add(Key key) {
  const uint64_t tag = RowHash(key, table_) >> kCountBits;
  uint64_t* entry = Find(tag);
  if (entry == nullptr) {
    if (buckets_.empty()) buckets_.resize(kFirstBuckets);
    const auto lowest = [this, tag] {
      return &*std::ranges::min_element(BucketOf(tag), {}, [](uint64_t e) { return e & kCountMask; });
    };
    entry = lowest();
    if (*entry != 0 && keys_ >= buckets_.size() && ResidentBytes() < kMaxBytes) {
      Grow();
      entry = lowest();
    }
    keys_ += *entry == 0;
    *entry = tag << kCountBits;
  }
  if ((*entry & kCountMask) < kCountMask) ++*entry;
  return static_cast<uint32_t>(*entry & kCountMask);
}

void AdmissionCounts::Remove(Key key) {
  uint64_t* entry = Find(RowHash(key, table_) >> kCountBits);
  if (entry == nullptr) return;
  *entry = 0;
  --keys_;
}

// Each bucket is parted into two, so everything finds room.
void AdmissionCounts::Grow() {
  const std::vector<Bucket> old = std::exchange(buckets_, std::vector<Bucket>(buckets_.size() * 2));
  for (const Bucket& bucket : old) {
    for (const uint64_t entry : bucket) {
      if (entry != 0) *std::ranges::find(BucketOf(TagOf(entry)), uint64_t{0}) = entry;
    }
  }
}

}  // namespace penstock
