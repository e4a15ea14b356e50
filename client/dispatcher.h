// Dispatcher: performs what DispatchFsm decides about Operations: connects, sends, waits, and completes them.
//
// Lives on the client's loop.
//
// Payloads travel by reference, so an operation must not be destroyed while a message of it may still be
// written: whoever waits for its answer holds it until it is answered (then it was written) or until its
// connection is gone.
#pragma once

#include <kj/async.h>

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "client/dispatch_fsm.h"
#include "client/map_keeper.h"
#include "client/operation.h"
#include "common/net/connection_cache.h"

namespace penstock {

class Dispatcher : private kj::TaskSet::ErrorHandler {
 public:
  // Called with what every answer said about its shards.
  using LogSeen = std::function<void(std::span<const UnitPosition>)>;

  // `attempt_timeout_ms`: of one message.
  Dispatcher(KjLoop& loop, ConnectionCache& connections, MapKeeper& map, const DispatchOptions& options,
             uint64_t attempt_timeout_ms, LogSeen log_seen);
  ~Dispatcher();

  // Sends it, unless it is complete already for having no groups.
  void Start(std::shared_ptr<Operation> operation);
  // Completes all operations with kCancelled and forgets them. To be followed by the end of the connections,
  // then of this.
  void Cancel();
  // DispatchFsm::Waits now.
  std::string Waits(uint64_t for_ms) const { return fsm_.Waits(loop_.NowMs(), for_ms); }

 private:
  using ChannelPtr = DispatchFsm::ChannelPtr;
  using MessagePtr = DispatchFsm::MessagePtr;

  void Perform();
  void Perform(DispatchFsm::Action action);
  void Send(ChannelPtr channel, MessagePtr message);
  void End(Operation& operation, Status status);
  void taskFailed(kj::Exception&& e) override;

  KjLoop& loop_;
  ConnectionCache& connections_;
  MapKeeper& map_;
  const uint64_t attempt_timeout_ms_;
  const LogSeen log_seen_;
  DispatchFsm fsm_;
  bool performing_ = false;
  kj::TaskSet tasks_;  // last: its promises use all of the above
};

}  // namespace penstock
