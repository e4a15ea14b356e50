// The framing of Cap'n Proto streams (capnproto.org/encoding.html): a table of 32-bit little-endian numbers,
// namely segments - 1 and each segment's words, padded to a word, then the segments.
#include "common/net/message_stream.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "common/net/buffer_pool.h"
#include "common/net/kj_loop.h"

namespace penstock {
namespace {

static_assert(std::endian::native == std::endian::little);

// Of one reading ahead. Many small messages fit, and of a large one little has to be moved.
constexpr size_t kAheadBytes = 8 << 10;
constexpr size_t kWord = sizeof(capnp::word);

uint32_t NumberAt(const std::byte* at) {
  uint32_t number;
  std::memcpy(&number, at, sizeof number);
  return number;
}

size_t TableBytes(uint32_t segments) { return (segments / 2 + 1) * kWord; }

class PooledReader final : public capnp::MessageReader {
 public:
  PooledReader(capnp::ReaderOptions options, BufferPool::Buffer buffer, std::vector<uint32_t> words)
      : MessageReader(options), buffer_(std::move(buffer)), words_(std::move(words)) {}

  kj::ArrayPtr<const capnp::word> getSegment(capnp::uint id) override {
    if (id >= words_.size()) return nullptr;
    const auto* begin = reinterpret_cast<const capnp::word*>(buffer_.data());
    for (capnp::uint before = 0; before < id; ++before) begin += words_[before];
    return kj::arrayPtr(begin, words_[id]);
  }

  std::byte* data() const { return buffer_.data(); }

 private:
  const BufferPool::Buffer buffer_;
  const std::vector<uint32_t> words_;  // of each segment
};

}  // namespace

PooledMessageStream::PooledMessageStream(kj::AsyncIoStream& stream, KjLoop* loop, Accepts accepts)
    : stream_(stream),
      loop_(loop),
      accepts_(std::move(accepts)),
      pool_(BufferPool::OfProcess()),
      ahead_(std::make_unique_for_overwrite<std::byte[]>(kAheadBytes)) {}

PooledMessageStream::~PooledMessageStream() noexcept(false) = default;

kj::Promise<PooledMessageStream::MaybeMessage> PooledMessageStream::tryReadMessage(
    kj::ArrayPtr<kj::AutoCloseFd>, capnp::ReaderOptions options, kj::ArrayPtr<capnp::word>) {
  if (ready() >= kWord) return ReadTable(options);
  return Need(kWord).then([this, options](bool there) -> kj::Promise<MaybeMessage> {
    if (!there) return MaybeMessage(nullptr);
    return ReadTable(options);
  });
}

kj::Promise<bool> PooledMessageStream::Need(size_t bytes) {
  if (ready() >= bytes) return true;
  std::memmove(ahead_.get(), ahead_.get() + begin_, ready());
  end_ -= std::exchange(begin_, 0);
  const size_t missing = bytes - end_;
  return stream_.tryRead(ahead_.get() + end_, missing, kAheadBytes - end_).then([this, missing](size_t read) {
    end_ += read;
    if (loop_ != nullptr) loop_->NoteMessage();
    if (read >= missing) return true;
    KJ_REQUIRE(end_ == 0, "the stream ended inside a message");
    return false;
  });
}

kj::Promise<PooledMessageStream::MaybeMessage> PooledMessageStream::ReadTable(capnp::ReaderOptions options) {
  const uint32_t more = NumberAt(&ahead_[begin_]);
  KJ_REQUIRE(more < PooledMessageStream::kMaxSegments, "a message has too many segments", more);
  return Need(TableBytes(more + 1)).then([this, options](bool) { return ReadBody(options); });
}

kj::Promise<PooledMessageStream::MaybeMessage> PooledMessageStream::ReadBody(capnp::ReaderOptions options) {
  std::vector<uint32_t> words(NumberAt(&ahead_[begin_]) + 1);
  uint64_t total = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    words[i] = NumberAt(&ahead_[begin_ + (i + 1) * sizeof(uint32_t)]);
    total += words[i];
  }
  KJ_REQUIRE((!accepts_ || accepts_(total * kWord)) && total <= options.traversalLimitInWords,
             "a message is too large", total);
  begin_ += TableBytes(static_cast<uint32_t>(words.size()));
  auto reader = kj::heap<PooledReader>(options, pool_->Take(total * kWord), std::move(words));
  const size_t bytes = total * kWord, there = std::min(bytes, ready());
  std::memcpy(reader->data(), &ahead_[begin_], there);
  begin_ += there;
  std::byte* rest = reader->data() + there;
  MaybeMessage message = capnp::MessageReaderAndFds{kj::mv(reader), nullptr};
  if (there == bytes) return kj::mv(message);
  return stream_.read(rest, bytes - there).then([message = kj::mv(message)]() mutable {
    return kj::mv(message);
  });
}

kj::Promise<void> PooledMessageStream::writeMessage(
    kj::ArrayPtr<const int>, kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
  return capnp::writeMessage(stream_, segments);
}

kj::Promise<void> PooledMessageStream::writeMessages(
    kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) {
  return capnp::writeMessages(stream_, messages);
}

kj::Maybe<int> PooledMessageStream::getSendBufferSize() {
  int bytes = 0;
  capnp::uint length = sizeof bytes;
  stream_.getsockopt(SOL_SOCKET, SO_SNDBUF, &bytes, &length);
  return bytes;
}

kj::Promise<void> PooledMessageStream::end() {
  stream_.shutdownWrite();
  return kj::READY_NOW;
}

}  // namespace penstock
