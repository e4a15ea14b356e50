// TrainingData: a9a where it is at hand, or else generated examples in its format.
#pragma once

#include <cstdint>
#include <string>

#include "tests/cluster/penstock_command.h"

namespace penstock {

struct TrainingData {
  std::string train, test;  // paths, libsvm format, ids 1 to 123, labels -1 and +1
  uint64_t records = 0;     // of `train`
  bool a9a = false;         // the real data set
};

// a9a in $PENSTOCK_DATA/a9a or in shared/data/a9a beside the source tree; generated into `folder` if it is in
// neither.
TrainingData A9aOrGenerated(const TemporaryFolder& folder);
// `records` lines of 14 ones each, labelled by a hidden weight vector with some noise.
std::string GenerateLibsvm(uint64_t records, uint64_t seed);

}  // namespace penstock
