#include "worker/train/patience.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace penstock {

bool Patience::Passes(Code code) {
  switch (code) {
    case Code::kUnavailable:
    case Code::kWrongEpoch:
    case Code::kOverloaded:
    case Code::kNotEnoughCopies:
    case Code::kDeadlineExceeded:
    case Code::kOutcomeUnknown:
    case Code::kDataLoss:
    case Code::kFailedPrecondition:
      return true;
    default:
      return false;
  }
}

void Patience::Wait(LeaseTask& task, const Status& status) {
  if (status.message() != said_) {
    said_ = status.message();
    LOG(WARNING) << task.info().Describe() << ": waiting at minibatch " << task.progress().recorded << ": "
                 << status.ToString();
  }
  std::this_thread::sleep_for(
      std::chrono::milliseconds(std::clamp<uint32_t>(status.retry_after_ms(), 50, 1000)));
}

}  // namespace penstock
