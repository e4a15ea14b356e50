// RpcServer: one listening port on one loop, which hands out its service after the handshake
// (proto/handshake.capnp).
//
// Lives on its loop's thread, destructor included. What a peer can make it hold is bounded:
//  - A connection that has not passed the handshake within 5 s is closed, and until then may send messages of
//    64 KiB. One beyond `max_connections` is told so in the handshake (kOverloaded) and closed; beyond that
//    and another 64 it is closed at once.
//  - A message above `max_message_bytes` closes its connection before any of it is read.
//  - While calls of more than twice that wait for their answers, nothing more is read of their connection.
// Refusals are logged and counted.
#pragma once

#include <capnp/capability.h>
#include <kj/async-io.h>

#include <atomic>
#include <functional>
#include <memory>

#include "common/base/metrics.h"
#include "common/net/identity.h"
#include "common/net/kj_loop.h"

namespace penstock {

// Of all ports of a process.
struct RpcCounters {
  std::atomic<uint64_t> connections{0};  // open now, refused ones included
  std::atomic<uint64_t> refused_connections{0};
  std::atomic<uint64_t> refused_messages{0};

  // As <prefix>_connections and so on; this object must outlive the registry's last Text().
  void Declare(const std::string& prefix, MetricsRegistry& registry) const;
};

struct RpcServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;                       // 0: any free one; ask port() which
  std::string advertise_host;              // what endpoint() names; empty: host
  uint64_t max_message_bytes = 128 << 20;  // traversal limit of a received message
  size_t max_connections = 4096;
  std::string limit_name = "max_connections";  // the option that says so, for errors
  RpcCounters* counters = nullptr;             // must outlive the server
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
