// Operation: one call of the client's user on its way, as groups that the Dispatcher sends until each has its
// answer.
//
// Lives on the client's loop. The subclasses (data_operations.h) know what a call looks like on the wire; the
// Dispatcher knows where shards are, when to send again and when to give up.
#pragma once

#include <kj/async.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "client/retry_policy.h"
#include "common/cluster/shard_map.h"
#include "proto/data.capnp.h"

namespace penstock {

class Operation {
 public:
  enum class GroupState { kWaiting, kParked, kQueued, kSent, kDone };

  struct Group {
    ShardId shard = 0;
    uint32_t piece = 0;  // groups of different pieces never share a call
    uint64_t bytes = 0;
    GroupState state = GroupState::kWaiting;  // parked: for a back-off, or until the map was looked at
    Epoch sent_epoch = 0;
    GroupRetry retry;
    std::shared_ptr<const std::string> where;  // of the last attempt: "node 2 at 127.0.0.1:7100"; may be null
  };

  // What a call came back with, parallel to its groups; a Status when the call as a whole was refused,
  // unapplied.
  using Answer = Result<std::vector<GroupOutcome>>;

  Operation(uint64_t deadline_ms, std::vector<Group> groups)
      : deadline_ms_(deadline_ms), groups_(std::move(groups)) {}
  virtual ~Operation() = default;

  // "pull", "push": for messages.
  virtual std::string what() const = 0;
  // "table 'user', shard 17"
  virtual std::string Describe(size_t group) const = 0;
  // True when these two may stand next to each other in a call, in this order.
  virtual bool Joins(size_t group, size_t next) const { return true; }
  // Sends these groups, each in its sent_epoch. An RPC failure is an exception. The operation outlives the
  // promise.
  virtual kj::Promise<Answer> Send(proto::DataPlane::Client& server, std::span<const uint32_t> groups) = 0;
  // An operation that may change something ends with kOutcomeUnknown where a reading one ends with
  // kDeadlineExceeded.
  virtual bool changes() const { return false; }
  // What is answered before the answer arrives to all groups ends here, once; ok: every group is.
  virtual void Complete(Status status) = 0;

  uint64_t deadline_ms() const { return deadline_ms_; }
  std::vector<Group>& groups() { return groups_; }
  const std::vector<Group>& groups() const { return groups_; }

 private:
  friend class Dispatcher;
  const uint64_t deadline_ms_;
  std::vector<Group> groups_;
  // The Dispatcher's.
  size_t unanswered_ = 0;  // groups that are not done
  size_t flying_ = 0;      // calls that were sent
  bool ended_ = false;
  Status failure_;  // final error of a group; nothing more is sent
  kj::Maybe<kj::Promise<void>> timer_;
};

}  // namespace penstock
