// LeaseFsm: which worker works on which partition, and how jobs get from pass to pass and to their end.
//
// Free partitions are leased in the order of lease_order.h, fairly between the jobs that run. A lease ends by
// being finished, by an error that its worker reports, by its first report after the job was paused, by
// silence (`lease_ms` without a report that names it) or by a new session of its worker; the partition is
// then free again and begins, under the same producer, behind what is recorded. A worker that asks when
// nothing is free takes the partition of one that is much slower than itself. One that only waits for logs is
// not slow, and may hold other leases beside it. Tokens and progress are journaled, so leases go on over a
// restart of the scheduler. Progress is journaled at most every `progress_ms`, in one command; what a worker
// reports as done, before it is answered. Pure but for the commits: times are passed in. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "scheduler/jobs/clock_table.h"
#include "scheduler/jobs/lease_order.h"
#include "scheduler/jobs/worker_error.h"
#include "scheduler/jobs/worker_paces.h"
#include "scheduler/state/committed_state.h"

namespace penstock {

struct Now {
  int64_t ms = 0;       // of a clock that only rises
  int64_t wall_ms = 0;  // since 1970, for the journal
};

struct LeaseOptions {
  int64_t lease_ms = 10000;
  int64_t progress_ms = 500;
  uint32_t max_failures = 100;  // of one partition without progress between them, then the job fails
  int64_t cool_ms = 100;        // before a partition that failed is leased again; doubles up to cool_max_ms
  int64_t cool_max_ms = 5000;
  uint32_t idle_retry_ms = 200;  // when to ask again
  int64_t slow_ms = 3000;        // a lease that is younger is not given to a faster worker
};

struct GivenLease {
  const JobRecord* job = nullptr;
  uint32_t partition = 0;
  uint32_t position = 0;  // LeaseOrder
  uint64_t clock = 0;     // ssp: to begin at
  LeaseToken seat = 0;    // sync, training: the token of a seat (sync_jobs.h); the partition means nothing
};
struct LeaseAnswer {
  std::vector<GivenLease> leases;
  uint64_t rewind = 0;  // the cluster's rewind number, which they carry
  uint32_t retry_after_ms = 0;
};

// One lease's line in a report (proto::Progress).
struct ReportedProgress {
  JobId job = 0;
  LeaseToken token = 0;
  uint64_t recorded = 0;
  uint64_t answered = 0;  // minibatches below it, logged or not
  bool pushed = false;    // all are answered: only logs are waited for
  Tally tally;
  bool done = false;
  std::string result;
  Status error;
  uint64_t clock = 0;  // ssp
};
struct ReportVerdict {
  Status call;    // not ok: the journal failed and nothing was taken; the worker reports it again
  Status result;  // not ok: the worker drops the lease
};

class LeaseFsm {
 public:
  // Adopts the leases of the state: each has `lease_ms` from now.
  LeaseFsm(CommittedState& state, const LeaseOptions& options, Now now);

  Result<LeaseAnswer> Lease(NodeId node, uint64_t session, uint32_t count, Now now);
  // `cluster_whole`: all shards serve. Otherwise failures are the cluster's and do not count against the
  // partition.
  ReportVerdict Report(NodeId node, uint64_t session, const ReportedProgress& progress, bool cluster_whole,
                       Now now);

  // ssp: the holder of the lease has reached `clock`. Answers the clock of the slowest worker of the job, or
  // 0 while that is not known. kFailedPrecondition and the like: the lease has ended.
  Result<uint64_t> Clock(NodeId node, uint64_t session, JobId job, LeaseToken token, uint64_t clock, Now now);
  const ClockTable& clocks() const { return clocks_; }

  // The job that Lease would give from next, and its leases; nullopt: none.
  struct Offer {
    JobId job = 0;
    uint32_t leases = 0;
  };
  std::optional<Offer> Next(Now now);
  // While it is false no partition can be worked on: a shard waits for servers or for the operator.
  bool ShardsReady() const;
  // On to the next pass or phase, when all partitions of this one are done.
  Status MoveOn(const JobRecord& job, Now now);
  // Ends the job with this error.
  Status Fail(const JobRecord& job, const std::string& error, Now now);

  // Before a new session of the node is committed: its progress must not be lost with its leases.
  Status Flush();
  // After any command of others that ended leases (a register, a rewind, a cancel).
  void Forget();
  Status Cancel(JobId job, Now now);
  // Both may be repeated. kFailedPrecondition: the job is over.
  Status Pause(JobId job, Now now);
  Status Resume(JobId job, Now now);

  // Ends silent leases, journals progress, moves jobs on. The first failure, if any; the rest is tried again
  // at the next tick.
  Status Tick(Now now);
  // The scheduler itself stood still for so long: nobody was silent meanwhile.
  void Forgive(int64_t ms);

 private:
  struct Held {
    JobId job = 0;
    uint32_t partition = 0;
    int64_t seen_ms = 0;
    bool dirty = false;  // progress below is not journaled yet
    uint64_t recorded = 0;
    uint64_t answered = 0;
    bool pushed = false;  // its worker may hold another lease beside it
    Tally tally;
    int64_t since_ms = 0;
    uint64_t begin = 0;        // recorded when the lease was given
    bool from_slower = false;  // the lease was taken from a slower worker, and is not taken again
  };
  struct Cooling {
    int64_t until_ms = 0;
    int64_t wait_ms = 0;
  };
  using PartitionKey = std::pair<JobId, uint32_t>;

  void Adopt(int64_t now_ms);
  LeasePartitions Plan(NodeId node, uint64_t session, uint32_t count, Now now);
  std::optional<LeaseToken> SlowerLease(NodeId node, Now now) const;
  Result<LeasePartitions> TakeFromSlower(NodeId node, uint64_t session, Now now);
  // Of each job the first ones, at most `count`.
  std::map<JobId, std::deque<uint32_t>> FreePartitions(uint32_t count, Now now);
  bool Cool(JobId job, uint32_t partition, int64_t now_ms) const;
  Status WhyUnknown(const ReportedProgress& progress) const;
  ReportVerdict TakeError(LeaseToken token, const ReportedProgress& progress, bool cluster_whole, Now now);
  ReportVerdict TakeDone(LeaseToken token, const ReportedProgress& progress, Now now);
  void TakePushed(LeaseToken token, bool pushed, Now now);
  void Drop(LeaseToken token);
  // The lease ends with this report, for the reason that its worker is told.
  ReportVerdict GiveBack(LeaseToken token, const Status& reason);
  Status FailJob(const JobRecord& job, uint32_t partition, const Status& error, const std::string& note,
                 Now now);
  Status FreeSilent(Now now);
  Status MoveOn(Now now);

  CommittedState& state_;
  const LeaseOptions options_;
  std::map<LeaseToken, Held> held_;
  std::map<PartitionKey, Cooling> cooling_;
  WorkerPaces paces_;
  LeaseOrder order_;
  FairShare share_;
  ClockTable clocks_;
  int64_t flushed_ms_ = 0;
#if defined(PENSTOCK_MUTANTS)
  std::map<LeaseToken, PartitionKey> ended_;  // of whose partition a mutant takes late reports
#endif
};

}  // namespace penstock
