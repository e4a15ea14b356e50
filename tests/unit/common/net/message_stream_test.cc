// Messages of all sizes through a PooledMessageStream, and streams that break off.
#include "common/net/message_stream.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>

#include <cstring>
#include <vector>

#include "common/net/buffer_pool.h"
#include "common/net/payloads.h"
#include "proto/data.capnp.h"

namespace penstock {
namespace {

class MessageStreamTest : public ::testing::Test {
 public:
  ~MessageStreamTest() noexcept override {}  // KJ's members may throw, which the base does not allow

 protected:
  // One table and `bytes` bytes of keys that say where they stand. Large ones get a segment of their own.
  static void Fill(capnp::MessageBuilder& message, size_t bytes) {
    auto table = message.initRoot<proto::PullRequest>().initTables(1)[0];
    auto keys = table.initKeys(static_cast<unsigned>(bytes));
    for (size_t i = 0; i < bytes; ++i) keys[i] = static_cast<kj::byte>(i * 31 + bytes);
  }
  static bool Holds(capnp::MessageReader& message, size_t bytes) {
    auto keys = message.getRoot<proto::PullRequest>().getTables()[0].getKeys();
    if (keys.size() != bytes) return false;
    for (size_t i = 0; i < bytes; ++i) {
      if (keys[i] != static_cast<kj::byte>(i * 31 + bytes)) return false;
    }
    return true;
  }
  static capnp::ReaderOptions Limit(size_t bytes) {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = bytes / sizeof(capnp::word);
    return options;
  }
  kj::Maybe<capnp::MessageReaderAndFds> Read(size_t limit = 64 << 20) {
    return stream_.tryReadMessage(nullptr, Limit(limit), nullptr).wait(io_.waitScope);
  }
  std::string ReadError(size_t limit = 64 << 20) {
    try {
      Read(limit);
    } catch (const kj::Exception& e) {
      return e.getDescription().cStr();
    }
    return "none";
  }

