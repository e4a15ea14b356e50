// How sets of producer ids change (common/cluster/producer_ranges.h).
#pragma once

#include <cstdint>

#include "common/cluster/producer_ranges.h"

namespace penstock {

void AddProducer(ProducerRanges* ranges, ProducerId id);
void RemoveProducer(ProducerRanges* ranges, ProducerId id);
void DropProducersBelow(ProducerRanges* ranges, ProducerId floor);
uint64_t CountProducers(const ProducerRanges& ranges);

}  // namespace penstock
