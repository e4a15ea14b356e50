// ProducerWindow: which sequences of a producer are in flight, finished and logged. Pure: no threads, no
// clock, no I/O.
//
// Feeds two numbers. `low` travels with every push: servers forget the marks below it and take every older
// sequence for applied. `recorded` is a job's progress. For a job's producer both are the same: the lowest
// sequence that is not known to be logged on all copies. What a shard answered in one epoch and had not
// logged when a later epoch began may be lost: lsns of different epochs cannot be compared (the new owner
// begins above any that was *reported*, which says nothing of those that were answered since), so the window
// is then `rewound`, whether or not the shard lost anything; the marks make pushing again harmless.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"

namespace penstock {

enum class ProducerKind { kClient, kJob };

// Where a unit ended up, as its server answered, and what was logged there at that moment. Of what else tells
// of a shard (the answer of a pull, a map) it has what was said.
struct UnitPosition {
  ShardId shard = 0;
  Epoch epoch = 0;
  Lsn lsn = 0;     // 0: of no unit
  Lsn logged = 0;  // 0: not said
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
  // A shard was seen in this epoch, with everything up to `logged` in all copies' logs (0: nothing said about
  // that).
  void Observe(ShardId shard, Epoch epoch, Lsn logged);

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
    Lsn logged = 0;
    std::multimap<Lsn, Sequence> waiting;  // units of this epoch above `logged`
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
