// DispatchFsm: what is sent where, what answers mean, and as what calls end, without a network.
#include "client/dispatch_fsm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Action = DispatchFsm::Action;
using Kind = DispatchFsm::Action::Kind;

class TestCall final : public GroupedCall {
 public:
  TestCall(const std::vector<ShardId>& shards, bool changes) : GroupedCall(9000, {}), changes_(changes) {
    for (const ShardId shard : shards) groups().push_back({.shard = shard, .bytes = 100});
  }
  std::string what() const override { return "push 3"; }
  std::string Describe(size_t group) const override {
    return "shard " + std::to_string(groups()[group].shard);
  }
  bool changes() const override { return changes_; }

 private:
  const bool changes_;
};

// Shards 0 and 2 are at a:1, 1 and 3 at b:1.
class DispatchFsmTest : public ::testing::Test {
 protected:
  DispatchFsmTest() { TakeMap(); }

  void TakeMap() {
    ShardMap next{.version = ++version_, .term = 1};
    for (ShardId shard = 0; shard < 4; ++shard) next.shards.push_back(entries_[shard]);
    ASSERT_TRUE(map_.Take(std::move(next)).ok());
  }
  // All actions that wait now, ends apart.
  void Collect() {
    while (auto action = fsm_.NextAction()) {
      if (action->kind == Kind::kEnd) {
        ends_.push_back(action->status);
      } else {
        actions_.push_back(std::move(*action));
      }
    }
  }
  // The next one of this kind. When there is none the test is over: an empty action has no channel and no
  // message to go on with.
  Action Take(Kind kind) {
    Collect();
    const auto found =
        std::find_if(actions_.begin(), actions_.end(), [&](const Action& a) { return a.kind == kind; });
    if (found == actions_.end())
      throw std::runtime_error("no action of kind " + std::to_string(static_cast<int>(kind)) + " among " +
                               std::to_string(actions_.size()));
    Action action = std::move(*found);
    actions_.erase(found);
    return action;
  }
  size_t Count(Kind kind) {
    Collect();
    return std::count_if(actions_.begin(), actions_.end(), [&](const Action& a) { return a.kind == kind; });
  }
  std::shared_ptr<TestCall> Start(const std::vector<ShardId>& shards, bool changes = true) {
    auto call = std::make_shared<TestCall>(shards, changes);
    fsm_.Start(call);
    return call;
  }
  // The next message that is to be sent, connected.
  Action Send() {
    Action send = Take(Kind::kSend);
    EXPECT_TRUE(fsm_.OnConnected(send.channel, send.message, now_));
    return send;
  }
  void Answer(const Action& sent, std::vector<GroupOutcome> outcomes) {
    fsm_.OnAnswer(sent.channel, sent.message, GroupedCall::Answer(std::move(outcomes)), now_);
  }
  void NoAnswer(const Action& sent) {
    fsm_.OnAnswer(sent.channel, sent.message, Status(Code::kDeadlineExceeded, "no answer"), now_);
  }
  void Wake(const Action& waited) { fsm_.OnWake(waited.waiting, now_); }
  // The only one that has ended.
  Status Ended() {
    Collect();
    EXPECT_EQ(ends_.size(), 1u);
    return ends_.empty() ? Status::Ok() : ends_.back();
  }

  uint64_t now_ = 1000, version_ = 0;
  std::vector<ShardEntry> entries_{{.epoch = 1, .node = 1, .endpoint = "a:1", .state = ShardState::kServing},
                                   {.epoch = 1, .node = 2, .endpoint = "b:1", .state = ShardState::kServing},
                                   {.epoch = 1, .node = 1, .endpoint = "a:1", .state = ShardState::kServing},
                                   {.epoch = 1, .node = 2, .endpoint = "b:1", .state = ShardState::kServing}};
  MapFsm map_{MapFsmOptions{}};
  DispatchFsm fsm_{map_, {.silent_ms = 500, .max_inflight_bytes = 250}};
  std::vector<Action> actions_;
  std::vector<Status> ends_;
};

TEST_F(DispatchFsmTest, GroupsOfAnEndpointTravelTogether) {
  Start({0, 1, 2, 3});
  const Action a = Send(), b = Send();
  EXPECT_EQ(a.channel->endpoint, "a:1");
  EXPECT_THAT(a.message->groups, ElementsAre(0, 2));
  EXPECT_THAT(b.message->groups, ElementsAre(1, 3));
  Answer(a, std::vector<GroupOutcome>(2));
  Collect();
  EXPECT_TRUE(ends_.empty());
  Answer(b, std::vector<GroupOutcome>(2));
  EXPECT_TRUE(Ended().ok());
}

TEST_F(DispatchFsmTest, ACallWithoutGroupsEndsAtOnce) {
  Start({});
  EXPECT_TRUE(Ended().ok());
}

