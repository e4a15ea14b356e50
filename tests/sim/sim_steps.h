// Steps of the protocols, and how often each was reached and interrupted by a fault: the process that was to
// do the next one ended or stood still, or the message that carried it was lost.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace penstock::sim {

enum class Step : uint8_t {
  kNone,
  kPushSent,        // by a client
  kPushApplied,     // to the rows; its delta is to be built
  kDeltaBuilt,      // to be appended
  kAppended,        // its core has not heard of it
  kSynced,          // likewise
  kDeltaSent,       // to a backup
  kDeltaTaken,      // by the backup, into memory
  kDeltaConfirmed,  // the backup's answer
  kPushAnswered,    // the answer is on its way
  kAttachSent,      // a primary asks where a copy stands
  kAttachAnswered,
  kSeedBegun,      // no rows are sent yet
  kPieceSent,      // a piece of a seed, but the last
  kSeedFinishing,  // all rows are sent, the last piece waits for a delta
  kLastPieceSent,
  kEpochCommitted,  // a new epoch is journaled, its primary has not heard of it
  kGrantDelivered,  // the primary serves the epoch, the scheduler has not heard of that
  kPromoted,        // the same two of a backup that was promoted
  kEpochConfirmed,  // in-sync copies count as promotable; until the next change
  kFenced,          // journaled: a shard is to be handed over, its primary has not heard of it
  kHandedOver,      // journaled, the new primary has not heard of it
  kRegisterSent,
  kHeartbeatSent,
  kLeaseGiven,
  kReportSent,
  kReportTaken,
  kTakenOver,    // a lease begins behind what another one has recorded
  kReplayBegun,  // a server has started and reads its log
  kFoldBegun,    // the log's segments are sealed, the fold is to run
  kCount,
};

const char* NameOf(Step step);

struct StepCounts {
  std::array<uint64_t, static_cast<size_t>(Step::kCount)> reached{}, interrupted{};

  void Reach(Step step) { ++reached[static_cast<size_t>(step)]; }
  void Interrupt(Step step) { ++interrupted[static_cast<size_t>(step)]; }
  StepCounts& operator+=(const StepCounts& other);
  std::string Table() const;
  // Names of the steps that no fault ever interrupted.
  std::string NeverInterrupted() const;
};

}  // namespace penstock::sim
