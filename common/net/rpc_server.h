// RpcServer: one listening port on one loop, which hands out its service after the handshake
// (proto/handshake.capnp), to each peer as the token that it has proven allows (common/net/access.h).
//
// Lives on its loop's thread, destructor included. What a peer can make it hold is bounded:
//  - Of connections that have not passed the handshake there are 256 at a time, on top of `max_connections`;
//    beyond that the oldest is closed for each that comes. Each has `handshake_ms`, may send 64 KiB, and says
//    hello once.
//  - Of those that have passed there are `max_connections`; one more is told so (kOverloaded).
//  - A message above `max_message_bytes` closes its connection before any of it is read.
//  - While calls of more than twice that wait for their answers, nothing more is read of their connection.
// Refusals are counted, and logged ten times in ten seconds at most.
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
  std::atomic<uint64_t> connections{0};           // open now
  std::atomic<uint64_t> unproven_connections{0};  // of these, those that have not passed the handshake
  std::atomic<uint64_t> refused_connections{0};
  std::atomic<uint64_t> dropped_connections{0};  // that had not passed, for others that came
  std::atomic<uint64_t> refused_messages{0};

  // As <prefix>_connections and so on; this object must outlive the registry's last Text().
  void Declare(const std::string& prefix, MetricsRegistry& registry) const;
};

struct RpcServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;                       // 0: any free one; ask port() which
  std::string advertise_host;              // what endpoint() names; empty: host, which is no wildcard then
  uint64_t max_message_bytes = 128 << 20;  // traversal limit of a received message
  size_t max_connections = 4096;
  uint64_t handshake_ms = 5000;                // that a connection has for it
  std::string limit_name = "max_connections";  // the option that says so, for errors
  RpcCounters* counters = nullptr;             // must outlive the server
};

class RpcServer {
 public:
  // kFailedPrecondition naming the address when it cannot be bound, or when it is not loopback and there is
  // no token. Without a service nobody is let in before Serve.
  static Result<std::unique_ptr<RpcServer>> Listen(KjLoop& loop,
                                                   std::shared_ptr<const ClusterIdentity> identity,
                                                   const RpcServerOptions& options,
                                                   kj::Own<capnp::Capability::Server> service = {});
  ~RpcServer();
  // Once.
  void Serve(kj::Own<capnp::Capability::Server> service);

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
