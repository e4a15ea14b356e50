// Operation: a GroupedCall as the Dispatcher performs it: how it is sent, and who hears its end.
//
// Lives on the client's loop. The subclasses (data_operations.h) know what a call looks like on the wire.
#pragma once

#include <kj/async.h>

#include <span>

#include "client/grouped_call.h"
#include "proto/data.capnp.h"

namespace penstock {

class Operation : public GroupedCall {
 public:
  using GroupedCall::GroupedCall;
  ~Operation() noexcept override = default;  // said, because kj's own destructors may throw

  // Sends these groups, each in its sent_epoch. An RPC failure is an exception. The operation outlives the
  // promise.
  virtual kj::Promise<Answer> Send(proto::DataPlane::Client& server, std::span<const uint32_t> groups) = 0;
  // It looks at all of its shards' rows, which may be on disk and take as long as there are many: a server
  // that has not answered by attempt_timeout_ms is not taken for hung.
  virtual bool scans() const { return false; }
  // What is answered before the answer arrives to all groups ends here, once; ok: every group is.
  virtual void Complete(Status status) = 0;

 private:
  friend class Dispatcher;
  kj::Maybe<kj::Promise<void>> timer_;  // of its deadline
};

}  // namespace penstock
