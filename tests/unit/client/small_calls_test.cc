// The calls for the small case: one table, waited for, under a producer of the client's own.
#include <gmock/gmock.h>

#include <optional>
#include <set>
#include <thread>

#include "tests/unit/client/client_fixture.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SmallCallsTest : public ClientTest {
 protected:
  static std::optional<FakeFault> Forgotten(bool forgotten) {
    if (!forgotten) return std::nullopt;
    return FakeFault{Code::kUnknownProducer, 0, 0, "forgotten"};
  }
  // Servers know no producer below this one.
  void ForgetBelow(ProducerId floor) {
    cluster_.Run([&] {
      cluster_.on_group = [floor](const SeenCall& call, const SeenGroup&) {
        return Forgotten(call.push && call.producer < floor);
      };
    });
  }
  std::vector<SeenCall> Pushes() {
    return cluster_.Run([&] { return cluster_.pushes(); });
  }
};

TEST_F(SmallCallsTest, PushAndPullWaitForOneTable) {
  Connect();
  const TableId table = Table("user", 2).id;
  const auto before = client_->Pull(table, {7, 3, 7});
  ASSERT_TRUE(before.ok()) << before.status().ToString();
  EXPECT_THAT(*before, ElementsAre(7, 7.25f, 3, 3.25f, 7, 7.25f));
  const auto pushed = client_->Push(table, {7, 3}, {1, 2, 10, 20});
  ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
  EXPECT_GE(pushed->units.size(), 1u);
  EXPECT_THAT(*client_->Pull(table, {3, 7}), ElementsAre(13, 23.25f, 8, 9.25f));
  EXPECT_TRUE(client_->Pull(table, {})->empty());
  ASSERT_TRUE(client_->Push(table, {7}, {1, 1}).ok());
  std::set<ProducerId> producers;
  for (const SeenCall& call : Pushes()) producers.insert(call.producer);
  EXPECT_EQ(producers.size(), 1u) << "all under the client's own";
  EXPECT_FALSE(producers.contains(producer_->id()));
}

TEST_F(SmallCallsTest, WhatIsWrongIsSaid) {
  Connect();
  const TableId table = Table("user", 2).id;
  const Status sizes = client_->Push(table, {7, 3}, {1, 2, 3}).status();
  EXPECT_EQ(sizes.code(), Code::kInvalidArgument);
  EXPECT_THAT(sizes.message(), HasSubstr("table 'user': 3 values for 2 keys, expected 2 a key"));
  EXPECT_EQ(client_->Pull(table + 1, {7}).status().code(), Code::kInvalidArgument);
  EXPECT_TRUE(Pushes().empty());
}

TEST_F(SmallCallsTest, AForgottenProducerIsReplacedAndThePushCountsOnce) {
  Connect();
  const TableId table = Table("user", 1).id;
  const Key key = KeyIn(1, table);
  ASSERT_TRUE(client_->Push(table, {key}, {1}).ok());
  const ProducerId first = Pushes().back().producer;
  ForgetBelow(first + 1);
  const auto pushed = client_->Push(table, {key}, {2});
  ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
  const ProducerId second = Pushes().back().producer;
  EXPECT_GT(second, first);
  ASSERT_TRUE(client_->Push(table, {key}, {4}).ok());
  EXPECT_EQ(Pushes().back().producer, second) << "the new one stays";
  EXPECT_THAT(*client_->Pull(table, {key}), ElementsAre(FakeValue(key, 0) + 7));

  ForgetBelow(UINT64_MAX);
  const size_t before = Pushes().size();
  EXPECT_EQ(client_->Push(table, {key}, {8}).status().code(), Code::kUnknownProducer);
  EXPECT_EQ(Pushes().size(), before + 2) << "it does not ask for one after another";
}

// A part was applied before the rest met a server that had forgotten the producer: under another one that
// part would count twice.
TEST_F(SmallCallsTest, APartlyAppliedPushIsNotPushedAgain) {
  Connect();
  const TableId table = Table("user", 1).id;
  const Key kept = KeyIn(0, table), refused = KeyIn(1, table);
  cluster_.Run([&] {
    cluster_.on_group = [](const SeenCall& call, const SeenGroup& group) {
      return Forgotten(call.push && group.shard == 1);
    };
  });
  const Status pushed = client_->Push(table, {kept, refused}, {1, 1}).status();
  EXPECT_EQ(pushed.code(), Code::kOutcomeUnknown) << pushed.ToString();
  EXPECT_THAT(pushed.message(), HasSubstr("1 of 2 units were applied"));
  EXPECT_THAT(*client_->Pull(table, {kept}), ElementsAre(FakeValue(kept, 0) + 1));
}

TEST_F(SmallCallsTest, ThreadsShareTheProducer) {
  Connect();
  const TableId table = Table("user", 1).id;
  const Key key = KeyIn(1, table);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) EXPECT_TRUE(client_->Push(table, {key}, {1}).ok());
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(*client_->Pull(table, {key}), ElementsAre(FakeValue(key, 0) + 100));
}

TEST_F(SmallCallsTest, CallbacksMayNotWait) {
  Connect();
  const TableId table = Table("user", 1).id;
  std::promise<std::pair<Status, Status>> answered;
  client_->PullAsync({{table, {1}}}, [&](Result<PullResult>) {
    answered.set_value({client_->Pull(table, {1}).status(), client_->Push(table, {1}, {1}).status()});
  });
  const auto [pull, push] = answered.get_future().get();
  EXPECT_EQ(pull.code(), Code::kFailedPrecondition);
  EXPECT_EQ(push.code(), Code::kFailedPrecondition);
}

TEST_F(SmallCallsTest, EndsByItsDeadline) {
  Connect();
  const TableId table = Table("user", 1).id;
  cluster_.Run([&] { cluster_.StopScheduler(); });
  const auto begin = std::chrono::steady_clock::now();
  const Status pushed = client_->Push(table, {1}, {1}, 200).status();
  EXPECT_EQ(pushed.code(), Code::kUnavailable) << pushed.ToString();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10)) << "and not of the client";
}

}  // namespace
}  // namespace penstock
