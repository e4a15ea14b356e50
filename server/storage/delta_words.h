// DeltaWords: the bytes of one delta, a flat Cap'n Proto message that nobody changes any more. Copies share
// them: the log's appender and the senders to backups use the same bytes on their own threads. Deltas that
// came together may lie in one array.
#pragma once

#include <capnp/common.h>
#include <kj/array.h>

#include <memory>

namespace penstock {

class DeltaWords {
 public:
  DeltaWords() = default;
  using Words = const kj::Array<capnp::word>;
  DeltaWords(kj::Array<capnp::word>&& words)  // NOLINT: built in place by whoever has built a delta
      : words_(std::make_shared<Words>(kj::mv(words))), view_(words_->asPtr()) {}
  // A part of the array.
  DeltaWords(std::shared_ptr<Words> words, size_t first, size_t count)
      : words_(std::move(words)), view_(words_->slice(first, first + count)) {}
  DeltaWords(std::nullptr_t) {}  // NOLINT: no delta

  const capnp::word* begin() const { return view_.begin(); }
  size_t size() const { return view_.size(); }  // in words
  size_t bytes() const { return size() * sizeof(capnp::word); }
  kj::ArrayPtr<const capnp::word> ptr() const { return view_; }

 private:
  std::shared_ptr<Words> words_;
  kj::ArrayPtr<const capnp::word> view_;
};

}  // namespace penstock
