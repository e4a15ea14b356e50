// FlatWriter: builds one large message straight into the array that is written to the log, without a copy at
// the end.
//
// The caller estimates the size. With an estimate that suffices the message has one segment and Finish()
// hands out the array it was built in; with one that is too small Finish() copies. Either way the words are a
// flat Cap'n Proto message.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/array.h>

#include <cstdint>
#include <vector>

namespace penstock {

class FlatWriter final : public capnp::MessageBuilder {
 public:
  explicit FlatWriter(size_t words);
  // The finished message; nothing may be built afterwards.
  kj::Array<capnp::word> Finish();

 protected:
  kj::ArrayPtr<capnp::word> allocateSegment(unsigned minimum_words) override;

 private:
  kj::Array<capnp::word> first_;  // one word of framing, then the first segment
  bool first_taken_ = false;
  std::vector<kj::Array<capnp::word>> more_;
};

}  // namespace penstock
