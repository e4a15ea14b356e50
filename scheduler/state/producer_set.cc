#include "scheduler/state/producer_set.h"

#include <algorithm>

namespace penstock {
namespace {

// The first range that does not end before the id.
ProducerRanges::iterator RangeAt(ProducerRanges* ranges, ProducerId id) {
  return std::partition_point(ranges->begin(), ranges->end(),
                              [id](const auto& range) { return range.second < id; });
}

bool Holds(const ProducerRanges& ranges, ProducerRanges::const_iterator at, ProducerId id) {
  return at != ranges.end() && at->first <= id;
}

}  // namespace

void AddProducer(ProducerRanges* ranges, ProducerId id) {
  const auto next = RangeAt(ranges, id);
  if (Holds(*ranges, next, id)) return;
  const bool joins_previous = next != ranges->begin() && std::prev(next)->second + 1 == id;
  const bool joins_next = next != ranges->end() && next->first == id + 1;
  if (joins_previous && joins_next) {
    std::prev(next)->second = next->second;
    ranges->erase(next);
  } else if (joins_previous) {
    std::prev(next)->second = id;
  } else if (joins_next) {
    next->first = id;
  } else {
    ranges->insert(next, {id, id});
  }
}

void RemoveProducer(ProducerRanges* ranges, ProducerId id) {
  const auto at = RangeAt(ranges, id);
  if (!Holds(*ranges, at, id)) return;
  const auto [first, last] = *at;
  if (first == last) {
    ranges->erase(at);
  } else if (first == id) {
    ++at->first;
  } else {
    at->second = id - 1;
    if (last != id) ranges->insert(at + 1, {id + 1, last});
  }
}

void DropProducersBelow(ProducerRanges* ranges, ProducerId floor) {
  ranges->erase(ranges->begin(), RangeAt(ranges, floor));
  if (!ranges->empty()) ranges->front().first = std::max(ranges->front().first, floor);
}

uint64_t CountProducers(const ProducerRanges& ranges) {
  uint64_t count = 0;
  for (const auto& [first, last] : ranges) count += last - first + 1;
  return count;
}

}  // namespace penstock
