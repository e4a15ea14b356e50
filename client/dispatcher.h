// Dispatcher: sends the groups of operations to the cores that serve their shards, again where the retry
// policy says so, and ends every operation by its deadline.
//
// Lives on the client's loop. One connection an endpoint; at most max_inflight_bytes of calls on each, the
// others wait their turn. An endpoint whose call failed or was not answered within attempt_timeout_ms is
// connected to afresh. While an endpoint has been silent for silent_ms the map is looked at: what it owes
// goes to its successors as soon as there are any.
//
// Payloads travel by reference, so an operation must not be destroyed while a message of it may still be
// written: an attempt holds its operation until it is answered (then the message was written) or until its
// connection is gone.
#pragma once

#include <kj/async.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/log_tracker.h"
#include "client/map_keeper.h"
#include "client/operation.h"
#include "common/net/connection_cache.h"

namespace penstock {

struct DispatcherOptions {
  uint64_t attempt_timeout_ms = 5000;
  uint64_t silent_ms = 500;
  uint64_t max_inflight_bytes = 16 << 20;  // an endpoint
};

class Dispatcher : private kj::TaskSet::ErrorHandler {
 public:
  // Called with what every answer said about its shards.
  using LogSeen = std::function<void(std::span<const UnitPosition>)>;

  Dispatcher(KjLoop& loop, ConnectionCache& connections, MapKeeper& map, DispatcherOptions options,
             LogSeen log_seen);
  ~Dispatcher();

  // Sends it, unless it is complete already for having no groups.
  void Start(std::shared_ptr<Operation> operation);
  // Completes all operations with kCancelled and forgets them. To be followed by the end of the connections,
  // then of this.
  void Cancel();

 private:
  using OperationPtr = std::shared_ptr<Operation>;
  // Groups of an operation that travel together.
  struct Call {
    OperationPtr operation;
    std::vector<uint32_t> groups;
    uint64_t bytes = 0;
  };
  using CallPtr = std::shared_ptr<Call>;
  // What goes to an endpoint, until a call on it fails. The next call to that endpoint begins a new one.
  struct Channel {
    std::string endpoint;
    bool broken = false;
    uint64_t inflight_bytes = 0;
    std::deque<CallPtr> queue;
    std::vector<CallPtr> sent;                          // and not answered
    kj::TimePoint heard = kj::origin<kj::TimePoint>();  // its last answer, or when it began to owe one
  };
  using ChannelPtr = std::shared_ptr<Channel>;

  void Pump(const OperationPtr& operation);
  // False: the shard is not to be had now; the group is parked or the operation failed.
  bool Place(Operation& operation, uint32_t group);
  void Enqueue(const OperationPtr& operation, const std::string& endpoint, std::vector<uint32_t> groups);
  void Feed(const ChannelPtr& channel);
  void SendCall(const ChannelPtr& channel, const CallPtr& call);
  void OnNotConnected(const ChannelPtr& channel, const CallPtr& call, const Status& status);
  void OnAnswer(const ChannelPtr& channel, const CallPtr& call, Result<Operation::Answer> result);
  // The outcomes of a call that failed as a whole.
  std::vector<GroupOutcome> Refused(const Call& call, const Status& status, bool unanswered) const;
  void Apply(const OperationPtr& operation, const std::vector<uint32_t>& groups,
             const std::vector<GroupOutcome>& outcomes);
  void Break(const ChannelPtr& channel);
  // Once every silent_ms, as long as any call is unanswered.
  void Watch();
  bool Silent(const Channel& channel) const;
  // A shard that a call to `channel` was sent for is served elsewhere by now.
  bool Superseded(const Channel& channel) const;
  void WaitForMap(const OperationPtr& operation, std::vector<uint32_t> groups);
  void WaitFor(const OperationPtr& operation, std::vector<uint32_t> groups, uint32_t ms);
  void Wake(const std::weak_ptr<Operation>& operation, const std::vector<uint32_t>& groups);

  void OnDeadline(const OperationPtr& operation);
  void Settle(const OperationPtr& operation);
  void End(const OperationPtr& operation, Status status);
  Status DeadlineStatus(const Operation& operation) const;
  Status FailureStatus(const Operation& operation) const;
  bool MayHaveChanged(const Operation& operation) const;
  std::string Applied(const Operation& operation) const;
  std::shared_ptr<const std::string> Where(const ShardEntry& entry);
  void taskFailed(kj::Exception&& e) override;

  KjLoop& loop_;
  ConnectionCache& connections_;
  MapKeeper& map_;
  const DispatcherOptions options_;
  const LogSeen log_seen_;
  // The last place that was named: groups of one call share it.
  uint32_t where_node_ = 0;
  std::string where_endpoint_;
  std::shared_ptr<const std::string> where_;
  std::unordered_map<std::string, ChannelPtr> channels_;
  bool watching_ = false;
  std::unordered_map<Operation*, OperationPtr> operations_;  // that have not ended
  kj::TaskSet tasks_;                                        // last: its promises use all of the above
};

}  // namespace penstock
