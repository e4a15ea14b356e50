#include "common/net/rpc_status.h"

namespace penstock {

Status StatusFromException(const kj::Exception& e, std::string_view context) {
  std::string message = std::string(context) + ": " + e.getDescription().cStr();
  switch (e.getType()) {
    case kj::Exception::Type::DISCONNECTED:
      return Unavailable(std::move(message));
    case kj::Exception::Type::OVERLOADED:
      return Overloaded(std::move(message));
    case kj::Exception::Type::UNIMPLEMENTED:
      return PermissionDenied(std::string(context) +
                              ": the peer does not have this method (another version?)");
    case kj::Exception::Type::FAILED:
      break;
  }
  // Reset and refused connections arrive as FAILED in some of KJ's paths.
  for (const char* word : {"ECONNREFUSED", "Connection refused", "ECONNRESET", "Connection reset", "EPIPE",
                           "Broken pipe", "disconnected", "Peer disconnected", "RpcSystem was destroyed"}) {
    if (message.find(word) != std::string::npos) return Unavailable(std::move(message));
  }
  return Internal(std::move(message));
}

}  // namespace penstock
