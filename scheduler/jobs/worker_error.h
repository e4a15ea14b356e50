// IsTransient: of a worker's error: what another worker, or a later moment, may mend.
#pragma once

#include "common/base/status.h"

namespace penstock {

inline bool IsTransient(const Status& error, bool quarantined) {
  switch (error.code()) {
    case Code::kUnavailable:
    case Code::kWrongEpoch:
    case Code::kOverloaded:
    case Code::kNotEnoughCopies:
    case Code::kDeadlineExceeded:
    case Code::kOutcomeUnknown:
    case Code::kCancelled:
      return true;
    case Code::kDataLoss:
      return quarantined;  // the job waits for the operator's word about the shard
    default:
      return false;
  }
}

}  // namespace penstock
