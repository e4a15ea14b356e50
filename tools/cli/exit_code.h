// ExitCode: what `penstock` ends with, in one place.
#pragma once

#include "common/base/status.h"

namespace penstock {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,        // the command line or a file of options is wrong
  kExitUnreachable = 3,  // no scheduler there, or nobody serves the shard of a row
  kExitDenied = 4,       // another cluster, another version, or a wrong token
  kExitDeadline = 5,     // time ran out; also: a scheduler that is there does not answer
  kExitUnhealthy = 10,   // `status`: a shard is not served, or a node is dead
  kExitInterrupted = 130,
};

inline ExitCode ExitCodeOf(const Status& status) {
  switch (status.code()) {
    case Code::kOk:
      return kExitOk;
    case Code::kInvalidArgument:
      return kExitUsage;
    case Code::kUnavailable:
      return kExitUnreachable;
    case Code::kPermissionDenied:
      return kExitDenied;
    case Code::kDeadlineExceeded:
    case Code::kOutcomeUnknown:
      return kExitDeadline;
    case Code::kCancelled:
      return kExitInterrupted;
    default:
      return kExitFailed;
  }
}

}  // namespace penstock
