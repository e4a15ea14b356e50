#include "worker/train/patience.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace penstock {

void Patience::Wait(LeaseTask& task, const Status& status) {
  if (status.message() != said_) {
    said_ = status.message();
    LOG(WARNING) << task.info().Describe() << ": waiting at minibatch " << task.progress().recorded << ": "
                 << status.ToString();
  }
  task.Update([&](LeaseProgress& p) {
    if (p.waits.empty()) p.waits_ms = LeaseTask::NowMs();
    p.waits = status.message();
  });
  std::this_thread::sleep_for(
      std::chrono::milliseconds(std::clamp<uint32_t>(status.retry_after_ms(), 50, 1000)));
}

Result<Sequence> Patience::Rewind(LeaseTask& task, Producer& producer) {
  const Status failure = task.failure();
  Wait(task, failure.ok() ? Unavailable("a shard came back with less than it had answered", 50) : failure);
  task.Rewound();
  return producer.Rewind();
}

}  // namespace penstock
