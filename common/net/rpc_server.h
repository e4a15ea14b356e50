// RpcServer: one listening port on one loop, which hands out its service after the handshake
// (proto/handshake.capnp).
//
// Lives on its loop's thread, destructor included. A connection that has not passed the handshake within 5 s
// is closed, as is one beyond `max_connections`.
#pragma once

#include <capnp/capability.h>
#include <kj/async-io.h>

#include <functional>
#include <memory>

#include "common/net/identity.h"
#include "common/net/kj_loop.h"

namespace penstock {

struct RpcServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;                       // 0: any free one; ask port() which
  std::string advertise_host;              // what endpoint() names; empty: host
  uint64_t max_message_bytes = 128 << 20;  // traversal limit of a received message
  size_t max_connections = 4096;
};

class RpcServer {
 public:
  // kFailedPrecondition naming the address when it cannot be bound, or when it is not loopback and there is
  // no token.
  static Result<std::unique_ptr<RpcServer>> Listen(KjLoop& loop,
                                                   std::shared_ptr<const ClusterIdentity> identity,
                                                   const RpcServerOptions& options,
                                                   capnp::Capability::Client service);
  ~RpcServer();

  uint16_t port() const { return port_; }
  std::string endpoint() const;  // "host:port"
  size_t connections() const;

 private:
  class Impl;
  RpcServer(std::unique_ptr<Impl> impl, uint16_t port, std::string host);
  std::unique_ptr<Impl> impl_;
  uint16_t port_;
  std::string host_;
};

}  // namespace penstock
