#include "common/net/identity.h"

#include <glog/logging.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <unistd.h>

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

}  // namespace

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
  std::ifstream in(path);
  if (!in) return ErrnoStatus(errno, "token file " + path);
  std::string token;
  std::getline(in, token);
  if (!token.empty() && token.back() == '\r') token.pop_back();
  if (token.size() < 16 || token.size() > 256) {
    return InvalidArgument("token file " + path + ": its first line has " + std::to_string(token.size()) +
                           " characters, allowed is 16 to 256");
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

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host == "[::1]" || host.rfind("127.", 0) == 0;
}

}  // namespace penstock
