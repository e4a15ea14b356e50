#include "scheduler/node/node_watch.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace penstock {
namespace {

using std::chrono::milliseconds;

// A port that accepts connections until Close, and what is said of node 7 behind it.
class NodeWatchTest : public ::testing::Test {
 protected:
  NodeWatchTest() : loop_("watch") {
    loop_.Run([this] {
      auto address = loop_.io().provider->getNetwork().parseAddress("127.0.0.1:0").wait(loop_.io().waitScope);
      port_ = address->listen();
      endpoint_ = "127.0.0.1:" + std::to_string(port_->getPort());
      watch_ = std::make_unique<NodeWatch>(loop_, 60'000, [this](NodeId node) { said_.push_back(node); });
      watch_->OnHeard(7, endpoint_, 1);
    });
  }
  ~NodeWatchTest() noexcept override {
    loop_.Run([this] {
      watch_.reset();
      port_ = nullptr;
    });
  }

  void On(const std::function<void()>& what) { loop_.Run(what); }
  void Close() {
    On([this] { port_ = nullptr; });
  }
  std::vector<NodeId> Said() {
    std::vector<NodeId> said;
    On([&] { said = said_; });
    return said;
  }
  std::vector<NodeId> SaidWithin(milliseconds most) {
    const auto until = std::chrono::steady_clock::now() + most;
    while (Said().empty() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(milliseconds(5));
    return Said();
  }

  KjLoop loop_;
  kj::Own<kj::ConnectionReceiver> port_;
  std::string endpoint_;
  std::unique_ptr<NodeWatch> watch_;
  std::vector<NodeId> said_;
};

TEST_F(NodeWatchTest, APortThatIsGoneHasEnded) {
  Close();
  EXPECT_TRUE(SaidWithin(milliseconds(100)).empty()) << "it is connected";
  On([this] { watch_->OnClosed(1); });
  EXPECT_EQ(SaidWithin(milliseconds(20'000)), std::vector<NodeId>{7});
}

// The connection of a process that dies may end before its port does.
TEST_F(NodeWatchTest, APortThatAcceptsIsTriedAgain) {
  On([this] { watch_->OnClosed(1); });
  EXPECT_TRUE(SaidWithin(milliseconds(200)).empty());
  Close();
  EXPECT_EQ(SaidWithin(milliseconds(20'000)), std::vector<NodeId>{7});
}

TEST_F(NodeWatchTest, OneConnectionOfTwoSaysNothing) {
  Close();
  On([this] {
    watch_->OnHeard(7, endpoint_, 2);
    watch_->OnClosed(1);
  });
  EXPECT_TRUE(SaidWithin(milliseconds(200)).empty());
  On([this] { watch_->OnClosed(2); });
  EXPECT_EQ(SaidWithin(milliseconds(20'000)), std::vector<NodeId>{7});
}

TEST_F(NodeWatchTest, WhoIsHeardAgainHasNotEnded) {
  On([this] { watch_->OnClosed(1); });
  EXPECT_TRUE(SaidWithin(milliseconds(100)).empty());
  On([this] { watch_->OnHeard(7, endpoint_, 2); });
  Close();
  EXPECT_TRUE(SaidWithin(milliseconds(200)).empty());
}

}  // namespace
}  // namespace penstock
