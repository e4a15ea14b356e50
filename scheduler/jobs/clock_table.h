// ClockTable: how far each worker of an ssp job has come, and so how far the others may go.
//
// A clock counts the steps of a worker in a job. It joins with a lease, at the worker's own kept clock or at
// the minimum of the holders, whichever is higher, and leaves with it: a worker that is gone holds nobody
// back, and one that joins does not send the others to the start. With no holder the minimum stays what it
// was. Clocks are not journaled: leases from before a restart count as unknown until their holders have said
// theirs, and until then the minimum of their job is not known either. Rule 29. Pure; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "common/base/ids.h"
#include "scheduler/state/state_types.h"

namespace penstock {

class ClockTable {
 public:
  struct Line {
    NodeId node = 0;
    uint64_t clock = 0;
    bool holds = false;  // a lease of the job; otherwise it is what the worker has kept
    bool known = false;
  };

  // A new lease; answers the clock to begin at.
  uint64_t Join(JobId job, LeaseToken token, NodeId node);
  // A lease of an earlier life of the scheduler: unknown until Advance.
  void Adopt(JobId job, LeaseToken token, NodeId node);
  // Clocks never fall. Ignored when the lease is not in the table.
  void Advance(JobId job, LeaseToken token, uint64_t clock);
  void Leave(JobId job, LeaseToken token);
  // The job has ended.
  void Drop(JobId job) { jobs_.erase(job); }
  std::vector<JobId> Jobs() const;

  // Every holder has said its clock.
  bool Known(JobId job) const;
  // 0 while not all are known: nobody can pass what is computed from it.
  uint64_t Minimum(JobId job) const;
  // Ascending by node.
  std::vector<Line> Lines(JobId job) const;

 private:
  struct Holder {
    NodeId node = 0;
    uint64_t clock = 0;
    bool known = false;
  };
  struct Job {
    std::map<LeaseToken, Holder> holders;
    std::map<NodeId, uint64_t> kept;
    uint64_t floor = 0;  // the highest minimum so far

    bool Known() const;
    void RaiseFloor();
  };
  std::map<JobId, Job> jobs_;
};

}  // namespace penstock
