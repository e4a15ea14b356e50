// SyncJobs: the sync jobs that train: their seats, and the commands of their rounds.
//
// Seats and who has which minibatch live in memory: after a restart of the scheduler workers take new seats,
// and minibatches of the present round are given out again; what had been pushed is not applied again.
// Journaled are the producers of the streams, each round when it is complete (before any shard may commit
// it), and the end of a pass. Pure but for the commits; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "scheduler/jobs/lease_fsm.h"
#include "scheduler/jobs/round_fsm.h"
#include "scheduler/state/committed_state.h"

namespace penstock {

struct SyncQuestion {
  JobId job = 0;
  LeaseToken seat = 0;
  FinishedMinibatch finished;
  uint64_t committed = 0;  // the round that the caller has committed on all shards; 0: none
};
struct SyncAnswer {
  SyncAction action;
  ProducerId producer = 0;  // work: of the stream
};

class SyncJobs {
 public:
  // A seat ends after `lease_ms` of silence.
  SyncJobs(CommittedState& state, int64_t lease_ms) : state_(state), lease_ms_(lease_ms) {}

  static bool IsSeat(LeaseToken token) { return token >= kFirstSeat; }

  // Of the running job with the fewest workers that has a free one.
  struct Free {
    JobId job = 0;
    uint32_t seats = 0;  // taken
  };
  std::optional<Free> FreeSeat();
  // Of a job that FreeSeat named. An error: of the journal.
  Result<LeaseToken> TakeSeat(JobId job, NodeId node, uint64_t session, Now now);
  // The holder lives. kFailedPrecondition or kCancelled: it holds no seat any more.
  Status Sign(NodeId node, uint64_t session, JobId job, LeaseToken seat, Now now);
  void LeaveSeat(JobId job, LeaseToken seat);

  // Takes what the seat has done, and says what it does next. An error: of the journal; ask again.
  Result<SyncAnswer> Ask(NodeId node, uint64_t session, const SyncQuestion& question, Now now);

  // After any command that ended sessions or jobs.
  void Forget();
  // Jobs that train are back at the start of their pass.
  void Rewind() { passes_.clear(); }
  // Ends the seats of silent workers, and at once those of nodes that are dead.
  void Tick(Now now, const std::function<bool(NodeId)>& is_dead);
  // The scheduler itself stood still for so long: nobody was silent meanwhile.
  void Forgive(int64_t ms);

 private:
  // Above any token of a lease. The term is in a seat's token, so that none is given twice over restarts.
  static constexpr LeaseToken kFirstSeat = LeaseToken{1} << 63;

  struct Pass {
    uint32_t pass = 0;
    RoundFsm rounds;
  };
  // Of the present pass; nullptr when the job does not train in rounds now.
  Pass* Find(JobId job);
  std::vector<JobId> Jobs() const;  // of passes_
  Status Journal(JobId job, Pass& pass);

  CommittedState& state_;
  const int64_t lease_ms_;
  std::map<JobId, Pass> passes_;
  uint32_t last_seat_ = 0;
};

}  // namespace penstock
