// Patience: waiting for what passes by itself or by an operator's act, said once for each reason.
#pragma once

#include <string>

#include "worker/train/lease_task.h"

namespace penstock {

class Patience {
 public:
  // A server that restarts, a full log, a quarantined shard: the job waits for it instead of failing.
  static bool Passes(Code code);
  // Says so, and waits a moment.
  void Wait(LeaseTask& task, const Status& status);

 private:
  std::string said_;  // the last reason
};

}  // namespace penstock
