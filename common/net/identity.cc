#include "common/net/identity.h"

#include <glog/logging.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>

#include "common/base/atomic_file.h"

namespace penstock {
namespace {

void FillRandom(void* out, size_t size) {
  CHECK_EQ(RAND_bytes(static_cast<unsigned char*>(out), static_cast<int>(size)), 1)
      << "no random numbers from OpenSSL";
}

bool Printable(char c, char first) { return c >= first && c <= '~'; }

}  // namespace

std::vector<std::pair<std::string, Access>> ClusterIdentity::Accepted() const {
  if (operator_token.empty() && client_token.empty()) return {{token, Access::kEverything}};
  std::vector<std::pair<std::string, Access>> accepted;
  const auto add = [&](const std::string& known, Access access) {
    if (!known.empty()) accepted.emplace_back(known, access);  // the empty one everybody can prove
  };
  add(token, Access::kNode);
  add(operator_token, Access::kOperator);
  add(client_token, Access::kClient);
  return accepted;
}

Status CheckPeerName(std::string_view name) {
  constexpr size_t kMost = 64;
  const bool printable = std::all_of(name.begin(), name.end(), [](char c) { return Printable(c, ' '); });
  if (printable && !name.empty() && name.size() <= kMost) return Status::Ok();
  return InvalidArgument("a name of " + std::to_string(name.size()) + " characters" +
                         (printable ? "" : ", some of them not printable") + ", allowed are 1 to " +
                         std::to_string(kMost) + " printable ASCII characters");
}

Nonce RandomNonce() {
  Nonce nonce;
  FillRandom(nonce.data(), nonce.size());
  return nonce;
}

uint64_t RandomId() {
  uint64_t id = 0;
  while (id == 0) FillRandom(&id, sizeof id);
  return id;
}

std::string ClusterIdText(uint64_t cluster) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(cluster));
  return text;
}

Proof MakeProof(const std::string& token, std::string_view role, const Nonce& client, const Nonce& server,
                uint64_t cluster) {
  std::string message(role);
  message.append(reinterpret_cast<const char*>(client.data()), client.size());
  message.append(reinterpret_cast<const char*>(server.data()), server.size());
  message.append(reinterpret_cast<const char*>(&cluster), sizeof cluster);
  Proof proof;
  unsigned int size = 0;
  CHECK(HMAC(EVP_sha256(), token.data(), static_cast<int>(token.size()),
             reinterpret_cast<const unsigned char*>(message.data()), message.size(), proof.data(),
             &size) != nullptr);
  return proof;
}

bool SameProof(const Proof& a, const uint8_t* b, size_t size) {
  return size == a.size() && CRYPTO_memcmp(a.data(), b, size) == 0;
}

Result<std::string> ReadTokenFile(const std::string& path) {
  struct stat file;
  if (::stat(path.c_str(), &file) != 0) return ErrnoStatus(errno, "token file " + path);
  if (S_ISDIR(file.st_mode))
    return InvalidArgument("token file " + path + " is a directory, allowed is a file");
  if ((file.st_mode & 077) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(file.st_mode & 07777));
    return PermissionDenied("token file " + path + " has mode " + mode +
                            ", allowed are those that let nobody but its owner read or write it: chmod 600");
  }
  std::ifstream in(path);
  if (!in) return ErrnoStatus(errno, "token file " + path);
  std::string token;
  std::getline(in, token);
  if (!token.empty() && token.back() == '\r') token.pop_back();
  if (token.size() < 16 || token.size() > 256) {
    return InvalidArgument("token file " + path + ": its first line has " + std::to_string(token.size()) +
                           " characters, allowed is 16 to 256");
  }
  if (!std::all_of(token.begin(), token.end(), [](char c) { return Printable(c, '!'); })) {
    return InvalidArgument("token file " + path +
                           ": its first line has spaces or characters that are not printable ASCII");
  }
  return token;
}

Result<std::string> EnsureTokenFile(const std::string& path) {
  if (access(path.c_str(), F_OK) == 0) return ReadTokenFile(path);
  uint8_t raw[32];
  FillRandom(raw, sizeof raw);
  std::string token;
  for (uint8_t byte : raw) {
    token += "0123456789abcdef"[byte >> 4];
    token += "0123456789abcdef"[byte & 15];
  }
  PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(path, token + "\n", 0600).Prepend("token file"));
  return token;
}

Status ReadTokens(const ClusterOptions::Security& options, ClusterIdentity* identity) {
  if (options.token_file.empty()) return Status::Ok();
  PENSTOCK_ASSIGN_OR_RETURN(identity->token, ReadTokenFile(options.token_file));
  if (options.operator_token_file.empty()) {
    LOG(INFO) << identity->name << ": one token for all, which may do everything: no "
              << "security.operator_token_file and security.client_token_file are set";
    return Status::Ok();
  }
  PENSTOCK_ASSIGN_OR_RETURN(identity->operator_token, ReadTokenFile(options.operator_token_file));
  PENSTOCK_ASSIGN_OR_RETURN(identity->client_token, ReadTokenFile(options.client_token_file));
  if (identity->token != identity->operator_token && identity->token != identity->client_token &&
      identity->operator_token != identity->client_token)
    return Status::Ok();
  return InvalidArgument(
      "two of security.token_file, security.operator_token_file and security.client_token_file hold the same "
      "token, allowed are three different ones");
}

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host == "[::1]" || host.rfind("127.", 0) == 0;
}

}  // namespace penstock
