// ProducerWindow: which sequences of a producer are in flight, finished and logged. Pure: no threads, no
// clock, no I/O.
//
// Feeds two numbers. `low` travels with every push: servers forget the marks below it and take every older
// sequence for applied. `recorded` is a job's progress. For a job's producer both are the same: the lowest
// sequence that is not known to be logged on all copies. What a shard answered in one epoch and had not
// logged when a later epoch began may be lost. The first answer in a later epoch says what is not
// (HeldBefore): that goes on waiting for its log. If there is anything else, the window is `rewound`, whether
// or not the shard lost it; the marks make pushing again harmless. Until that answer comes nothing is known,
// and nothing counts as logged.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/cluster/held_before.h"

namespace penstock {

enum class ProducerKind { kClient, kJob };

// Where a unit ended up, as its server answered, and what was logged there at that moment. Of other answers
// (a pull's, a flush's) it has what was said.
struct UnitPosition {
  ShardId shard = 0;
  Epoch epoch = 0;
  Lsn lsn = 0;     // 0: of no unit
  Lsn logged = 0;  // 0: not said
  HeldBefore held;
};

class ProducerWindow {
 public:
  static constexpr uint64_t kMaxWindow = 65536;  // sequences from low on; servers refuse more

  ProducerWindow(ProducerKind kind, Sequence begin) : kind_(kind), next_(begin), recorded_(begin) {}

  // Takes the next sequence. kOverloaded: beyond the window. kFailedPrecondition: rewound.
  Result<Sequence> BeginNext();
  // Takes this one: at or above next(), or one that failed. kInvalidArgument: in flight, answered or passed
  // over already, or not a job's producer; and the errors of BeginNext.
  Status Begin(Sequence sequence);
  // Begin's sequence was answered ok, with these units (none: it touched no row).
  void Finish(Sequence sequence, const std::vector<UnitPosition>& units);
  // It ended in an error. Client's: given up, low may pass it. Job's: to be pushed again.
  void Fail(Sequence sequence);
  // What an answer said of its shard. One in a later epoch counts only if it says what is held.
  void Observe(const UnitPosition& seen);

  Sequence next() const { return next_; }
  Sequence low() const;
  Sequence recorded() const { return kind_ == ProducerKind::kJob ? recorded_ : low(); }
  bool rewound() const { return rewound_; }
  size_t in_flight() const { return in_flight_; }
  // Forgets everything from recorded() on and goes on there. kFailedPrecondition while something is in
  // flight.
  Result<Sequence> Rewind();

 private:
  enum class State { kInFlight, kAnswered, kFailed };
  struct Entry {
    State state = State::kInFlight;
    size_t unlogged = 0;  // its units that are not known to be logged
  };
  struct Shard {
    Epoch epoch = 0;
    HeldBefore held;  // in this epoch
    Lsn logged = 0;
    std::multimap<Lsn, Sequence> waiting;  // units above `logged` that are held in this epoch
  };

  Status CheckRoom(Sequence sequence) const;
  void Advance();

  const ProducerKind kind_;
  Sequence next_;
  Sequence recorded_;
  bool rewound_ = false;
  size_t in_flight_ = 0;
  std::map<Sequence, Entry> entries_;  // client: those in flight. Job: all from recorded_ on that were begun
  std::map<ShardId, Shard> shards_;    // job only
};

}  // namespace penstock
