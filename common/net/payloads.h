// Payloads: bytes that go into a message by reference where that is cheaper than copying them.
//
// Each reference is a segment of the message, of which a reader takes kMaxSegments at most
// (message_stream.h): small bytes are copied, and so is everything beyond the first kReferences.
#pragma once

#include <capnp/orphan.h>

#include <cstddef>
#include <cstdint>

#include "common/net/message_stream.h"

namespace penstock {

class Payloads {
 public:
  static constexpr size_t kSmall = 512;  // bytes
  static constexpr size_t kReferences = PooledMessageStream::kMaxSegments / 4 * 3;

  explicit Payloads(capnp::Orphanage orphanage) : orphanage_(orphanage) {}

  // What is referenced must stay as it is until the message is sent.
  capnp::Orphan<capnp::Data> Take(const void* data, uint64_t bytes) {
    const capnp::Data::Reader reader(static_cast<const kj::byte*>(data), bytes);
    const bool aligned = reinterpret_cast<uintptr_t>(data) % sizeof(uint64_t) == 0;  // Cap'n Proto's rule
    if (!aligned || bytes < kSmall || references_ == kReferences) return orphanage_.newOrphanCopy(reader);
    ++references_;
    return orphanage_.referenceExternalData(reader);
  }

 private:
  capnp::Orphanage orphanage_;
  size_t references_ = 0;
};

}  // namespace penstock
