// What the scheduler shows of itself: copied on its loop at every tick, read by the HTTP thread.
#pragma once

#include <array>
#include <mutex>
#include <string>
#include <vector>

#include "common/base/metrics.h"
#include "scheduler/node/control_plane.h"

namespace penstock {

class SchedulerMetrics {
 public:
  // Declares the series; this object must outlive the registry's last Text().
  void Declare(MetricsRegistry& registry);

  // On the scheduler's loop.
  void Update(ControlPlane& plane, Now now);
  // Any thread.
  Status Ready() const;

 private:
  struct Numbers {
    std::array<double, 5> shards{};  // by ShardState
    std::array<double, 6> nodes{};   // by role and Liveness
    std::array<double, 5> jobs{};    // by JobState
    double term = 0, tables = 0, commits = 0, leases = 0;
    double problems = 0, short_of_copies = 0, promotions = 0, epoch_changes = 0;
  };
  Numbers Get() const;

  mutable std::mutex mutex_;
  Numbers numbers_;                                          // guarded by mutex_
  Status ready_ = Unavailable("the scheduler is starting");  // guarded by mutex_
};

}  // namespace penstock
