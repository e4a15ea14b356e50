// WorkerPaces: how fast workers push the partitions of a job, and which lease is much slower than a worker.
// Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "common/base/ids.h"
#include "scheduler/state/state_types.h"

namespace penstock {

class WorkerPaces {
 public:
  static constexpr double kMuchSlower = 0.5;

  // The worker's last partition of the job.
  void Note(JobId job, NodeId worker, uint64_t minibatches, int64_t ms) {
    if (minibatches > 0) paces_[{job, worker}] = {minibatches, std::max<int64_t>(1, ms)};
  }
  // How fast a lease with so many minibatches in so long is, as a part of the worker's pace. Nothing where
  // that is not known, and unless the lease has lasted more than twice as long as the worker's partition: the
  // reading of a partition, during which nothing is answered, would count as slowness.
  std::optional<double> Compare(JobId job, NodeId worker, uint64_t minibatches, int64_t ms) const {
    const auto pace = paces_.find({job, worker});
    if (pace == paces_.end() || ms <= 2 * pace->second.ms) return std::nullopt;
    return static_cast<double>(minibatches) / static_cast<double>(ms) * static_cast<double>(pace->second.ms) /
           static_cast<double>(pace->second.minibatches);
  }
  // Those of jobs that need none any more.
  template <typename IsOver>
  void Forget(IsOver is_over) {
    std::erase_if(paces_, [&](const auto& entry) { return is_over(entry.first.first); });
  }

 private:
  struct Pace {
    uint64_t minibatches = 0;
    int64_t ms = 0;
  };
  std::map<std::pair<JobId, NodeId>, Pace> paces_;
};

}  // namespace penstock
