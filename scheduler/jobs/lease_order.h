// LeaseOrder: in which order partitions are given out: fairly between the jobs that run, and within a job's
// pass by its seed. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "scheduler/state/state_types.h"

namespace penstock {

// Partitions of a pass in the order in which they are given out: shuffled by (seed, pass), or as they stand
// in the data. A function of what is journaled, so that every scheduler gives the same places.
std::vector<uint32_t> PartitionOrder(const TrainPolicy& policy, uint32_t pass, uint32_t partitions);

// The orders of the present passes, remembered.
class LeaseOrder {
 public:
  // Of the job's present phase; evaluations go by the data's order. Without those at its beginning that are
  // done. To be asked before each lease: partitions are done one by one, and free again all together.
  std::span<const uint32_t> OpenOf(const JobRecord& job);
  // How many partitions come before it in that order.
  uint32_t PositionOf(const JobRecord& job, uint32_t partition);
  // Those of jobs that need none any more.
  template <typename IsOver>
  void Forget(IsOver is_over) {
    std::erase_if(orders_, [&](const auto& entry) { return is_over(entry.first); });
  }

 private:
  struct Order {
    JobPhase phase = JobPhase::kTrain;
    uint32_t pass = 0;
    std::vector<uint32_t> partitions;  // by position
    std::vector<uint32_t> positions;   // by partition
    size_t done = 0;                   // so many at the beginning of `partitions` are
  };
  Order& Find(const JobRecord& job);

  std::map<JobId, Order> orders_;
};

// Whose turn it is: the job with the fewest leases, and of those the one that was given none for the longest.
class FairShare {
 public:
  // The job has something to give out, and so many leases.
  void Offer(JobId job, uint32_t leases) { offers_[job] = leases; }
  void Withdraw(JobId job) { offers_.erase(job); }
  bool empty() const { return offers_.empty(); }
  // A lease more, of a job that was offered; of others it does not matter.
  void Count(JobId job) {
    if (auto it = offers_.find(job); it != offers_.end()) ++it->second;
  }
  // Of those that are offered. It has a lease more then, and was served.
  JobId Next();
  void Serve(JobId job) { served_[job] = ++turn_; }

 private:
  std::map<JobId, uint32_t> offers_;
  std::map<JobId, uint64_t> served_;  // at which turn last
  uint64_t turn_ = 0;
};

}  // namespace penstock
