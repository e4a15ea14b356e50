// LeaseForecast: which partition a worker will probably be leased next of a job, so that it can be read
// ahead.
//
// Partitions are given out in the order of their pass to whoever asks, so that one of n workers gets about
// every n-th; how many places it went on last time says how many it goes on next time. A forecast that is
// wrong costs a reading and nothing else. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "job/job_train.h"
#include "worker/train/lease_task.h"

namespace penstock {

class LeaseForecast {
 public:
  // `lease` was given. Its successor in the same data, in this pass or the next; nullopt: there is none.
  std::optional<uint32_t> After(const LeaseInfo& lease, const JobTrain& train);

 private:
  proto::Lease::Phase phase_ = proto::Lease::Phase::TRAIN;
  uint32_t pass_ = 0;
  uint32_t position_ = 0;
  uint32_t stride_ = 1;
};

}  // namespace penstock
