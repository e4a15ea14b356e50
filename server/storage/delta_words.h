// DeltaWords: the bytes of one delta, a flat Cap'n Proto message that nobody changes any more. Copies share
// it: the log's appender and the senders to backups use the same bytes on their own threads.
#pragma once

#include <capnp/common.h>
#include <kj/array.h>

#include <memory>

namespace penstock {

class DeltaWords {
 public:
  DeltaWords() = default;
  DeltaWords(kj::Array<capnp::word>&& words)  // NOLINT: built in place by whoever has built a delta
      : words_(std::make_shared<const kj::Array<capnp::word>>(kj::mv(words))) {}
  DeltaWords(std::nullptr_t) {}  // NOLINT: no delta

  const capnp::word* begin() const { return words_ == nullptr ? nullptr : words_->begin(); }
  size_t size() const { return words_ == nullptr ? 0 : words_->size(); }  // in words
  size_t bytes() const { return size() * sizeof(capnp::word); }
  kj::ArrayPtr<const capnp::word> ptr() const { return {begin(), size()}; }

 private:
  std::shared_ptr<const kj::Array<capnp::word>> words_;
};

}  // namespace penstock
