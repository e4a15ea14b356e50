// Segment allocation and framing of FlatWriter.
#include "server/shard/flat_writer.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "common/net/buffer_pool.h"

namespace penstock {
namespace {

// Cap'n Proto wants segments zeroed. In a buffer that was used before no page of it has to come from the
// kernel (docs/notes/0011-log-and-fold.md).
kj::Array<capnp::word> ZeroedWords(size_t words) {
  BufferPool::Buffer buffer = BufferPool::OfProcess()->Take(words * sizeof(capnp::word));
  std::memset(buffer.data(), 0, words * sizeof(capnp::word));
  auto array = kj::arrayPtr(reinterpret_cast<capnp::word*>(buffer.data()), words);
  return array.attach(kj::mv(buffer));
}

}  // namespace

// A segment has less than 2^29 words; what goes beyond gets segments of its own.
FlatWriter::FlatWriter(size_t words)
    : first_(ZeroedWords(1 + std::clamp<size_t>(words, 64, (size_t{1} << 29) - 2))) {}

kj::ArrayPtr<capnp::word> FlatWriter::allocateSegment(unsigned minimum_words) {
  if (!first_taken_ && minimum_words + 1 <= first_.size()) {
    first_taken_ = true;
    return first_.slice(1, first_.size());
  }
  first_taken_ = true;
  more_.push_back(ZeroedWords(std::max<size_t>(minimum_words, 1024)));
  return more_.back();
}

kj::Array<capnp::word> FlatWriter::Finish() {
  const auto segments = getSegmentsForOutput();
  if (segments.size() != 1 || segments[0].begin() != first_.begin() + 1)
    return capnp::messageToFlatArray(segments);
  // The framing of a message of one segment: segment count - 1, then its words.
  const uint32_t framing[2] = {0, static_cast<uint32_t>(segments[0].size())};
  std::memcpy(first_.begin(), framing, sizeof(framing));
  const size_t used = 1 + segments[0].size();
  if (used == first_.size()) return kj::mv(first_);
  auto words = first_.slice(0, used);
  return words.attach(kj::mv(first_));
}

}  // namespace penstock
