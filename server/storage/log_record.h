// LogRecord: what the delta log is given to write.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/ids.h"
#include "server/storage/delta_words.h"

namespace penstock {

struct LogSection {
  ShardId shard = 0;
  Incarnation incarnation = 0;  // which life of the shard on this node
  DeltaWords delta;             // proto::Delta as a flat message
  uint32_t checksum = 0;        // CRC-32C of it, taken when it was built
};

// What one core's commit window changed. The log numbers the windows.
struct LogRecord {
  uint32_t core = 0;
  std::vector<LogSection> sections;
};

}  // namespace penstock
