// ReplicaService: decodes what primaries call on a core that follows their shards (proto/replica.capnp).
//
// Lives on the core's loop.
#pragma once

#include "proto/replica.capnp.h"
#include "server/replica/replica_host.h"

namespace penstock {

class ReplicaService : public virtual proto::Replica::Server {
 public:
  explicit ReplicaService(ReplicaHost& host) : host_(host) {}

  kj::Promise<void> attach(AttachContext context) override;
  kj::Promise<void> append(AppendContext context) override;
  kj::Promise<void> digest(DigestContext context) override;

 private:
  ReplicaHost& host_;
};

}  // namespace penstock
