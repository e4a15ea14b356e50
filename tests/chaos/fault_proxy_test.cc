// Every fault of the proxy, as the two ends of a connection see it.
#include "tests/chaos/fault_proxy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>

#include "tests/cluster/child_program.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;

int64_t MsSince(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
}

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A proxy, a listener behind it, and a connection through both.
class FaultProxyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = Loopback(0);
    socklen_t length = sizeof address;
    ASSERT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), length), 0);
    ASSERT_EQ(::listen(listener_, 8), 0);
    ASSERT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    auto proxy = FaultProxy::Start({.target_port = ntohs(address.sin_port)});
    ASSERT_TRUE(proxy.ok()) << proxy.status().ToString();
    proxy_ = std::move(*proxy);
    ASSERT_NO_FATAL_FAILURE(Connect());
  }
  void TearDown() override {
    for (const int fd : {source_, target_, listener_}) ::close(fd);
  }
  void Connect() {
    source_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(proxy_->port());
    ASSERT_EQ(::connect(source_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    target_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    ASSERT_GE(target_, 0);
  }
  static void Send(int fd, const std::string& text) {
    ASSERT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // What arrives within the deadline, at most `bytes`; "<end>" or "<reset>" behind it if that comes.
  static std::string Receive(int fd, size_t bytes, int deadline_ms) {
    std::string text;
    const auto start = Clock::now();
    while (text.size() < bytes) {
      pollfd readable{.fd = fd, .events = POLLIN, .revents = 0};
      const int left = deadline_ms - static_cast<int>(MsSince(start));
      if (left <= 0 || ::poll(&readable, 1, left) == 0) break;
      char part[4096];
      const ssize_t n = ::recv(fd, part, std::min(sizeof part, bytes - text.size()), 0);
      if (n <= 0) return text + (n == 0 ? "<end>" : "<reset>");
      text.append(part, static_cast<size_t>(n));
    }
    return text;
  }

  int listener_ = -1, source_ = -1, target_ = -1;
  std::unique_ptr<FaultProxy> proxy_;
};

constexpr int kSoonMs = 5000;  // for what must come
constexpr int kQuietMs = 150;  // for what must not

TEST_F(FaultProxyTest, CarriesBothWays) {
  Send(source_, "question");
  EXPECT_EQ(Receive(target_, 8, kSoonMs), "question");
  Send(target_, "answer");
  EXPECT_EQ(Receive(source_, 6, kSoonMs), "answer");
  // Counted after they were sent.
  EXPECT_TRUE(WaitFor(kSoonMs, [&] {
    return proxy_->forwarded_bytes(Direction::kToTarget) == 8 &&
           proxy_->forwarded_bytes(Direction::kToSource) == 6;
  }));
  ::shutdown(source_, SHUT_WR);
  EXPECT_EQ(Receive(target_, 1, kSoonMs), "<end>");
  Send(target_, "still");  // the other direction goes on
  EXPECT_EQ(Receive(source_, 5, kSoonMs), "still");
}

TEST_F(FaultProxyTest, CarriesMuch) {
  std::string much(3 << 20, 'x');
  for (size_t i = 0; i < much.size(); ++i) much[i] = static_cast<char>('a' + i % 23);
  std::thread sender([&] { Send(source_, much); });
  EXPECT_TRUE(Receive(target_, much.size(), 20000) == much);
  sender.join();
}

TEST_F(FaultProxyTest, DelaysOneWay) {
  proxy_->Set(Direction::kToTarget, {.delay_ms = 300});
  Send(target_, "quick");
  EXPECT_EQ(Receive(source_, 5, kSoonMs), "quick");
  const auto start = Clock::now();
  Send(source_, "late");
  EXPECT_EQ(Receive(target_, 4, kSoonMs), "late");
  EXPECT_GE(MsSince(start), 290);
}

TEST_F(FaultProxyTest, DropsOneWayAndResetsWhatHasLostBytes) {
  proxy_->Set(Direction::kToTarget, {.drop = true});
  Send(source_, "lost");
  EXPECT_EQ(Receive(target_, 4, kQuietMs), "");
  ASSERT_TRUE(WaitFor(kSoonMs, [&] { return proxy_->dropped_bytes() == 4; }));
  Send(target_, "back");
  EXPECT_EQ(Receive(source_, 4, kSoonMs), "back");
  proxy_->Heal();
  EXPECT_EQ(Receive(source_, 1, kSoonMs), "<reset>");
  ::close(source_);
  ::close(target_);
  ASSERT_NO_FATAL_FAILURE(Connect());
  Send(source_, "new");
  EXPECT_EQ(Receive(target_, 3, kSoonMs), "new");
}

TEST_F(FaultProxyTest, HoldsAndThenDelivers) {
  proxy_->SetBoth({.hold = true});
  Send(source_, "question");
  Send(target_, "answer");
  EXPECT_EQ(Receive(target_, 8, kQuietMs), "");
  EXPECT_EQ(Receive(source_, 6, kQuietMs), "");
  proxy_->Heal();
  EXPECT_EQ(Receive(target_, 8, kSoonMs), "question");
  EXPECT_EQ(Receive(source_, 6, kSoonMs), "answer");
}

TEST_F(FaultProxyTest, HalfCloses) {
  proxy_->HalfClose(Direction::kToTarget);
  EXPECT_EQ(Receive(target_, 1, kSoonMs), "<end>");
  Send(target_, "still");
  EXPECT_EQ(Receive(source_, 5, kSoonMs), "still");
}

TEST_F(FaultProxyTest, Resets) {
  proxy_->ResetAll();
  EXPECT_EQ(Receive(source_, 1, kSoonMs), "<reset>");
  EXPECT_EQ(Receive(target_, 1, kSoonMs), "<reset>");
  EXPECT_TRUE(WaitFor(kSoonMs, [&] { return proxy_->open() == 0; }));
}

TEST_F(FaultProxyTest, Trickles) {
  proxy_->Set(Direction::kToTarget, {.bytes_per_second = 1000});
  const auto start = Clock::now();
  Send(source_, std::string(500, 'x'));
  EXPECT_EQ(Receive(target_, 500, kSoonMs).size(), 500u);
  EXPECT_GE(MsSince(start), 400);
}

TEST_F(FaultProxyTest, CutsAfterSoManyBytes) {
  proxy_->Set(Direction::kToTarget, {.cut_after_bytes = 10});
  Send(source_, "0123456789abcdef");
  const std::string seen = Receive(target_, 16, kSoonMs);
  // The reset may overtake what the target had not read yet.
  EXPECT_TRUE(seen == "0123456789<reset>" || seen == "<reset>") << seen;
  EXPECT_EQ(proxy_->forwarded_bytes(Direction::kToTarget), 10u);
  EXPECT_EQ(Receive(source_, 1, kSoonMs), "<reset>");
}

TEST_F(FaultProxyTest, ResetsWhereNobodyListens) {
  ::close(listener_);
  const int other = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(proxy_->port());
  ASSERT_EQ(::connect(other, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(Receive(other, 1, kSoonMs), "<reset>");
  ::close(other);
  listener_ = -1;
}

}  // namespace
}  // namespace penstock
