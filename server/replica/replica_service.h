// ReplicaService: decodes what primaries call on a core that follows their shards (proto/replica.capnp).
//
// Lives on the core's loop.
#pragma once

#include "proto/replica.capnp.h"
#include "server/node/core.h"
#include "server/node/data_service.h"

namespace penstock {

class ReplicaService : public virtual proto::Replica::Server {
 public:
  explicit ReplicaService(ServerCore& core) : core_(core) {}

  kj::Promise<void> attach(AttachContext context) override;
  kj::Promise<void> append(AppendContext context) override;
  kj::Promise<void> digest(DigestContext context) override;

 private:
  ServerCore& core_;
};

// All that a core's port offers.
class CoreService final : public proto::CorePort::Server, public DataService, public ReplicaService {
 public:
  CoreService(ServerCore& core, Expirer& expirer, ServerMetrics& metrics)
      : DataService(core, expirer, metrics), ReplicaService(core) {}
};

}  // namespace penstock
