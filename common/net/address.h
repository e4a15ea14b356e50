// Addresses as people write them and processes tell them: "host:port", an IPv6 host in brackets.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/status.h"

namespace penstock {

// An IPv6 address without its brackets: as name look-ups take it. Other hosts stay as they are.
std::string BareHost(const std::string& host);
// "127.0.0.1:7070", "[::1]:7070". The host may have its brackets already.
std::string JoinAddress(const std::string& host, uint64_t port);
// Every address of this machine: "0.0.0.0", "::", "*". Nobody can connect to it.
bool IsWildcard(const std::string& host);

// Ok for "host:port" with a port from 1 to 65535. kInvalidArgument, naming what is wrong: no port, an IPv6
// host without brackets, characters that no host has.
Status CheckAddress(const std::string& address);
// What others are told to reach a listener by: `advertise`, or `listen` where that is empty. kInvalidArgument
// when it is a wildcard, no host, or a name that cannot be resolved here.
Result<std::string> AdvertisedHost(const std::string& listen, const std::string& advertise);

}  // namespace penstock
