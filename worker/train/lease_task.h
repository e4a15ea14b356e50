// LeaseTask: one leased partition while a worker works on it, as its two threads see it.
//
// The training thread writes progress, the client's loop reads it for reports and writes the scheduler's
// answer back.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "common/base/status.h"
#include "proto/control.capnp.h"

namespace penstock {

// A proto::Lease, read.
struct LeaseInfo {
  uint32_t job = 0;
  std::string job_name;
  std::shared_ptr<const nlohmann::json> spec;
  proto::Lease::Phase phase = proto::Lease::Phase::TRAIN;
  uint32_t pass = 0;
  uint32_t partition = 0;
  uint32_t partitions = 0;
  uint64_t token = 0;
  uint64_t producer = 0;
  uint64_t begin = 0;
  uint32_t position = 0;  // of the partition in the order of its pass
  uint64_t clock = 0;     // ssp: the worker's when the lease begins
  bool best = false;      // evaluates what keep_best has kept
  // Whose lease it is: the worker's node and session.
  uint32_t node = 0;
  uint64_t session = 0;

  bool training() const { return phase == proto::Lease::Phase::TRAIN; }
  // "job 'a9a' (3), pass 2, partition 5"
  std::string Describe() const;
};

// The texts of the jobs that a worker has leases of: each is sent to it once a session.
using JobSpecs = std::map<uint32_t, std::shared_ptr<const nlohmann::json>>;

// A job's text that comes with the lease is added to `specs`. kInvalidArgument when it is not JSON, or none
// came and none is known.
Result<LeaseInfo> ReadLease(proto::Lease::Reader lease, JobSpecs* specs);

// What a report says of the lease (proto::Progress).
struct LeaseProgress {
  uint64_t recorded = 0;
  uint64_t examples = 0;
  double loss_sum = 0;
  uint64_t bad_records = 0;
  uint64_t clock = 0;  // ssp: reached
  bool done = false;
  std::string result;
  Status error;
};

class LeaseTask {
 public:
  explicit LeaseTask(LeaseInfo info) : info_(std::move(info)) {
    progress_.recorded = info_.begin;
    progress_.clock = info_.clock;
  }

  const LeaseInfo& info() const { return info_; }
  // The scheduler has taken the lease away (or the worker is ending): stop without a further report.
  bool dropped() const { return dropped_; }
  void Drop() { dropped_ = true; }

  LeaseProgress progress() const {
    std::lock_guard lock(mutex_);
    return progress_;
  }
  template <typename Edit>
  void Update(Edit edit) {
    std::lock_guard lock(mutex_);
    edit(progress_);
  }

 private:
  const LeaseInfo info_;
  std::atomic<bool> dropped_{false};
  mutable std::mutex mutex_;
  LeaseProgress progress_;  // guarded by mutex_
};

}  // namespace penstock
