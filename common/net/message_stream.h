// PooledMessageStream: Cap'n Proto messages over a byte stream, read ahead and into buffers that are used
// again.
//
// Small messages that arrive together cost one system call. Large ones are read in place into a buffer of the
// process's pool, whose pages are in memory already; first touching fresh ones costs more than receiving
// them.
//
// Belongs to one thread, as the readers that it gives out do; they may outlive it.
#pragma once

#include <capnp/serialize-async.h>
#include <kj/async-io.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace penstock {

class BufferPool;
class KjLoop;

class PooledMessageStream final : public capnp::MessageStream {
 public:
  // Whether a message of so many bytes may come; asked when its size is known and nothing was allocated for
  // it.
  using Accepts = std::function<bool(uint64_t bytes)>;
  // The stream must outlive this. The loop, where one is named, hears of what comes (KjLoop::NoteMessage).
  explicit PooledMessageStream(kj::AsyncIoStream& stream, KjLoop* loop = nullptr, Accepts accepts = nullptr);
  ~PooledMessageStream() noexcept(false);

  static constexpr uint32_t kMaxSegments = 512;
  // Options with which larger messages are refused.
  static capnp::ReaderOptions Limit(uint64_t bytes) {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = bytes / sizeof(capnp::word);
    return options;
  }

  // Null at the end of the stream between two messages. Throws: the stream ended inside a message, or a
  // message has more than kMaxSegments segments, is over options.traversalLimitInWords or is not accepted.
  kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> tryReadMessage(
      kj::ArrayPtr<kj::AutoCloseFd> fds, capnp::ReaderOptions options,
      kj::ArrayPtr<capnp::word> scratch) override;
  kj::Promise<void> writeMessage(kj::ArrayPtr<const int> fds,
                                 kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) override;
  kj::Promise<void> writeMessages(
      kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) override;
  kj::Maybe<int> getSendBufferSize() override;
  kj::Promise<void> end() override;

 private:
  using MaybeMessage = kj::Maybe<capnp::MessageReaderAndFds>;

  // Resolves to false when the stream ends before any of `bytes` bytes are there, to true when all are.
  kj::Promise<bool> Need(size_t bytes);
  kj::Promise<MaybeMessage> ReadTable(capnp::ReaderOptions options);
  kj::Promise<MaybeMessage> ReadBody(capnp::ReaderOptions options);
  size_t ready() const { return end_ - begin_; }

  kj::AsyncIoStream& stream_;
  KjLoop* const loop_;
  const Accepts accepts_;
  const std::shared_ptr<BufferPool> pool_;
  const std::unique_ptr<std::byte[]> ahead_;  // what was read beyond the last message is in [begin_, end_)
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace penstock
