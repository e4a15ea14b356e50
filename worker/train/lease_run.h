// LeaseRun: what the holder of a lease may do: whether it holds it still and may push, which minibatch comes
// next, when it goes back to what is recorded, and what it reports. Pure: events and times (milliseconds of a
// clock that only rises) in, decisions out.
//
//   Next -> minibatch: pull its rows, ask MayPush, push, Note what came of it -> Next -> ... -> end -> Report
//
// When everything is answered and not yet logged (tables of level memory log together what was pushed within
// their lag), the driver may work on other leases and come back, or flush.
//
// A lease ends when the scheduler says so, when the cluster's rewind number has risen above its own (rule
// 35), and by itself when the scheduler may give its partition to another worker because it has taken no
// report of it for so long. A lease that has ended does not come back. What can pass (a server that restarts,
// a shard that waits for an operator) and a shard that came back with less than it had answered are followed
// by a rewind to what is recorded, once nothing is in flight.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/base/status.h"

namespace penstock {

struct LeaseTerms {
  uint64_t rewind = 0;    // the cluster's rewind number when it was given; 0: it pushes nothing
  uint64_t lease_ms = 0;  // without a report for so long the scheduler gives the partition to another worker
};

// Where the driver stands with its pushes.
struct LeaseWindow {
  uint64_t next = 0;      // the minibatch that was not begun yet
  uint64_t recorded = 0;  // all below it are logged on all copies
  size_t in_flight = 0;   // begun and not answered
  bool rewound = false;   // a shard came back with less than it had answered
};

enum class LeaseStep {
  kMinibatch,  // work on `next`
  kAwait,      // an answer comes first
  kRewind,     // wait for what can pass, go back to `recorded`, and say so by Rewound
  kFlush,      // everything is answered; what is left is that it is logged
  kEnd,        // nothing is in flight, and Report says how it ended
};

struct LeaseReport {
  uint64_t recorded = 0;
  uint64_t answered = 0;  // all below it are
  bool pushed = false;    // all are, and only logs are waited for
  bool done = false;      // all of it is recorded
  Status error;           // not ok: it is given back, and why
};

class LeaseRun {
 public:
  // `asked_ms`: when the scheduler was asked for it.
  LeaseRun(const LeaseTerms& terms, uint64_t asked_ms) : terms_(terms), renewed_ms_(asked_ms) {}

  // Whether an error passes by itself or by an operator's act, so that the job waits for it.
  static bool Passes(Code code);

  // --- The lease.
  // The scheduler has taken a report that was sent then.
  void Renew(uint64_t sent_ms);
  // The cluster's rewind number, as it was heard.
  void OnRewindNumber(uint64_t number);
  // By the scheduler's word, or because the worker ends.
  void End(const std::string& why);
  // Ok: it is held, and what was computed may be pushed. kCancelled: it has ended, and why.
  Status MayPush(uint64_t now_ms);

  // --- The minibatches: there are `count`, and at most `limit` are in flight.
  void Plan(uint64_t count, size_t limit);
  LeaseStep Next(const LeaseWindow& window, uint64_t now_ms);
  // What came of a step. The first error since the last rewind counts.
  void Note(const Status& status);
  void Rewound() { failure_ = Status(); }
  // Why it rewinds, or was given back; ok: nothing failed.
  const Status& failure() const { return failure_; }

  LeaseReport Report(const LeaseWindow& window) const;

 private:
  const LeaseTerms terms_;
  uint64_t renewed_ms_;
  Status ended_;  // not ok: it is held no more
  uint64_t count_ = 0;
  size_t limit_ = 1;
  Status failure_;
};

}  // namespace penstock
