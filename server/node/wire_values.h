// The values of one table of a call as shards take and give them, as floats: in place in the message where
// they travel so, in a buffer of the pool where another codec has them.
#pragma once

#include <capnp/blob.h>

#include <cstddef>
#include <cstring>

#include "common/cluster/encode_values.h"
#include "common/net/buffer_pool.h"

namespace penstock {

// Out of a request, whose memory must stay. Its values are whole and aligned.
class ValuesIn {
 public:
  ValuesIn(Codec codec, capnp::Data::Reader wire) : count_(wire.size() / BytesOfValue(codec)) {
    if (codec == Codec::kF32) {
      floats_ = reinterpret_cast<const float*>(wire.begin());
      return;
    }
    decoded_ = BufferPool::OfProcess()->Take(count_ * sizeof(float));
    auto* floats = reinterpret_cast<float*>(decoded_.data());
    DecodeValues(codec, wire.begin(), {floats, count_});
    floats_ = floats;
  }
  const float* data() const { return floats_; }
  size_t size() const { return count_; }

 private:
  size_t count_;
  BufferPool::Buffer decoded_;
  const float* floats_ = nullptr;
};

// Into an answer, whose memory must stay: write data(), then Finish. What is not written is 0.
class ValuesOut {
 public:
  ValuesOut(Codec codec, capnp::Data::Builder wire) : codec_(codec), wire_(wire) {
    if (codec == Codec::kF32) return;
    floats_ = BufferPool::OfProcess()->Take(size() * sizeof(float));
    std::memset(floats_.data(), 0, size() * sizeof(float));
  }
  float* data() {
    return codec_ == Codec::kF32 ? reinterpret_cast<float*>(wire_.begin())
                                 : reinterpret_cast<float*>(floats_.data());
  }
  size_t size() const { return wire_.size() / BytesOfValue(codec_); }
  void Finish() {
    if (codec_ != Codec::kF32) EncodeValues(codec_, {data(), size()}, wire_.begin());
  }

 private:
  Codec codec_;
  capnp::Data::Builder wire_;
  BufferPool::Buffer floats_;
};

}  // namespace penstock
