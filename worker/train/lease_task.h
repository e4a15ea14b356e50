// LeaseTask: one leased partition while a worker works on it, as its two threads see it.
//
// What may be done under the lease its LeaseRun decides. The training thread writes progress, the client's
// loop reads it for reports and writes the scheduler's answer back.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "common/base/status.h"
#include "proto/control.capnp.h"
#include "worker/train/lease_run.h"

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
  uint64_t rewind = 0;  // the cluster's rewind number then: what is pushed under it carries it; 0: nothing is
  bool limit_files = false;  // to what stands below worker.data_roots
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
  uint64_t answered = 0;
  bool pushed = false;
  uint64_t examples = 0;
  double loss_sum = 0;
  uint64_t bad_records = 0;
  uint64_t clock = 0;  // ssp: reached
  bool done = false;
  std::string result;
  Status error;
  std::string waits;      // for what it waits, at the minibatch of now; empty: for nothing
  uint64_t waits_ms = 0;  // since then, of NowMs
};

class LeaseTask {
 public:
  // A LeaseRun's clock.
  static uint64_t NowMs();

  // `lease_ms`: without a report for so long the scheduler gives the partition to another worker. `asked_ms`:
  // when it was asked for the lease.
  LeaseTask(LeaseInfo info, uint64_t lease_ms, uint64_t asked_ms);

  const LeaseInfo& info() const { return info_; }
  // It is held no more: stop without a further report.
  bool dropped() { return !MayPush().ok(); }
  // Before every push. kCancelled: it is held no more, and why.
  Status MayPush();
  void Drop(const std::string& why);
  void Renew(uint64_t sent_ms);
  void OnRewindNumber(uint64_t number);

  // --- Of what has minibatches: LeaseRun's, by the training thread.
  void Plan(uint64_t count, size_t limit);
  LeaseStep Next(const LeaseWindow& window);
  void Note(const Status& status);
  Status failure() const;
  void Rewound();
  // At the end: done, or given back with this error; ok as well when the lease is held no more.
  Status Conclude(const LeaseWindow& window);

  LeaseProgress progress() const {
    std::lock_guard lock(mutex_);
    return progress_;
  }
  // What it waited for has come when it gets on.
  template <typename Edit>
  void Update(Edit edit) {
    std::lock_guard lock(mutex_);
    const uint64_t recorded = progress_.recorded, examples = progress_.examples;
    edit(progress_);
    if (progress_.recorded != recorded || progress_.examples != examples) progress_.waits.clear();
  }

 private:
  Status CheckHeld();  // with mutex_; says so when it has ended

  const LeaseInfo info_;
  mutable std::mutex mutex_;
  LeaseRun run_;             // guarded by mutex_
  LeaseProgress progress_;   // guarded by mutex_
  bool said_ended_ = false;  // guarded by mutex_
};

}  // namespace penstock
