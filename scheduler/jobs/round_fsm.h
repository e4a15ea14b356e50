// RoundFsm: the rounds of one pass of a sync job: which worker computes which minibatch, when a round is
// complete, and who commits it.
//
// A round has one minibatch for each stream of the data. Workers hold seats and ask again and again: they are
// given a minibatch that nobody has, of a stream that they had before if there is one (they have read its
// data). When all minibatches of the round are finished, the caller journals the round (Complete, then
// Journaled); then one seat is told to commit it, another one when that one is gone, and when it has done so
// the next round begins. A minibatch whose seat is gone is given out again: the same push from two workers
// counts once. Rule
// 27. Pure; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "scheduler/state/state_types.h"

namespace penstock {

struct SyncAction {
  enum class Kind : uint8_t {
    kWait = 0,
    kWork = 1,
    kCommit = 2,
    kEnd = 3
  };  // as proto::Scheduler::SyncAction
  Kind kind = Kind::kWait;
  uint64_t round = 0;
  uint32_t stream = 0;    // work
  uint64_t examples = 0;  // commit: of the round
  bool operator==(const SyncAction&) const = default;
};

struct FinishedMinibatch {
  uint64_t round = 0;  // 0: none
  uint32_t stream = 0;
  Tally tally;
};

class RoundFsm {
 public:
  // Goes on behind `round`, the last one that is journaled; `examples` of it, 0 when all shards are known to
  // have committed it (a pass begins there). `last` is the pass's last.
  RoundFsm(uint32_t streams, uint64_t round, uint64_t examples, uint64_t last);

  // As many as there are streams.
  bool SeatFree() const { return seats_.size() < streams_.size(); }
  size_t seats() const { return seats_.size(); }
  bool HasSeat(LeaseToken seat) const { return seats_.contains(seat); }
  void TakeSeat(LeaseToken seat, NodeId node, uint64_t session, int64_t now_ms);
  void LeaveSeat(LeaseToken seat);
  // Those of which `is_gone(node, session, seen_ms)` says so.
  template <typename IsGone>
  void LeaveGone(IsGone is_gone) {
    std::vector<LeaseToken> gone;
    for (const auto& [token, seat] : seats_) {
      if (is_gone(seat.node, seat.session, seat.seen_ms)) gone.push_back(token);
    }
    for (const LeaseToken token : gone) LeaveSeat(token);
  }
  void Forgive(int64_t ms);
  // False: it is not that node's seat.
  bool Sign(LeaseToken seat, NodeId node, uint64_t session, int64_t now_ms);

  // Said by a seat, perhaps again. What is not of the present round changes nothing.
  void Finish(const FinishedMinibatch& finished);
  void Committed(uint64_t round);
  // All minibatches of the present round are finished, and it is not journaled.
  bool Complete() const;
  uint64_t round() const { return round_; }
  std::vector<Tally> Tallies() const;  // of a complete round, by stream
  void Journaled();
  // All shards have committed the last round.
  bool over() const { return round_ > last_; }
  SyncAction Next(LeaseToken seat);

 private:
  struct Stream {
    LeaseToken seat = 0;  // which has the present minibatch, or had the one before
    bool taken = false;
    bool finished = false;
    Tally tally;
  };
  struct Seat {
    NodeId node = 0;
    uint64_t session = 0;
    int64_t seen_ms = 0;
  };

  Stream* Choose(LeaseToken seat);
  void BeginRound(uint64_t round);

  std::vector<Stream> streams_;
  std::map<LeaseToken, Seat> seats_;
  uint64_t round_;  // the present one
  const uint64_t last_;
  uint64_t examples_;  // of the present round, while it is being committed
  bool committing_;
  LeaseToken committer_ = 0;
};

}  // namespace penstock
