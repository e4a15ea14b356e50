// Access: which of the cluster's tokens a peer has proven, and what each may call: one table for all ports.
//
//   node      servers, the scheduler, and workers of machines that are trusted like them
//   operator  the command `penstock`: all that clients may, and the words that only an operator may say
//   client    programs and notebooks: tables, pushes and pulls, jobs, leases; no server, no operator's word
//
// A method that the table does not name is nobody's. A test goes through all methods of the schemas.
#pragma once

#include <capnp/capability.h>

#include <cstdint>
#include <memory>
#include <string_view>

#include "common/base/status.h"

namespace penstock {

enum class Access : uint8_t {
  kNode = 0,
  kOperator = 1,
  kClient = 2,
  kEverything = 3,  // a cluster with one token for all, or without any (loopback only)
};
std::string_view ToString(Access);

// Whose call it is.
struct ProvenPeer {
  Access access = Access::kEverything;
  uint64_t connection = 0;  // the port's number of the connection that it came on
};

// A service whose answers depend on whose call it is. All on the loop.
class KnowsCaller {
 public:
  virtual ~KnowsCaller() = default;
  // Before each call; holds until the method has returned its promise.
  virtual void BeginCall(const ProvenPeer& caller) = 0;
  // The connection has ended: nothing will come on it any more.
  virtual void OnClosed(uint64_t connection) = 0;
};

// kPermissionDenied naming the method, the token that was proven and those that may call it. kNotFound: no
// port has such a method.
Status CheckCall(Access caller, uint64_t interface, uint16_t method);

// The service as this caller may use it. Methods that he may not call are answered with a
// proto::Refusal.
capnp::Capability::Client GuardService(std::shared_ptr<kj::Own<capnp::Capability::Server>> service,
                                       const ProvenPeer& caller);

}  // namespace penstock
