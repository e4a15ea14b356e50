// Hostile bytes on the ports of a cluster, before the handshake and behind it: no process ends, none grows,
// and honest peers go on. For a moment by default; PENSTOCK_HOSTILE_SECONDS=600 is the long run, which says
// something under AddressSanitizer.
#include <arpa/inet.h>
#include <capnp/rpc.capnp.h>
#include <capnp/serialize.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "client/admin.h"
#include "common/base/hash.h"
#include "common/net/connection_cache.h"
#include "common/net/identity.h"
#include "common/net/rpc_status.h"
#include "proto/control.capnp.h"
#include "proto/data.capnp.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

sockaddr_in LoopbackAt(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int Dial(uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = LoopbackAt(port);
  EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return fd;
}

void Change(uint8_t* bytes, size_t size, std::mt19937* random) {
  for (size_t changes = 1 + (*random)() % 4; changes > 0 && size > 0; --changes)
    bytes[(*random)() % size] = static_cast<uint8_t>((*random)());
}

// One connection to a port, whose bytes towards the port are changed from Spoil on.
class SpoilingPipe {
 public:
  SpoilingPipe(uint16_t target, uint32_t seed) : target_(target), random_(seed) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = LoopbackAt(0);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 1), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    endpoint_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] { Run(); });
  }
  ~SpoilingPipe() {
    stopped_ = true;
    thread_.join();
    ::close(listener_);
  }
  const std::string& endpoint() const { return endpoint_; }
  void Spoil() { spoils_ = true; }

 private:
  void Run() {
    pollfd coming{.fd = listener_, .events = POLLIN, .revents = 0};
    while (!stopped_ && ::poll(&coming, 1, 20) <= 0) {
    }
    if (stopped_) return;
    const int source = ::accept(listener_, nullptr, nullptr), target = Dial(target_);
    pollfd ends[2] = {{.fd = source, .events = POLLIN, .revents = 0},
                      {.fd = target, .events = POLLIN, .revents = 0}};
    while (!stopped_) {
      if (::poll(ends, 2, 20) <= 0) continue;
      if (ends[0].revents != 0 && !Forward(source, target, spoils_)) break;
      if (ends[1].revents != 0 && !Forward(target, source, false)) break;
    }
    ::close(source);
    ::close(target);
  }
  bool Forward(int from, int to, bool spoil) {
    const ssize_t got = ::recv(from, buffer_, sizeof buffer_, 0);
    if (got <= 0) return false;
    const auto size = static_cast<size_t>(got);
    if (spoil) Change(buffer_, size, &random_);
    for (size_t sent = 0; sent < size;) {
      const ssize_t more = ::send(to, buffer_ + sent, size - sent, MSG_NOSIGNAL);
      if (more <= 0) return false;
      sent += static_cast<size_t>(more);
    }
    return true;
  }

  const uint16_t target_;
  std::mt19937 random_;
  int listener_ = -1;
  std::string endpoint_;
  uint8_t buffer_[16 << 10];
  std::atomic<bool> stopped_ = false, spoils_ = false;
  std::thread thread_;
};

constexpr uint64_t kMostResident = uint64_t{kSanitizerCost} * 256 << 20;  // of a process, in bytes

class HostileBytesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(cluster_.Start().ok()) << cluster_.Output("scheduler") << cluster_.Output("server-0");
    auto client = cluster_.Connect();
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = std::move(*client);
    const auto table = client_->CreateTable({.name = "hostile", .dim = 1});
    ASSERT_TRUE(table.ok()) << table.status().ToString();
    table_ = table->id;
    for (Key key = 0; keys_.size() < kRows; ++key) {
      if (ShardOf(RowHash(key, table_), kShards) == 0) keys_.push_back(key);
    }
    const auto shard = Admin(*client_).Inspect("shard", "0");
    ASSERT_TRUE(shard.ok()) << shard.status().ToString();
    epoch_ = shard->at("epoch");
    server_ = PortOf(shard->at("endpoint"));
    const auto address = ResolveAddress(cluster_.scheduler_address());
    ASSERT_TRUE(address.ok()) << address.status().ToString();
    scheduler_ = PortOf(*address);
    identity_->name = "hostile";
    identity_->token = *ReadTokenFile(cluster_.client_token_file());
  }

  static uint16_t PortOf(const std::string& endpoint) {
    return static_cast<uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
  }

  // Bytes of no handshake: noise, or its first message with some of it changed.
  void SayNoise(uint16_t port) {
    std::vector<uint8_t> bytes(1 + random_() % 4096);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_());
    if (random_() % 2 == 0) {
      capnp::MallocMessageBuilder message;
      message.initRoot<capnp::rpc::Message>().initBootstrap().setQuestionId(random_() % 4);
      const auto words = capnp::messageToFlatArray(message);
      const auto begun = words.asBytes();
      bytes.assign(begun.begin(), begun.end());
      Change(bytes.data(), bytes.size(), &random_);
    }
    const int fd = Dial(port);
    const timeval patience{.tv_sec = 0, .tv_usec = 5000};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)!::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    (void)!::recv(fd, bytes.data(), bytes.size(), 0);
    ::close(fd);
  }

  template <typename Results, typename Request>
  kj::Promise<void> Sent(Request&& request) {
    using Response = capnp::Response<Results>;
    return WithDeadline<Response>(loop_.timer(), 100, request.send(), "call")
        .then([](Result<Response>&&) {}, [](kj::Exception&&) {});
  }
  kj::Promise<void> CallServer(proto::DataPlane::Client plane) {
    if (random_() % 2 == 0) {
      auto call = plane.pullRequest();
      auto table = call.initRequest().initTables(1)[0];
      table.setTable(table_);
      FillGroup(table.initGroups(1)[0]);
      std::memcpy(table.initKeys(sizeof(Key) * kRows).begin(), keys_.data(), sizeof(Key) * kRows);
      return Sent<proto::DataPlane::PullResults>(kj::mv(call));
    }
    auto call = plane.pushRequest();
    auto request = call.initRequest();
    request.setProducer(1);
    request.setSequence(random_() % 100);
    auto table = request.initTables(1)[0];
    table.setTable(table_);
    FillGroup(table.initGroups(1)[0]);
    std::memcpy(table.initKeys(sizeof(Key) * kRows).begin(), keys_.data(), sizeof(Key) * kRows);
    table.initValues(sizeof(float) * kRows);
    return Sent<proto::DataPlane::PushResults>(kj::mv(call));
  }
  template <typename Group>
  void FillGroup(Group group) {
    group.setShard(0);
    group.setEpoch(epoch_);
    group.setCount(kRows);
  }
  kj::Promise<void> CallScheduler(proto::Scheduler::Client scheduler) {
    if (random_() % 2 == 0) {
      auto call = scheduler.inspectRequest();
      call.setWhat("status");
      return Sent<proto::Scheduler::InspectResults>(kj::mv(call));
    }
    auto call = scheduler.submitJobRequest();
    call.setSpec(R"({"name": "x", "passes": 1, "plan": {"train": {"partitions": 1}}, "tables": []})");
    return Sent<proto::Scheduler::SubmitJobResults>(kj::mv(call));
  }

  // A handshake as it should be, and then calls that are spoilt on their way. Whether it was let in.
  bool SpoilCalls(uint16_t port) {
    SpoilingPipe pipe(port, static_cast<uint32_t>(random_()));
    std::unique_ptr<ConnectionCache> connections;
    bool let_in = false;
    std::promise<void> done;
    loop_.Post([&] {
      connections = std::make_unique<ConnectionCache>(loop_, identity_);
      auto said = connections->Get(pipe.endpoint())
                      .then([&](Result<capnp::Capability::Client>&& service) -> kj::Promise<void> {
                        if (!service.ok()) return kj::READY_NOW;
                        let_in = true;
                        pipe.Spoil();
                        kj::Vector<kj::Promise<void>> calls;
                        for (int i = 0; i < 20; ++i) {
                          calls.add(port == server_ ? CallServer(service->castAs<proto::DataPlane>())
                                                    : CallScheduler(service->castAs<proto::Scheduler>()));
                        }
                        return kj::joinPromises(calls.releaseAsArray());
                      });
      loop_.Detach(said.then([&] { done.set_value(); }, [&](kj::Exception&&) { done.set_value(); }), "calls");
    });
    done.get_future().wait();
    loop_.Run([&] { connections.reset(); });
    return let_in;
  }

  static constexpr uint32_t kRows = 16, kShards = 8;
  const uint32_t seed_ = std::random_device{}();
  std::mt19937 random_{seed_};
  TestCluster cluster_{{.servers = 1, .shards = kShards, .dir = {}}};
  std::unique_ptr<Client> client_;
  std::shared_ptr<ClusterIdentity> identity_ = std::make_shared<ClusterIdentity>();
  KjLoop loop_{"hostile"};
  uint16_t server_ = 0, scheduler_ = 0;
  Epoch epoch_ = 0;
  TableId table_ = 0;
  std::vector<Key> keys_;  // of shard 0
};

TEST_F(HostileBytesTest, EndNothing) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  const char* asked = std::getenv("PENSTOCK_HOSTILE_SECONDS");
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::seconds(asked != nullptr ? std::atoi(asked) : 3);
  int let_in = 0;
  while (std::chrono::steady_clock::now() < until) {
    for (const uint16_t port : {server_, scheduler_}) {
      for (int i = 0; i < 20; ++i) SayNoise(port);
      let_in += SpoilCalls(port);
    }
    for (const char* name : {"server-0", "scheduler"}) {
      ASSERT_TRUE(cluster_.Running(name)) << cluster_.Output(name);
      ASSERT_THAT(cluster_.Output(name), Not(HasSubstr("Sanitizer")));
    }
  }
  EXPECT_GT(let_in, 0) << "calls were spoilt, too";
  for (const char* name : {"server-0", "scheduler"}) {
    const uint64_t peak = cluster_.PeakResidentBytes(name);
    std::printf("%s: %lu MiB at most\n", name, static_cast<unsigned long>(peak >> 20));
    EXPECT_GT(peak, 0u);
    EXPECT_LT(peak, kMostResident) << name;
  }
  // Honest peers go on.
  const auto client = cluster_.Connect();
  ASSERT_TRUE(client.ok()) << client.status().ToString();
  EXPECT_TRUE((*client)->CreateTable({.name = "honest", .dim = 1}).ok());
  EXPECT_EQ(cluster_.Terminate("server-0"), 0);
  EXPECT_EQ(cluster_.Terminate("scheduler"), 0);
}

}  // namespace
}  // namespace penstock
