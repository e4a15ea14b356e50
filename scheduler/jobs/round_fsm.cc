#include "scheduler/jobs/round_fsm.h"

#include <algorithm>

namespace penstock {

RoundFsm::RoundFsm(uint32_t streams, uint64_t round, uint64_t examples, uint64_t last)
    : streams_(streams),
      round_(examples > 0 ? round : round + 1),
      last_(last),
      examples_(examples),
      committing_(examples > 0) {}

void RoundFsm::TakeSeat(LeaseToken seat, NodeId node, uint64_t session, int64_t now_ms) {
  seats_[seat] = {.node = node, .session = session, .seen_ms = now_ms};
}

void RoundFsm::LeaveSeat(LeaseToken seat) {
  seats_.erase(seat);
  for (Stream& stream : streams_) {
    if (stream.seat != seat) continue;
    stream.seat = 0;
    stream.taken = false;
  }
  if (committer_ == seat) committer_ = 0;
}

void RoundFsm::Forgive(int64_t ms) {
  for (auto& [token, seat] : seats_) seat.seen_ms += ms;
}

bool RoundFsm::Sign(LeaseToken token, NodeId node, uint64_t session, int64_t now_ms) {
  const auto seat = seats_.find(token);
  if (seat == seats_.end() || seat->second.node != node || seat->second.session != session) return false;
  seat->second.seen_ms = now_ms;
  return true;
}

void RoundFsm::Finish(const FinishedMinibatch& finished) {
  if (finished.round != round_ || committing_ || finished.stream >= streams_.size()) return;
  Stream& stream = streams_[finished.stream];
  if (stream.finished) return;
  stream.finished = true;
  stream.tally = Finite(finished.tally);
}

bool RoundFsm::Complete() const {
  return !committing_ && !over() &&
         std::all_of(streams_.begin(), streams_.end(), [](const Stream& s) { return s.finished; });
}

std::vector<Tally> RoundFsm::Tallies() const {
  std::vector<Tally> tallies;
  for (const Stream& stream : streams_) tallies.push_back(stream.tally);
  return tallies;
}

void RoundFsm::Journaled() {
  committing_ = true;
  examples_ = 0;
  for (const Stream& stream : streams_) examples_ += stream.tally.examples;
}

void RoundFsm::Committed(uint64_t round) {
  if (!committing_ || round != round_) return;
  BeginRound(round_ + 1);
}

void RoundFsm::BeginRound(uint64_t round) {
  round_ = round;
  committing_ = false;
  committer_ = 0;
  for (Stream& stream : streams_) stream = {.seat = stream.seat};
}

// One that it has and did not finish (its answer was lost), or a free one: of those it had before, of those
// that nobody had, then of others.
RoundFsm::Stream* RoundFsm::Choose(LeaseToken seat) {
  Stream* best = nullptr;
  int best_rank = 4;
  for (Stream& stream : streams_) {
    if (stream.finished || (stream.taken && stream.seat != seat)) continue;
    const int rank = stream.taken ? 0 : stream.seat == seat ? 1 : stream.seat == 0 ? 2 : 3;
    if (rank >= best_rank) continue;
    best = &stream;
    best_rank = rank;
  }
  return best;
}

SyncAction RoundFsm::Next(LeaseToken seat) {
  if (over() || !HasSeat(seat)) return {.kind = SyncAction::Kind::kEnd};
  if (committing_) {
    if (committer_ == 0) committer_ = seat;
    if (committer_ != seat) return {.kind = SyncAction::Kind::kWait, .round = round_};
    return {.kind = SyncAction::Kind::kCommit, .round = round_, .examples = examples_};
  }
  Stream* stream = Choose(seat);
  if (stream == nullptr) return {.kind = SyncAction::Kind::kWait, .round = round_};
  stream->seat = seat;
  stream->taken = true;
  return {.kind = SyncAction::Kind::kWork,
          .round = round_,
          .stream = static_cast<uint32_t>(stream - streams_.data())};
}

}  // namespace penstock
