// Patience: waiting for what passes by itself or by an operator's act, said once for each reason.
#pragma once

#include <string>

#include "client/producer.h"
#include "worker/train/lease_task.h"

namespace penstock {

class Patience {
 public:
  // Says so, and waits a moment.
  void Wait(LeaseTask& task, const Status& status);
  // LeaseStep::kRewind: waits for what has failed, and answers the minibatch to go on from.
  Result<Sequence> Rewind(LeaseTask& task, Producer& producer);

 private:
  std::string said_;  // the last reason
};

}  // namespace penstock
