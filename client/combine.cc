#include "client/combine.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "common/base/copy_row.h"
#include "common/base/hash.h"
#include "common/net/buffer_pool.h"

namespace penstock {
namespace {

// Places of keys that were seen, by linear probing; at most half full.
class SeenKeys {
 public:
  explicit SeenKeys(size_t keys)
      : slots_(std::bit_ceil(std::max<size_t>(2 * keys, 8))),
        memory_(BufferPool::OfProcess()->Take(slots_ * sizeof(uint32_t))) {
    std::memset(memory_.data(), 0, slots_ * sizeof(uint32_t));
  }

  // Where the key stands in `seen`; `place` when it does not, which is its place from now on.
  uint32_t FindOrAdd(Key key, const Key* seen, uint32_t place) {
    auto* slots = reinterpret_cast<uint32_t*>(memory_.data());
    for (size_t at = Mix64(key) & (slots_ - 1);; at = (at + 1) & (slots_ - 1)) {
      if (slots[at] == 0) {
        slots[at] = place + 1;
        return place;
      }
      if (seen[slots[at] - 1] == key) return slots[at] - 1;
    }
  }

 private:
  const size_t slots_;
  const BufferPool::Buffer memory_;
};

}  // namespace

bool CombineRows(std::span<const Key> keys, std::span<const float> values, uint32_t dim, Combining how,
                 CombinedRows* out) {
  if (keys.size() >= UINT32_MAX) return false;  // places are numbers of 32 bits, and 0 is none
  SeenKeys places(keys.size());
  uint32_t i = 0;
  while (i < keys.size() && places.FindOrAdd(keys[i], keys.data(), i) == i) ++i;
  if (i == keys.size()) return false;
  out->keys.assign(keys.begin(), keys.begin() + i);
  out->keys.reserve(keys.size());
  out->values.assign(values.begin(), values.begin() + static_cast<ptrdiff_t>(size_t{i} * dim));
  out->values.reserve(values.size());
  out->places.resize(keys.size());
  std::iota(out->places.begin(), out->places.begin() + i, 0u);
  for (; i < keys.size(); ++i) {
    const auto row = values.subspan(size_t{i} * dim, dim);
    const auto next = static_cast<uint32_t>(out->keys.size());
    const uint32_t place = places.FindOrAdd(keys[i], out->keys.data(), next);
    out->places[i] = place;
    if (place == next) {
      out->keys.push_back(keys[i]);
      out->values.insert(out->values.end(), row.begin(), row.end());
      continue;
    }
    float* sum = &out->values[size_t{place} * dim];
    if (how == Combining::kLast) {
      CopyRow(row.data(), dim, sum);
    } else {
      for (uint32_t d = 0; d < dim; ++d) sum[d] += row[d];
    }
  }
  return true;
}

}  // namespace penstock
