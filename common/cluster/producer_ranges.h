// ProducerRanges: a set of producer ids as it is told to servers. Ids are given in rising order and end in
// about that order, so a range for each run of them is little. On the wire: pairs of first and last.
#pragma once

#include <capnp/list.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "common/base/ids.h"

namespace penstock {

// Each first and last, both included; ascending, disjoint, never adjacent.
using ProducerRanges = std::vector<std::pair<ProducerId, ProducerId>>;

inline ProducerRanges ReadProducerRanges(capnp::List<uint64_t>::Reader pairs) {
  ProducerRanges ranges;
  for (uint32_t i = 0; i + 1 < pairs.size(); i += 2) ranges.emplace_back(pairs[i], pairs[i + 1]);
  return ranges;
}

// `init` makes the list: it is given the size.
template <typename Init>
void WriteProducerRanges(const ProducerRanges& ranges, Init init) {
  capnp::List<uint64_t>::Builder out = init(static_cast<uint32_t>(2 * ranges.size()));
  for (uint32_t i = 0; i < ranges.size(); ++i) {
    out.set(2 * i, ranges[i].first);
    out.set(2 * i + 1, ranges[i].second);
  }
}

}  // namespace penstock