TEST_F(DispatchFsmTest, MessagesBeyondTheLimitWaitTheirTurn) {
  for (int i = 0; i < 3; ++i) Start({0});
  const Action first = Send();
  Send();
  EXPECT_EQ(Count(Kind::kSend), 0u) << "250 bytes at once, of 100 each";
  Answer(first, {{}});
  EXPECT_EQ(Count(Kind::kSend), 1u);
}

TEST_F(DispatchFsmTest, AGroupInTheWrongEpochGoesAgainAlone) {
  const auto call = Start({0, 2});
  const Action sent = Send();
  Answer(sent, {{.code = Code::kOk, .lsn = 5}, {.code = Code::kWrongEpoch, .epoch = 7}});
  EXPECT_EQ(map_.entry(2).epoch, 7u);
  const Action again = Send();
  EXPECT_THAT(again.message->groups, ElementsAre(1));
  EXPECT_EQ(call->groups()[1].sent_epoch, 7u);
  EXPECT_EQ(Count(Kind::kLook), 0u);
  Answer(again, {{}});
  EXPECT_TRUE(Ended().ok());
}

TEST_F(DispatchFsmTest, TellsWhatAnswersSayOfShards) {
  Start({0, 2});
  const Action sent = Send();
  const HeldBefore held{.since = 1};
  const auto seen = fsm_.OnAnswer(sent.channel, sent.message,
                                  GroupedCall::Answer(std::vector<GroupOutcome>{
                                      {.code = Code::kOverloaded, .lsn = 3, .held = held},
                                      {.code = Code::kOk, .lsn = 5, .logged = 4, .held = held}}),
                                  now_);
  ASSERT_EQ(seen.size(), 1u) << "a refusal says nothing";
  EXPECT_EQ(seen[0].shard, 2u);
  EXPECT_EQ(seen[0].epoch, 1u);
  EXPECT_EQ(seen[0].lsn, 5u);
  EXPECT_EQ(seen[0].logged, 4u);
  EXPECT_EQ(seen[0].held, held);
}

TEST_F(DispatchFsmTest, WhatNobodyServesWaitsForTheMap) {
  entries_[0].state = ShardState::kGranting;
  TakeMap();
  const auto call = Start({0});
  EXPECT_EQ(Count(Kind::kSend), 0u);
  Wake(Take(Kind::kLook));
  EXPECT_EQ(Count(Kind::kSend), 0u) << "it is granting still";
  entries_[0] = {.epoch = 2, .node = 2, .endpoint = "b:1", .state = ShardState::kServing};
  TakeMap();
  Wake(Take(Kind::kLook));
  EXPECT_EQ(Send().channel->endpoint, "b:1");
  EXPECT_EQ(call->groups()[0].sent_epoch, 2u);
}

TEST_F(DispatchFsmTest, AParkedCallEndsAtItsDeadlineUnapplied) {
  entries_[0].state = ShardState::kGranting;
  TakeMap();
  const auto call = Start({0});
  fsm_.OnDeadline(call);
  EXPECT_EQ(Ended().code(), Code::kDeadlineExceeded) << "it was never sent";
  EXPECT_THAT(Ended().message(), HasSubstr("shard 0 (node 1 at a:1)"));
  Wake(Take(Kind::kLook));
  EXPECT_EQ(Count(Kind::kSend), 0u);
}

TEST_F(DispatchFsmTest, AQuarantineIsBelievedAfterALook) {
  entries_[0].state = ShardState::kQuarantined;
  entries_[0].detail = "segment 7 is damaged";
  TakeMap();
  Start({0});
  map_.LookEnds(Status::Ok(), now_);
  Wake(Take(Kind::kLook));
  EXPECT_EQ(Ended().code(), Code::kDataLoss);
  EXPECT_THAT(Ended().message(), HasSubstr("segment 7 is damaged"));
  EXPECT_EQ(Count(Kind::kSend), 0u);
}

TEST_F(DispatchFsmTest, AQuarantineThatHasEndedMeanwhileFailsNothing) {
  entries_[0].state = ShardState::kQuarantined;
  TakeMap();
  Start({0});
  entries_[0].state = ShardState::kServing;
  TakeMap();
  map_.LookEnds(Status::Ok(), now_);
  Wake(Take(Kind::kLook));
  EXPECT_EQ(Count(Kind::kSend), 1u);
}

TEST_F(DispatchFsmTest, AConnectionThatDoesNotAnswerIsGivenUp) {
  const auto push = Start({0});
  const Action sent = Send();
  Start({0}), Start({0});
  const Action other = Send();
  EXPECT_EQ(Count(Kind::kSend), 0u);
  NoAnswer(sent);
  EXPECT_EQ(Take(Kind::kDrop).endpoint, "a:1");
  EXPECT_EQ(Count(Kind::kLook), 2u) << "for the message, and for the one that was queued";
  EXPECT_TRUE(push->groups()[0].retry.open());
  NoAnswer(other);
  EXPECT_EQ(Count(Kind::kDrop), 0u) << "it went with the connection";
  Wake(Take(Kind::kLook));
  EXPECT_NE(Send().channel, sent.channel);
}