  kj::AsyncIoContext io_ = kj::setupAsyncIo();
  kj::TwoWayPipe pipe_ = io_.provider->newTwoWayPipe();
  PooledMessageStream stream_{*pipe_.ends[1]};
};

TEST_F(MessageStreamTest, MessagesOfAllSizesOneAfterTheOther) {
  const std::vector<size_t> sizes = {0, 8, 100, 4000, 8192, 70000, 16, 16, 16, 3 << 20, 24};
  std::vector<std::unique_ptr<capnp::MallocMessageBuilder>> messages;
  kj::Promise<void> written = kj::READY_NOW;
  PooledMessageStream writer(*pipe_.ends[0]);
  for (size_t bytes : sizes) {
    messages.push_back(std::make_unique<capnp::MallocMessageBuilder>());
    Fill(*messages.back(), bytes);
    written = written.then([&writer, &message = *messages.back()] {
      return static_cast<capnp::MessageStream&>(writer).writeMessage(message);
    });
  }
  written = written.then([&writer] { return writer.end(); }).eagerlyEvaluate(nullptr);
  for (size_t bytes : sizes) {
    auto message = Read();
    ASSERT_TRUE(message != nullptr) << bytes;
    EXPECT_TRUE(Holds(*KJ_ASSERT_NONNULL(message).reader, bytes)) << bytes;
  }
  EXPECT_TRUE(Read() == nullptr) << "the end";
  written.wait(io_.waitScope);
}

TEST_F(MessageStreamTest, AStreamThatEndsInsideAMessageIsAnError) {
  capnp::MallocMessageBuilder message;
  Fill(message, 1000);
  const auto words = capnp::messageToFlatArray(message);
  for (size_t cut : {size_t{4}, size_t{8}, size_t{100}, words.asBytes().size() - 8}) {
    auto pipe = io_.provider->newTwoWayPipe();
    PooledMessageStream stream(*pipe.ends[1]);
    pipe.ends[0]->write(words.asBytes().begin(), cut).wait(io_.waitScope);
    pipe.ends[0]->shutdownWrite();
    EXPECT_ANY_THROW(stream.tryReadMessage(nullptr, Limit(1 << 20), nullptr).wait(io_.waitScope)) << cut;
  }
}

TEST_F(MessageStreamTest, WhatIsOverALimitIsNamed) {
  capnp::MallocMessageBuilder message;
  Fill(message, 5000);
  const auto words = capnp::messageToFlatArray(message);
  pipe_.ends[0]->write(words.asBytes().begin(), words.asBytes().size()).wait(io_.waitScope);
  EXPECT_NE(ReadError(4096).find("a message is too large"), std::string::npos);

  auto pipe = io_.provider->newTwoWayPipe();
  PooledMessageStream stream(*pipe.ends[1]);
  const uint32_t table[] = {511 + 1, 0};
  pipe.ends[0]->write(table, sizeof table).wait(io_.waitScope);
  try {
    stream.tryReadMessage(nullptr, Limit(1 << 20), nullptr).wait(io_.waitScope);
    ADD_FAILURE() << "513 segments were taken";
  } catch (const kj::Exception& e) {
    EXPECT_NE(std::string(e.getDescription().cStr()).find("too many segments"), std::string::npos);
  }
}

// What is referenced is a segment each, of which a reader takes only so many.
TEST_F(MessageStreamTest, AMessageOfManyPayloadsCanBeRead) {
  constexpr unsigned kTables = 2000;
  PooledMessageStream writer(*pipe_.ends[0]);
  for (const size_t bytes : {size_t{8}, 2 * Payloads::kSmall}) {
    const std::vector<uint64_t> keys(bytes / sizeof(uint64_t), bytes);
    capnp::MallocMessageBuilder message;
    auto tables = message.initRoot<proto::PullRequest>().initTables(kTables);
    Payloads payloads(capnp::Orphanage::getForMessageContaining(message.getRoot<proto::PullRequest>()));
    for (auto table : tables) table.adoptKeys(payloads.Take(keys.data(), bytes));
    auto written = writer.writeMessage(nullptr, message.getSegmentsForOutput());
    auto read = KJ_ASSERT_NONNULL(Read());
    written.wait(io_.waitScope);
    const auto came = read.reader->getRoot<proto::PullRequest>().getTables();
    ASSERT_EQ(came.size(), kTables);
    for (const auto table : came) {
      ASSERT_EQ(table.getKeys().size(), bytes);
      ASSERT_EQ(std::memcmp(table.getKeys().begin(), keys.data(), bytes), 0);
    }
  }
}

TEST(BufferPoolTest, TheBufferThatCameBackLastGoesOutFirst) {
  const auto pool = std::make_shared<BufferPool>();
  std::byte* first = nullptr;
  {
    const auto a = pool->Take(5000), b = pool->Take(5000);
    EXPECT_EQ(a.bytes(), 8192u);
    EXPECT_NE(a.data(), b.data());
    first = a.data();  // destroyed last
  }
  EXPECT_EQ(pool->idle_bytes(), 2 * 8192u);
  EXPECT_EQ(pool->Take(8192).data(), first);
  EXPECT_NE(pool->Take(8193).bytes(), 8192u);
}

TEST(BufferPoolTest, GivesBackWhatIsIdle) {
  const auto pool = std::make_shared<BufferPool>();
  const BufferPool::Buffer used = pool->Take(1 << 20);
  static_cast<void>(pool->Take(1 << 20));
  EXPECT_EQ(pool->idle_bytes(), size_t{1} << 20);
  pool->Trim();
  EXPECT_EQ(pool->idle_bytes(), 0u);
  static_cast<void>(pool->Take(1 << 20));
  EXPECT_EQ(pool->idle_bytes(), size_t{1} << 20);
}

TEST(BufferPoolTest, KeepsOnlySoMuch) {
  const auto pool = std::make_shared<BufferPool>();
  {
    std::vector<BufferPool::Buffer> all;
    for (int i = 0; i < 5; ++i) all.push_back(pool->Take(BufferPool::kIdleBytes / 4));
  }
  EXPECT_EQ(pool->idle_bytes(), BufferPool::kIdleBytes);
}

}  // namespace
}  // namespace penstock
