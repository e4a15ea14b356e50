// ClusterIdentity: who a process is to its peers, and the proof of the cluster's token in the handshake.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/config/cluster_options.h"
#include "common/net/access.h"

namespace penstock {

// Shared by all loops of a process. The cluster id is 0 until the scheduler told it (or the data directory
// knew it).
struct ClusterIdentity {
  std::atomic<uint64_t> cluster{0};
  std::string name;   // "server-2", "scheduler", "penstock train": for peers' logs and errors
  std::string token;  // what it proves to those that it calls; empty: no token (loopback only)
  // What its own ports accept beside that, which is the node token then. Both empty: `token` is the one
  // token of the cluster, and whoever proves it may call everything.
  std::string operator_token, client_token;

  // The tokens that its ports accept, each with what it proves.
  std::vector<std::pair<std::string, Access>> Accepted() const;
};

// InvalidArgument unless a name has 1 to 64 printable ASCII characters, as the handshake asks. The text does
// not repeat it.
Status CheckPeerName(std::string_view name);

using Nonce = std::array<uint8_t, 16>;
using Proof = std::array<uint8_t, 32>;

Nonce RandomNonce();
uint64_t RandomId();  // never 0
// The id of a cluster as `penstock status` shows it: 16 hexadecimal digits.
std::string ClusterIdText(uint64_t cluster);
// HMAC-SHA256(token, role | client nonce | server nonce | cluster), role "client" or "server".
Proof MakeProof(const std::string& token, std::string_view role, const Nonce& client, const Nonce& server,
                uint64_t cluster);
bool SameProof(const Proof& a, const uint8_t* b, size_t size);  // in constant time

// Reads a token file: its first line, 16 to 256 printable characters without spaces. Errors name the path:
// NotFound; PermissionDenied when others than its owner may read or change it; InvalidArgument.
Result<std::string> ReadTokenFile(const std::string& path);
// Makes one with 256 random bits, mode 0600, unless it exists already; returns the token.
Result<std::string> EnsureTokenFile(const std::string& path);

// The tokens of the options, into an identity whose ports accept them. InvalidArgument when two are the same.
Status ReadTokens(const ClusterOptions::Security& options, ClusterIdentity* identity);

// True for 127.0.0.0/8, ::1 and localhost.
bool IsLoopback(const std::string& host);

}  // namespace penstock