TEST_F(DispatchFsmTest, ADeadlineEndsAPushThatMayBeAppliedAsUnknown) {
  const auto sent = Start({0, 1});
  const Action a = Send();
  Send();
  Answer(a, {{}});
  fsm_.OnDeadline(sent);
  EXPECT_EQ(Ended().code(), Code::kOutcomeUnknown);
  EXPECT_THAT(Ended().message(), HasSubstr("1 of 2 units"));
}

TEST_F(DispatchFsmTest, AReadingCallEndsAsNotAnswered) {
  const auto pull = Start({0}, false);
  Send();
  fsm_.OnDeadline(pull);
  EXPECT_EQ(Ended().code(), Code::kDeadlineExceeded);
}

TEST_F(DispatchFsmTest, ARefusedGroupWaitsAndLooksAtTheMap) {
  Start({0});
  const Action sent = Send();
  Answer(sent, {{.code = Code::kOverloaded, .retry_after_ms = 70, .message = "full"}});
  EXPECT_EQ(Count(Kind::kLook), 1u);
  const Action sleep = Take(Kind::kSleep);
  EXPECT_EQ(sleep.ms, 70u);
  EXPECT_EQ(Count(Kind::kSend), 0u);
  Wake(sleep);
  EXPECT_EQ(Count(Kind::kSend), 1u);
}

// A push that is refused for good waits for what is still in flight of it.
TEST_F(DispatchFsmTest, AFailureWaitsForWhatIsInFlight) {
  Start({0, 1});
  const Action a = Send(), b = Send();
  Answer(a, {{.code = Code::kInvalidArgument, .message = "NaN"}});
  Collect();
  EXPECT_TRUE(ends_.empty());
  Answer(b, {{}});
  EXPECT_EQ(Ended().code(), Code::kInvalidArgument);
  EXPECT_THAT(Ended().message(), AllOf(HasSubstr("NaN"), HasSubstr("1 of 2 units were applied")));
}

TEST_F(DispatchFsmTest, WhatFailsForLongIsSaid) {
  const auto call = Start({0, 1});
  call->begun_ms = 1000;
  EXPECT_EQ(fsm_.Waits(9000, 2000), "") << "nothing has failed";
  const Action send = Take(Kind::kSend);
  fsm_.OnNotConnected(send.channel, send.message, Unavailable("Connection refused"));
  EXPECT_EQ(fsm_.Waits(2999, 2000), "");
  EXPECT_THAT(fsm_.Waits(3000, 2000), AllOf(HasSubstr("push 3: shard 0 (node 1 at a:1): unavailable: "),
                                            HasSubstr("Connection refused")));
  fsm_.OnDeadline(call);
  EXPECT_EQ(fsm_.Waits(9000, 2000), "");
}

TEST_F(DispatchFsmTest, APeerOfAnotherClusterFailsTheCall) {
  Start({0});
  const Action send = Take(Kind::kSend);
  fsm_.OnNotConnected(send.channel, send.message, PermissionDenied("another cluster"));
  EXPECT_EQ(Ended().code(), Code::kPermissionDenied);
}

TEST_F(DispatchFsmTest, ASilentServerIsLeftForItsSuccessor) {
  Start({0});
  const Action sent = Send();
  EXPECT_EQ(Take(Kind::kWatch).ms, 500u);
  now_ += 400;
  fsm_.OnWatch(now_);
  EXPECT_EQ(Count(Kind::kLook), 0u);
  now_ += 500;
  fsm_.OnWatch(now_);
  Wake(Take(Kind::kLook));
  EXPECT_EQ(Count(Kind::kDrop), 0u) << "nobody else serves the shard";
  entries_[0] = {.epoch = 2, .node = 2, .endpoint = "b:1", .state = ShardState::kServing};
  TakeMap();
  fsm_.OnWatch(now_);
  Wake(Take(Kind::kLook));
  EXPECT_EQ(Take(Kind::kDrop).endpoint, "a:1");
  NoAnswer(sent);
  Wake(Take(Kind::kLook));
  EXPECT_EQ(Send().channel->endpoint, "b:1");
}

TEST_F(DispatchFsmTest, CancelEndsEverything) {
  Start({0}), Start({1});
  fsm_.Cancel();
  Collect();
  ASSERT_EQ(ends_.size(), 2u);
  EXPECT_EQ(ends_[0].code(), Code::kCancelled);
  const Action send = Take(Kind::kSend);
  EXPECT_FALSE(fsm_.OnConnected(send.channel, send.message, now_));
}

}  // namespace
}  // namespace penstock
