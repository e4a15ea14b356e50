// ProducerWindow: the transitions.
#include "client/producer_window.h"

#include <string>

namespace penstock {

Sequence ProducerWindow::low() const {
  if (kind_ == ProducerKind::kJob) return recorded_;
  return entries_.empty() ? next_ : entries_.begin()->first;
}

Status ProducerWindow::CheckRoom(Sequence sequence) const {
  if (rewound_) {
    return FailedPrecondition("sequence " + std::to_string(sequence) +
                              ": a shard was taken up again before it had logged everything: "
                              "rewind the producer to " +
                              std::to_string(recorded_));
  }
  if (sequence - low() < kMaxWindow) return Status::Ok();
  return Overloaded("sequence " + std::to_string(sequence) + " is " + std::to_string(sequence - low()) +
                    " above the lowest unfinished one, allowed is " + std::to_string(kMaxWindow - 1) +
                    ": wait for answers");
}

Result<Sequence> ProducerWindow::BeginNext() {
  PENSTOCK_RETURN_IF_ERROR(CheckRoom(next_));
  entries_.emplace(next_, Entry{});
  ++in_flight_;
  return next_++;
}

Status ProducerWindow::Begin(Sequence sequence) {
  if (kind_ != ProducerKind::kJob) {
    return InvalidArgument("sequence " + std::to_string(sequence) +
                           ": only an attached producer takes chosen sequences");
  }
  auto it = entries_.find(sequence);
  const bool again = it != entries_.end() && it->second.state == State::kFailed;
  if (sequence < next_ && !again) {
    const bool flying = it != entries_.end() && it->second.state == State::kInFlight;
    return InvalidArgument("sequence " + std::to_string(sequence) +
                           (flying ? " is in flight" : " was answered or passed over") +
                           " already; the next one is " + std::to_string(next_));
  }
  PENSTOCK_RETURN_IF_ERROR(CheckRoom(sequence));
  entries_[sequence] = Entry{};
  ++in_flight_;
  if (sequence >= next_) next_ = sequence + 1;
  return Status::Ok();
}

void ProducerWindow::Finish(Sequence sequence, const std::vector<UnitPosition>& units) {
  auto it = entries_.find(sequence);
  if (it == entries_.end() || it->second.state != State::kInFlight) return;
  --in_flight_;
  if (kind_ == ProducerKind::kClient) {
    entries_.erase(it);
    return;
  }
  for (const UnitPosition& unit : units) Observe(unit);
  it->second.state = State::kAnswered;
  for (const UnitPosition& unit : units) {
    if (unit.lsn <= unit.logged) continue;
    Shard& shard = shards_[unit.shard];
    // The answer may have been overtaken by one in a later epoch.
    const bool overtaken = unit.epoch < shard.epoch && shard.held.Holds(unit.epoch, unit.lsn);
    if (unit.epoch != shard.epoch && !overtaken) {
      it->second.state = State::kFailed;
      rewound_ = true;
    } else if (unit.lsn > shard.logged) {
      shard.waiting.emplace(unit.lsn, sequence);
      ++it->second.unlogged;
    }
  }
  Advance();
}

void ProducerWindow::Fail(Sequence sequence) {
  auto it = entries_.find(sequence);
  if (it == entries_.end() || it->second.state != State::kInFlight) return;
  --in_flight_;
  if (kind_ == ProducerKind::kClient) {
    entries_.erase(it);
  } else {
    it->second.state = State::kFailed;
  }
}

void ProducerWindow::Observe(const UnitPosition& seen) {
  if (kind_ == ProducerKind::kClient) return;
  Shard& shard = shards_[seen.shard];
  if (seen.epoch < shard.epoch) return;
  if (seen.epoch > shard.epoch) {
    if (seen.held.since == 0 && !shard.waiting.empty()) return;
    std::erase_if(shard.waiting, [&](const auto& unit) {
      if (seen.held.Holds(shard.epoch, unit.first)) return false;
      entries_.at(unit.second).state = State::kFailed;
      rewound_ = true;
      return true;
    });
    shard.epoch = seen.epoch;
    shard.held = seen.held;
    shard.logged = 0;
  }
  if (seen.logged <= shard.logged) return;
  shard.logged = seen.logged;
  const auto end = shard.waiting.upper_bound(seen.logged);
  for (auto it = shard.waiting.begin(); it != end; ++it) --entries_.at(it->second).unlogged;
  shard.waiting.erase(shard.waiting.begin(), end);
  Advance();
}

void ProducerWindow::Advance() {
  while (!entries_.empty()) {
    const Entry& first = entries_.begin()->second;
    if (first.state != State::kAnswered || first.unlogged > 0) break;
    entries_.erase(entries_.begin());
  }
  recorded_ = entries_.empty() ? next_ : entries_.begin()->first;
}

Result<Sequence> ProducerWindow::Rewind() {
  if (in_flight_ > 0) {
    return FailedPrecondition("rewind: " + std::to_string(in_flight_) +
                              " pushes are in flight: wait for their answers");
  }
  if (kind_ == ProducerKind::kClient) return next_;
  entries_.clear();
  for (auto& [id, shard] : shards_) shard.waiting.clear();
  rewound_ = false;
  next_ = recorded_;
  return recorded_;
}

}  // namespace penstock
