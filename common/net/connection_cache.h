// ConnectionCache: a loop's connections to other processes, one an endpoint, made on demand after the
// handshake.
//
// Lives on its loop's thread. A connection that breaks leaves the cache by itself; the calls on it fail with
// kUnavailable, and the next Get connects again.
#pragma once

#include <capnp/capability.h>

#include <functional>
#include <memory>
#include <string>

#include "common/net/identity.h"
#include "common/net/kj_loop.h"
#include "common/net/rpc_status.h"

namespace penstock {

struct ConnectionOptions {
  uint64_t connect_timeout_ms = 3000;      // name look-up, connect and handshake together
  uint64_t max_message_bytes = 128 << 20;  // traversal limit of a received message
};

class ConnectionCache {
 public:
  ConnectionCache(KjLoop& loop, std::shared_ptr<ClusterIdentity> identity,
                  const ConnectionOptions& options = {});
  ~ConnectionCache();

  // The service behind `endpoint` ("host:port"), to be cast to the interface that is expected there.
  // kUnavailable: its name cannot be resolved, or it is not reachable now; kPermissionDenied: another
  // cluster, another version or a wrong token, each named; kDeadlineExceeded: it accepts the connection and
  // does not answer in time. The first contact tells the identity its cluster id if it had none.
  kj::Promise<Result<capnp::Capability::Client>> Get(const std::string& endpoint);

  // Forgets the connection (a call on it timed out); calls in flight on it go on to their own deadlines.
  void Drop(const std::string& endpoint);

 private:
  class Impl;
  kj::Own<Impl> impl_;
};

// "host:port" itself, or, when the address has a '/', the first line of the file it names (the launcher's
// address files). kUnavailable when the file does not exist yet.
Result<std::string> ResolveAddress(const std::string& address_or_file);

}  // namespace penstock
