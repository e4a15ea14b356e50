// DescribeDifference: in what two specs of one table differ, in words. Pure.
#pragma once

#include <string>

#include "common/cluster/table_spec.h"

namespace penstock {

// What makes `wanted` another table than `existing`, ids aside: each field that differs with both values, as
// "dim is 16 and not 8, optimizer.kind is sgd and not adam". Empty: nothing does.
std::string DescribeDifference(const TableSpec& existing, const TableSpec& wanted);

}  // namespace penstock
