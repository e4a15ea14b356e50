// ProducerRanges: a set of producer ids, as it is journaled and told to servers. Ids are given in rising
// order and end in about that order, so a range for each run of them is little.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "common/base/ids.h"

namespace penstock {

// Each first and last, both included; ascending, disjoint, never adjacent.
using ProducerRanges = std::vector<std::pair<ProducerId, ProducerId>>;

void AddProducer(ProducerRanges* ranges, ProducerId id);
void RemoveProducer(ProducerRanges* ranges, ProducerId id);
void DropProducersBelow(ProducerRanges* ranges, ProducerId floor);
uint64_t CountProducers(const ProducerRanges& ranges);

}  // namespace penstock
