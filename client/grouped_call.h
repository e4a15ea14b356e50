// GroupedCall: one call of the client's user on its way, as groups that are sent until each has its answer.
// Pure: what it looks like on the wire is its subclass's business (operation.h), and where it goes, when it
// goes again and how it ends is DispatchFsm's.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/retry_policy.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace penstock {

class GroupedCall {
 public:
  enum class GroupState { kWaiting, kParked, kQueued, kSent, kDone };

  struct Group {
    ShardId shard = 0;
    uint32_t piece = 0;  // groups of different pieces never share a message
    uint64_t bytes = 0;
    GroupState state = GroupState::kWaiting;  // parked: for a back-off, or until the map was looked at
    Epoch sent_epoch = 0;
    GroupRetry retry;
    std::shared_ptr<const std::string> where;  // of the last attempt: "node 2 at 127.0.0.1:7100"; may be null
  };

  // What a message came back with, parallel to its groups; a Status when it was refused as a whole,
  // unapplied.
  using Answer = Result<std::vector<GroupOutcome>>;

  GroupedCall(uint64_t deadline_ms, std::vector<Group> groups)
      : deadline_ms_(deadline_ms), groups_(std::move(groups)) {}
  virtual ~GroupedCall() = default;

  // "pull", "push": for messages.
  virtual std::string what() const = 0;
  // "table 'user', shard 17"
  virtual std::string Describe(size_t group) const = 0;
  // True when these two may stand next to each other in a message, in this order.
  virtual bool Joins(size_t group, size_t next) const { return true; }
  // One that may change something ends with kOutcomeUnknown where a reading one ends with kDeadlineExceeded.
  virtual bool changes() const { return false; }

  uint64_t deadline_ms() const { return deadline_ms_; }
  std::vector<Group>& groups() { return groups_; }
  const std::vector<Group>& groups() const { return groups_; }
  bool ended() const { return ended_; }

  uint64_t begun_ms = 0;  // when the dispatcher took it; for DispatchFsm::Waits alone

 private:
  friend class DispatchFsm;
  // Nothing more of it is sent.
  bool over() const { return ended_ || !failure_.ok(); }

  const uint64_t deadline_ms_;
  std::vector<Group> groups_;
  size_t unanswered_ = 0;  // groups that are not done
  size_t flying_ = 0;      // messages that were sent
  uint64_t looks_ = 0;     // MapFsm::looks when it began
  bool ended_ = false;
  Status failure_;  // final error of a group
};

}  // namespace penstock
