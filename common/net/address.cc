#include "common/net/address.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>

#include "common/base/strings.h"

namespace penstock {
namespace {

bool IsHostCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_' || c == ':' ||
         c == '%';
}

// `what` has this host.
Status CheckHost(const std::string& what, const std::string& host) {
  const std::string bare = BareHost(host);
  if (!bare.empty() && std::all_of(bare.begin(), bare.end(), IsHostCharacter)) return Status::Ok();
  return InvalidArgument(
      StrCat(what, ": '", host, "' is no host, allowed is a name, an IPv4 address or an IPv6 address"));
}

}  // namespace

std::string BareHost(const std::string& host) {
  return host.size() > 2 && host.front() == '[' && host.back() == ']' ? host.substr(1, host.size() - 2)
                                                                      : host;
}

std::string JoinAddress(const std::string& host, uint64_t port) {
  const std::string bare = BareHost(host);
  return bare.find(':') == std::string::npos ? StrCat(bare, ":", port) : StrCat("[", bare, "]:", port);
}

bool IsWildcard(const std::string& host) {
  const std::string bare = BareHost(host);
  return bare == "0.0.0.0" || bare == "::" || bare == "*";
}

Status CheckAddress(const std::string& address) {
  const std::string what = StrCat("address '", address, "'");
  const size_t colon = address.rfind(':');
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const bool number = !port.empty() && port.size() <= 5 &&
                      std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!number || std::stoul(port) < 1 || std::stoul(port) > 65535)
    return InvalidArgument(StrCat(what, ": allowed is host:port with a port from 1 to 65535"));
  const std::string host = address.substr(0, colon);
  if (host.find(':') != std::string::npos && BareHost(host) == host)
    return InvalidArgument(StrCat(what, ": an IPv6 address stands in brackets, as in [::1]:7070"));
  return CheckHost(what, host);
}

Result<std::string> AdvertisedHost(const std::string& listen, const std::string& advertise) {
  const std::string& host = advertise.empty() ? listen : advertise;
  if (IsWildcard(host)) {
    return InvalidArgument(
        StrCat("others cannot connect to '", host,
               "', which stands for every address of this machine: set advertise_host to the "
               "name or address that they reach it by"));
  }
  PENSTOCK_RETURN_IF_ERROR(CheckHost(advertise.empty() ? "listen" : "advertise_host", host));
  addrinfo* found = nullptr;
  const int error = getaddrinfo(BareHost(host).c_str(), nullptr, nullptr, &found);
  if (found != nullptr) freeaddrinfo(found);
  if (error == 0) return BareHost(host);
  const std::string why = StrCat(advertise.empty() ? "listen" : "advertise_host", " '", host,
                                 "' cannot be resolved: ", gai_strerror(error));
  return error == EAI_AGAIN ? Unavailable(why) : InvalidArgument(why);
}

}  // namespace penstock
