// The handshake and the connection cache, between two loops in one process.
#include <arpa/inet.h>
#include <capnp/rpc-twoparty.h>
#include <capnp/schema.h>
#include <glog/logging.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "common/cluster/wire.h"
#include "common/net/connection_cache.h"
#include "common/net/rpc_server.h"
#include "proto/control.capnp.h"
#include "proto/data.capnp.h"
#include "proto/handshake.capnp.h"
#include "proto/replica.capnp.h"

namespace penstock {
namespace {

class Answering final : public proto::DataPlane::Server {
 public:
  explicit Answering(KjLoop& loop) : loop_(loop) {}
  kj::Promise<void> flush(FlushContext context) override {
    if (context.getParams().getShards().size() == 7) return kj::NEVER_DONE;
    context.getResults().initShards(context.getParams().getShards().size());
    return kj::READY_NOW;
  }
  // Answered by the test.
  kj::Promise<void> push(PushContext) override {
    auto paf = kj::newPromiseAndFulfiller<void>();
    held.push_back(kj::mv(paf.fulfiller));
    most_held = std::max(most_held, held.size());
    return kj::mv(paf.promise);
  }

  std::deque<kj::Own<kj::PromiseFulfiller<void>>> held;  // the oldest first
  size_t most_held = 0;

 private:
  KjLoop& loop_;
};

std::shared_ptr<ClusterIdentity> Identity(const std::string& name, uint64_t cluster,
                                          const std::string& token) {
  auto identity = std::make_shared<ClusterIdentity>();
  identity->name = name;
  identity->cluster = cluster;
  identity->token = token;
  return identity;
}

class RpcTest : public ::testing::Test {
 protected:
  explicit RpcTest(uint64_t spin_us = 0) : loop_("server", spin_us), client_("client", spin_us) {}
  void Serve(uint64_t cluster, const std::string& token, RpcServerOptions options = {}) {
    options.counters = &counters_;
    const Status status = loop_.Run([&]() -> Status {
      auto service = kj::heap<Answering>(loop_);
      service_ = service.get();
      auto server = RpcServer::Listen(loop_, Identity("server-0", cluster, token), options, kj::mv(service));
      if (server.ok()) server_ = std::move(*server);
      return server.status();
    });
    ASSERT_TRUE(status.ok()) << status.ToString();
    endpoint_ = server_->endpoint();
  }
  void TearDown() override {
    client_.Run([&] { cache_.reset(); });
    loop_.Run([&] { server_.reset(); });
  }
  // A port with three tokens, all of them this character.
  void ServeThree(char node, char op, char client) {
    const Status status = loop_.Run([&]() -> Status {
      auto identity = Identity("server-0", 77, std::string(32, node));
      identity->operator_token = std::string(32, op);
      identity->client_token = std::string(32, client);
      auto server = RpcServer::Listen(loop_, identity, {.counters = &counters_}, kj::heap<Answering>(loop_));
      if (server.ok()) server_ = std::move(*server);
      return server.status();
    });
    ASSERT_TRUE(status.ok()) << status.ToString();
    endpoint_ = server_->endpoint();
  }
  // A connection that has proven nothing; its end is waited for.
  void Connected(std::function<kj::Promise<void>(capnp::Capability::Client bootstrap)> use) {
    std::promise<void> done;
    client_.Post([&] {
      auto used = client_.io()
                      .provider->getNetwork()
                      .parseAddress(endpoint_)
                      .then([](kj::Own<kj::NetworkAddress>&& address) {
                        auto& ref = *address;
                        return ref.connect().attach(kj::mv(address));
                      })
                      .then([&](kj::Own<kj::AsyncIoStream>&& stream) {
                        auto rpc = kj::heap<capnp::TwoPartyClient>(*stream);
                        auto all = use(rpc->bootstrap());
                        return all.attach(kj::mv(rpc)).attach(kj::mv(stream));
                      });
      client_.Detach(used.then([&] { done.set_value(); }, [&](kj::Exception&&) { done.set_value(); }),
                     "connected");
    });
    done.get_future().wait();
  }
  // The answers to these names, said one after another over one connection, as long as it is there.
  std::vector<Status> Hello(const std::vector<std::string>& names) {
    std::vector<Status> answers;
    Connected([&](capnp::Capability::Client bootstrap) {
      auto handshake = bootstrap.castAs<proto::Handshake>();
      kj::Promise<void> all = kj::READY_NOW;
      for (const std::string& name : names) {
        all = all.then([&, handshake, name]() mutable {
          auto request = handshake.helloRequest();
          auto hello = request.initHello();
          hello.setProtocolMin(proto::PROTOCOL_MIN);
          hello.setProtocolMax(proto::PROTOCOL_MAX);
          hello.initNonce(16);
          hello.setName(name);
          return request.send().then(
              [&](auto&& answer) { answers.push_back(ReadStatus(answer.getStatus())); });
        });
      }
      return all.attach(kj::mv(handshake));
    });
    return answers;
  }
  // Connections that say nothing.
  std::vector<int> Strangers(int count) {
    std::vector<int> sockets;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < count; ++i) {
      sockets.push_back(::socket(AF_INET, SOCK_STREAM, 0));
      EXPECT_EQ(::connect(sockets.back(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    }
    return sockets;
  }

  // Calls flush with `shards` entries and says how many came back.
  Result<uint32_t> Call(std::shared_ptr<ClusterIdentity> identity, uint32_t shards = 3,
                        uint64_t deadline_ms = 2000) {
    std::promise<Result<uint32_t>> done;
    auto future = done.get_future();
    client_.Post([&] {
      if (cache_ == nullptr || identity != nullptr)
        cache_ = std::make_unique<ConnectionCache>(client_, identity,
                                                   ConnectionOptions{.connect_timeout_ms = 1000});
      auto call = cache_->Get(endpoint_).then(
          [&, shards,
           deadline_ms](Result<capnp::Capability::Client>&& service) -> kj::Promise<Result<uint32_t>> {
            if (!service.ok()) return Result<uint32_t>(service.status());
            auto request = service->castAs<proto::DataPlane>().flushRequest();
            request.initShards(shards);
            using Response = capnp::Response<proto::DataPlane::FlushResults>;
            return WithDeadline<Response>(client_.timer(), deadline_ms, request.send(), "flush")
                .then([](Result<Response>&& r) -> Result<uint32_t> {
                  if (!r.ok()) return r.status();
                  return (*r).getShards().size();
                });
          });
      client_.Detach(call.then([&](Result<uint32_t>&& r) { done.set_value(r); }), "call");
    });
    return future.get();
  }

  // Whether what is sent over a connection of its own makes the server close it.
  bool Closes(const std::vector<uint32_t>& words) {
    const int fd = Strangers(1)[0];
    const bool closed =
        ::send(fd, words.data(), words.size() * sizeof(uint32_t), MSG_NOSIGNAL) > 0 && IsClosed(fd, 2);
    ::close(fd);
    return closed;
  }
  // Within so many seconds, by the server.
  static bool IsClosed(int fd, int seconds) {
    const timeval patience{.tv_sec = seconds, .tv_usec = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char byte;
    ssize_t got = 1;
    while (got > 0) got = ::recv(fd, &byte, 1, 0);
    return got == 0 || errno == ECONNRESET;
  }

  RpcCounters counters_;
  KjLoop loop_;
  KjLoop client_;
  std::unique_ptr<RpcServer> server_;
  Answering* service_ = nullptr;  // of the last Serve
  std::unique_ptr<ConnectionCache> cache_;
  std::string endpoint_;
};

TEST_F(RpcTest, TokenAndClusterMatch) {
  Serve(77, "a long enough token");
  auto identity = Identity("worker-0", 0, "a long enough token");
  auto answer = Call(identity);
  ASSERT_TRUE(answer.ok()) << answer.status().ToString();
  EXPECT_EQ(*answer, 3u);
  EXPECT_EQ(identity->cluster, 77u) << "the first contact tells the cluster's id";
  EXPECT_TRUE(Call(nullptr).ok()) << "the connection is used again";
  EXPECT_EQ(loop_.Run([&] { return server_->connections(); }), 1u);
}

TEST_F(RpcTest, WrongTokenIsDenied) {
  Serve(77, "a long enough token");
  auto answer = Call(Identity("worker-0", 77, "another token, as long"));
  EXPECT_EQ(answer.status().code(), Code::kPermissionDenied);
  EXPECT_NE(answer.status().message().find("wrong token"), std::string::npos) << answer.status().message();
}

TEST_F(RpcTest, AnotherClusterIsDeniedWithBothNamed) {
  Serve(77, "a long enough token");
  auto answer = Call(Identity("worker-0", 78, "a long enough token"));
  EXPECT_EQ(answer.status().code(), Code::kPermissionDenied);
  EXPECT_NE(answer.status().message().find(ClusterIdText(77)), std::string::npos)
      << answer.status().message();
  EXPECT_NE(answer.status().message().find(ClusterIdText(78)), std::string::npos)
      << answer.status().message();
}

TEST_F(RpcTest, NobodyThereIsUnavailableAndNamesTheEndpoint) {
  Serve(77, "");
  loop_.Run([&] { server_.reset(); });
  auto answer = Call(Identity("worker-0", 77, ""));
  EXPECT_EQ(answer.status().code(), Code::kUnavailable) << answer.status().ToString();
  EXPECT_NE(answer.status().message().find(endpoint_), std::string::npos) << answer.status().message();
}

TEST_F(RpcTest, AServerThatHangsIsADeadline) {
  Serve(77, "");
  auto answer = Call(Identity("worker-0", 77, ""), 7, 50);
  EXPECT_EQ(answer.status().code(), Code::kDeadlineExceeded) << answer.status().ToString();
}

TEST_F(RpcTest, AServerThatRestartsIsFoundAgain) {
  Serve(77, "");
  ASSERT_TRUE(Call(Identity("worker-0", 77, "")).ok());
  const uint16_t port = server_->port();
  loop_.Run([&] {
    server_.reset();
    auto again =
        RpcServer::Listen(loop_, Identity("server-0", 77, ""), {.port = port}, kj::heap<Answering>(loop_));
    ASSERT_TRUE(again.ok()) << again.status().ToString();
    server_ = std::move(*again);
  });
  // The first call may still meet the broken connection.
  auto answer = Call(nullptr);
  if (!answer.ok()) answer = Call(nullptr);
  EXPECT_TRUE(answer.ok()) << answer.status().ToString();
}

TEST_F(RpcTest, AConnectionBeyondTheLimitIsRefusedWithTheOptionNamed) {
  Serve(77, "", {.max_connections = 2, .limit_name = "server.max_connections"});
  ASSERT_TRUE(Call(Identity("worker-0", 77, "")).ok());
  auto first = client_.Run([&] { return std::move(cache_); });
  ASSERT_TRUE(Call(Identity("worker-1", 77, "")).ok());
  auto second = client_.Run([&] { return std::move(cache_); });
  auto third = Call(Identity("worker-2", 77, ""));
  EXPECT_EQ(third.status().code(), Code::kOverloaded) << third.status().ToString();
  EXPECT_GT(third.status().retry_after_ms(), 0u);
  for (const char* part : {"server-0", "server.max_connections", "2 connections"})
    EXPECT_NE(third.status().message().find(part), std::string::npos) << third.status().message();
  EXPECT_EQ(counters_.refused_connections, 1u);
  std::swap(cache_, first);
  EXPECT_TRUE(Call(nullptr).ok()) << "those that are there go on";
  client_.Run([&] { cache_.reset(), second.reset(); });
  for (int i = 0; counters_.connections > 0 && i < 2000; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(counters_.connections, 0u) << "the refused one, too";
  EXPECT_TRUE(Call(Identity("worker-2", 77, "")).ok());
  EXPECT_EQ(counters_.connections, 1u);
  client_.Run([&] { first.reset(); });
}

TEST_F(RpcTest, AMessageAboveTheLimitClosesItsConnectionAlone) {
  Serve(77, "", {.max_message_bytes = 1 << 20});
  ASSERT_TRUE(Call(Identity("worker-0", 77, "")).ok());
  auto first = client_.Run([&] { return std::move(cache_); });
  EXPECT_TRUE(Call(Identity("worker-1", 77, ""), 10'000).ok());
  const auto refused = Call(nullptr, 300'000);
  EXPECT_EQ(refused.status().code(), Code::kUnavailable) << refused.status().ToString();
  EXPECT_EQ(counters_.refused_messages, 1u);
  std::swap(cache_, first);
  EXPECT_TRUE(Call(nullptr).ok());
  client_.Run([&] { first.reset(); });
}

TEST_F(RpcTest, NothingLargeIsReadBeforeTheHandshake) {
  Serve(77, "");
  EXPECT_TRUE(Closes({0, 16 << 10})) << "one segment of 128 KiB";
  EXPECT_EQ(counters_.refused_messages, 1u);
  EXPECT_TRUE(Closes({512, 1})) << "more segments than there may be";
  EXPECT_TRUE(Call(Identity("worker-0", 77, "")).ok());
}

TEST_F(RpcTest, ANameMustBeShortAndPrintable) {
  Serve(77, "a long enough token");
  for (const std::string& name : {std::string(65, 'x'), std::string("red \x1b[31m"),
                                  std::string("two\nlines"), std::string(), std::string(10'000, 'y')}) {
    const auto answer = Call(Identity(name, 77, "a long enough token"));
    EXPECT_EQ(answer.status().code(), Code::kInvalidArgument) << answer.status().ToString();
    EXPECT_THAT(answer.status().message(), ::testing::HasSubstr("1 to 64 printable ASCII characters"));
    EXPECT_LT(answer.status().message().size(), 300u);
    EXPECT_THAT(answer.status().message(), ::testing::Not(::testing::HasSubstr("\x1b")));
  }
  EXPECT_TRUE(Call(Identity(std::string(64, 'x'), 77, "a long enough token")).ok());
}

// What access_test asks with each token, asked with none.
TEST_F(RpcTest, NoMethodIsThereBeforeATokenIsProven) {
  Serve(77, std::string(32, 'x'));
  for (const capnp::InterfaceSchema port : {capnp::InterfaceSchema(capnp::Schema::from<proto::Scheduler>()),
                                            capnp::InterfaceSchema(capnp::Schema::from<proto::DataPlane>()),
                                            capnp::InterfaceSchema(capnp::Schema::from<proto::Replica>())}) {
    for (const auto method : port.getMethods()) {
      int refused = 0;
      Connected([&](capnp::Capability::Client bootstrap) {
        auto call = bootstrap.typelessRequest(port.getProto().getId(),
                                              static_cast<uint16_t>(method.getOrdinal()), nullptr);
        return call.send().then(
            [](auto&&) {},
            [&](kj::Exception&& e) { refused += e.getType() == kj::Exception::Type::UNIMPLEMENTED; });
      });
      EXPECT_EQ(refused, 1) << method.getProto().getName().cStr();
    }
  }
}

TEST_F(RpcTest, OneHelloAConnection) {
  Serve(77, "a long enough token");
  for (const std::string& first : {std::string("a"), std::string("bad\n")}) {
    const auto answers = Hello({first, "b", "c"});
    ASSERT_EQ(answers.size(), 3u);
    EXPECT_EQ(answers[0].ok(), first == "a");
    EXPECT_EQ(answers[1].code(), Code::kFailedPrecondition) << answers[1].ToString();
    EXPECT_EQ(answers[2].code(), Code::kFailedPrecondition) << answers[2].ToString();
  }
}

TEST_F(RpcTest, AHandshakeIsShort) {
  Serve(77, "a long enough token");
  const auto answers = Hello(std::vector<std::string>(1000, "a"));
  EXPECT_GT(answers.size(), 10u);
  EXPECT_LT(answers.size(), 1000u) << "it is closed";
  EXPECT_EQ(counters_.refused_messages, 1u);
  EXPECT_TRUE(Call(Identity("worker-0", 77, "a long enough token")).ok());
}

class CountingSink : public google::LogSink {
 public:
  CountingSink() { google::AddLogSink(this); }
  ~CountingSink() override { google::RemoveLogSink(this); }
  void send(google::LogSeverity, const char*, const char*, int, const google::LogMessageTime&,
            const char* text, size_t size) override {
    lines += std::string_view(text, size).find("refused a peer") != std::string_view::npos;
  }
  std::atomic<int> lines{0};
};

TEST_F(RpcTest, StrangersCannotFillTheLog) {
  Serve(77, "a long enough token");
  CountingSink sink;
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(Hello({"bad\n"})[0].ok());
  EXPECT_GE(sink.lines, 1);
  EXPECT_LE(sink.lines, 20) << "ten in ten seconds";
}

TEST_F(RpcTest, StrangersDoNotKeepOutThoseWithAToken) {
  Serve(77, "a long enough token", {.max_connections = 2, .limit_name = "server.max_connections"});
  const auto strangers = Strangers(600);
  const auto begun = std::chrono::steady_clock::now();
  const auto answer = Call(Identity("worker-0", 77, "a long enough token"));
  EXPECT_TRUE(answer.ok() || std::chrono::steady_clock::now() - begun > std::chrono::milliseconds(900))
      << answer.status().ToString();
  if (!answer.ok()) {
    EXPECT_TRUE(Call(Identity("worker-0", 77, "a long enough token")).ok());
  }
  EXPECT_GE(counters_.dropped_connections, 300u) << "the oldest have given way";
  EXPECT_LE(counters_.unproven_connections, 256u);
  EXPECT_LE(counters_.connections, 258u);
  EXPECT_TRUE(Call(nullptr).ok()) << "what has passed stays";
  EXPECT_EQ(counters_.refused_connections, 0u) << "they count for nothing";
  for (const int fd : strangers) ::close(fd);
}

// One says nothing, one stops in the middle of its first message.
TEST_F(RpcTest, WhoHasProvenNothingInTimeIsClosed) {
  Serve(77, "a long enough token", {.handshake_ms = 1000});
  ASSERT_TRUE(Call(Identity("worker-0", 77, "a long enough token")).ok());
  const auto strangers = Strangers(2);
  const uint32_t begun[] = {0, 8};
  ASSERT_EQ(::send(strangers[1], begun, sizeof begun, MSG_NOSIGNAL), ssize_t{sizeof begun});
  for (const int fd : strangers) {
    EXPECT_TRUE(IsClosed(fd, 20));
    ::close(fd);
  }
  EXPECT_EQ(loop_.Run([&] { return server_->connections(); }), 1u) << "the older one has passed, and stays";
  EXPECT_EQ(counters_.unproven_connections, 0u);
  EXPECT_EQ(counters_.dropped_connections, 0u) << "there was a place for them";
  EXPECT_EQ(RpcServerOptions{}.handshake_ms, 5000u) << "as docs/operations.md says";
}

// By twice the largest message: two of 900 KB leave room for a third one, which leaves none.
TEST_F(RpcTest, CallsOfAConnectionThatWaitAreBounded) {
  constexpr size_t kCalls = 8;
  Serve(77, "", {.max_message_bytes = 1 << 20});
  ASSERT_TRUE(Call(Identity("worker-0", 77, "")).ok());
  auto first = client_.Run([&] { return std::move(cache_); });
  std::atomic<size_t> answered = 0;
  client_.Post([&] {
    client_.Detach(first->Get(endpoint_).then([&](Result<capnp::Capability::Client>&& service) {
      kj::Vector<kj::Promise<void>> calls;
      for (size_t i = 0; i < kCalls; ++i) {
        auto request = service->castAs<proto::DataPlane>().pushRequest();
        request.initRequest().initTables(1)[0].initValues(900'000);
        calls.add(request.send().then([&](auto&&) { ++answered; }));
      }
      return kj::joinPromises(calls.releaseAsArray());
    }),
                   "calls");
  });
  // Whenever another connection's call is answered, the server has looked at what has come from all of them.
  EXPECT_TRUE(Call(Identity("worker-1", 77, "")).ok());
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  const auto held = [&] { return loop_.Run([&] { return service_->held.size(); }); };
  while (held() < 3 && std::chrono::steady_clock::now() < until) (void)Call(nullptr);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(Call(nullptr).ok()) << "others are not held up";
  EXPECT_EQ(held(), 3u);
  while (answered < kCalls && std::chrono::steady_clock::now() < until) {
    loop_.Run([&] {
      if (service_->held.empty()) return;
      service_->held.front()->fulfill();
      service_->held.pop_front();
    });
    (void)Call(nullptr);
  }
  EXPECT_EQ(answered, kCalls) << "the rest is read as those before it are answered";
  EXPECT_EQ(loop_.Run([&] { return service_->most_held; }), 3u);
  client_.Run([&] { first.reset(); });
}

TEST_F(RpcTest, EachTokenOfThreeMayWhatItMay) {
  ServeThree('n', 'o', 'c');
  for (const char token : {'n', 'o', 'c'})
    EXPECT_TRUE(Call(Identity("peer", 77, std::string(32, token))).ok()) << token;
  for (const std::string& token : {std::string(32, 'x'), std::string()}) {
    const auto answer = Call(Identity("peer", 77, token));
    EXPECT_EQ(answer.status().code(), Code::kPermissionDenied) << answer.status().ToString();
    EXPECT_THAT(answer.status().message(), ::testing::HasSubstr("wrong token"));
  }
}

TEST_F(RpcTest, PortInUseIsNamed) {
  Serve(77, "");
  const Status status = loop_.Run([&]() -> Status {
    return RpcServer::Listen(loop_, Identity("server-1", 77, ""), {.port = server_->port()},
                             kj::heap<Answering>(loop_))
        .status();
  });
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find(std::to_string(server_->port())), std::string::npos) << status.message();
}

TEST_F(RpcTest, IPv6AddressesStandInBrackets) {
  const int probe = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 loopback{};
  loopback.sin6_family = AF_INET6;
  loopback.sin6_addr = in6addr_loopback;
  const bool there =
      probe >= 0 && ::bind(probe, reinterpret_cast<sockaddr*>(&loopback), sizeof loopback) == 0;
  if (probe >= 0) ::close(probe);
  if (!there) GTEST_SKIP() << "this machine has no IPv6 loopback";
  Serve(77, std::string(32, 'x'), {.host = "::1"});
  EXPECT_EQ(endpoint_, "[::1]:" + std::to_string(server_->port()));
  EXPECT_EQ(Hello({"worker-0"}).size(), 1u) << "it is connected to by what it advertises";
}

TEST_F(RpcTest, WhoListensEverywhereMustBeFoundSomewhere) {
  const auto listen = [&](const RpcServerOptions& options) {
    return loop_.Run([&] {
      return RpcServer::Listen(loop_, Identity("server-0", 77, std::string(32, 'x')), options,
                               kj::heap<Answering>(loop_))
          .status();
    });
  };
  const Status nowhere = listen({.host = "127.0.0.1", .advertise_host = "no-such-host.invalid"});
  EXPECT_THAT(nowhere.message(),
              ::testing::HasSubstr("advertise_host 'no-such-host.invalid' cannot be resolved"));
  const Status everywhere = listen({.host = "0.0.0.0"});
  EXPECT_THAT(everywhere.message(),
              ::testing::HasSubstr("stands for every address of this machine: set advertise_host"));
  EXPECT_TRUE(listen({.host = "0.0.0.0", .advertise_host = "127.0.0.1"}).ok());
}

TEST_F(RpcTest, BeyondLoopbackNeedsAToken) {
  Serve(77, "");
  const Status status = loop_.Run([&]() -> Status {
    return RpcServer::Listen(loop_, Identity("server-1", 77, ""), {.host = "0.0.0.0"},
                             kj::heap<Answering>(loop_))
        .status();
  });
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find("token"), std::string::npos) << status.message();
}

class SpinningRpcTest : public RpcTest {
 protected:
  SpinningRpcTest() : RpcTest(/*spin_us=*/300) {}
};

TEST_F(SpinningRpcTest, CallsThatFollowEachOtherAndOneAfterAPause) {
  Serve(77, "");
  ASSERT_TRUE(Call(Identity("worker-0", 77, "")).ok());
  for (uint32_t i = 0; i < 200; ++i) {
    // Every tenth finds both loops asleep.
    if (i % 10 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const auto answer = Call(nullptr, 10 + i);
    ASSERT_TRUE(answer.ok()) << answer.status().ToString();
    EXPECT_EQ(*answer, 10 + i);
  }
}

}  // namespace
}  // namespace penstock
