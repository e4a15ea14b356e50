// SchedulerContact: what a server asks and tells its scheduler outside of a session: the cluster's id before
// its first start, what its shards had reported, and why it cannot start.
//
// Called by the main thread, which waits for the answer; `loop` is where the link lives. Must not outlive
// them.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "common/cluster/node_session.h"
#include "common/cluster/scheduler_link.h"
#include "common/net/kj_loop.h"
#include "server/storage/replay.h"

namespace penstock {

class SchedulerContact {
 public:
  SchedulerContact(KjLoop& loop, SchedulerLink& link, std::string name)
      : loop_(loop), link_(link), name_(std::move(name)) {}

  // Until the scheduler has answered a handshake, however long that takes. kCancelled: `interrupted` became
  // true. kPermissionDenied: it refuses this node.
  Status Connect(const std::function<bool()>& interrupted);
  // Of the shards that this node owns. Empty when the scheduler does not answer within seconds, which is
  // logged: it compares what it is told when the node registers.
  std::map<ShardId, ReportedShard> ReportedSynced(NodeId node);
  // So that the status says it. A scheduler that does not answer within seconds does not hear of it.
  void TellCannotStart(const Status& why);
  // At its end: should what is logged now be missing at the next start, the scheduler knows of it.
  void ReportLast(NodeSession& session);

 private:
  // What the promise that `begin` makes on the loop brings.
  template <typename T>
  Result<T> Await(std::function<kj::Promise<Result<T>>()> begin);

  KjLoop& loop_;
  SchedulerLink& link_;
  const std::string name_;
};

}  // namespace penstock
