// How RPC failures become a Status, and deadlines on promises.
//
// Methods answer with a proto::Status for everything the peer can say. A kj::Exception therefore means that
// the connection failed: DISCONNECTED is kUnavailable, a timeout kDeadlineExceeded, an unknown method
// kPermissionDenied (a peer of another version).
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include <string>

#include "common/base/status.h"

namespace penstock {

// `context` says who and where: "push to server-1 at 127.0.0.1:7100".
Status StatusFromException(const kj::Exception& e, std::string_view context);

// The promise's value, or DeadlineExceeded("<context>: no answer within N ms"); other failures through
// StatusFromException.
template <typename T>
kj::Promise<Result<T>> WithDeadline(kj::Timer& timer, uint64_t ms, kj::Promise<T> promise,
                                    const std::string& context) {
  auto late = timer.afterDelay(ms * kj::MILLISECONDS).then([context, ms]() -> Result<T> {
    return DeadlineExceeded(context + ": no answer within " + std::to_string(ms) + " ms");
  });
  auto value =
      promise.then([](T&& v) -> Result<T> { return Result<T>(kj::mv(v)); },
                   [context](kj::Exception&& e) -> Result<T> { return StatusFromException(e, context); });
  return value.exclusiveJoin(kj::mv(late));
}

}  // namespace penstock
