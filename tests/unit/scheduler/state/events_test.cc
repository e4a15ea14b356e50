// What operators are told of what happened to a cluster.
#include "scheduler/state/events.h"

#include <gmock/gmock.h>

#include "scheduler/state/committed_state.h"
#include "tests/unit/scheduler/copies/copy_fixture.h"
#include "tests/unit/scheduler/fake_cluster.h"

namespace penstock {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class EventsTest : public CopyDecisionTest {
 protected:
  // What has happened since it was asked last, as "kind: text".
  std::vector<std::string> Told() {
    std::vector<std::string> told;
    for (const Event& event : state_.data().events) {
      if (event.number > seen_) told.push_back(event.kind + ": " + event.text);
    }
    seen_ = state_.data().last_event;
    return told;
  }

  uint64_t seen_ = 0;
};

TEST_F(EventsTest, AClusterBegins) {
  Begin(32, 1);
  EXPECT_THAT(Told(),
              ElementsAre("scheduler: the cluster was made; the scheduler started, term 1",
                          "node: server-1 (node 1) joined", "node: server-2 (node 2) joined",
                          "node: server-3 (node 3) joined",
                          "lead: 32 shards (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, ...): "
                          "server-1 is the first to lead"));
  Restart(2);
  EXPECT_THAT(Told(), ElementsAre("node: server-2 (node 2) came back"));
}

TEST_F(EventsTest, CopiesComeAndAreLost) {
  Begin(2, 2);
  Told();
  Do(Decide().add);
  EXPECT_THAT(Told(), ElementsAre("copies: shard 0: a copy is made on server-2",
                                  "copies: shard 1: a copy is made on server-3"));
  Do(DropCopies{{{.shard = 0, .node = 2}, {.shard = 1, .node = 3}}});
  Told();
  Follow(2);
  EXPECT_THAT(Told(), Contains("copies: shard 0: the copy on server-2 is in sync"));
  // The primary falls silent.
  Pass(3500, {2, 3});
  Step();
  EXPECT_THAT(Told(), Contains("lead: shard 0: server-2 leads in place of server-1, which is lost"));
}

TEST_F(EventsTest, AMoveIsToldFromItsReasonToItsEnd) {
  Begin(2, 1);
  Told();
  Do(DrainNode{.node = 1});
  EXPECT_THAT(Told(), ElementsAre("drain: server-1 is drained, by an operator"));
  Do(StartMoves{
      {{.shard = 0, .from = 1, .to = 2, .drains = true, .at_ms = 1, .reason = "server-1 is being drained"},
       {.shard = 1, .from = 1, .to = 2, .drains = true, .at_ms = 1, .reason = "server-1 is being drained"}}});
  EXPECT_THAT(
      Told(),
      ElementsAre("move: 2 shards (0, 1): is to go from server-1 to server-2, as server-1 is being drained"));
  Do(EndMoves{{{.shard = 1, .why = "server-2 does not answer"}}});
  EXPECT_THAT(
      Told(),
      ElementsAre("move: shard 1: the move from server-1 to server-2 has ended: server-2 does not answer"));
  Seed(2);
  Enter(2);
  Confirm();
  Told();
  Do(FenceShards{{{.shard = 0, .epoch = Shard(0).epoch + 1, .at_ms = 5}}});
  EXPECT_THAT(Told(), IsEmpty());
  Do(ChangeCopies{{{.shard = 0,
                    .epoch = Shard(0).epoch + 2,
                    .min_lsn = Shard(0).highest + 1,
                    .node = 2,
                    .incarnation = Shard(0).backups[0].incarnation,
                    .backups = {}}}});
  EXPECT_THAT(Told(), ElementsAre("lead: shard 0: went from server-1 to server-2"));
}

TEST_F(EventsTest, LossesAndTheWordThatAcceptsThem) {
  Begin(4, 1);
  Told();
  Do(QuarantineShards{
      {{.shard = 0, .reason = "a log is damaged"}, {.shard = 3, .reason = "a log is damaged"}}});
  EXPECT_THAT(Told(), ElementsAre("loss: 2 shards (0, 3): is quarantined: a log is damaged"));
  Do(AcceptLoss{.shard = 3, .remaining = 7});
  EXPECT_THAT(
      Told(),
      ElementsAre(HasSubstr("loss: shard 3: an operator has accepted the loss; it goes on with lsn 7")));
}

TEST_F(EventsTest, TheLatestAreKept) {
  state_.KeepEvents(3);
  Begin(2, 1);
  for (int i = 0; i < 4; ++i) Do(SetBalance{i % 2 == 0});
  const auto& events = state_.data().events;
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events.back().number, state_.data().last_event);
  EXPECT_EQ(events.front().number, events.back().number - 2);
}

TEST(EventsJournalTest, KeepTheirTimesThroughARestart) {
  MemoryLog log;
  int64_t now = 1000;
  CommittedState state(ClusterState(), log, [&] { return now; });
  ASSERT_TRUE(state.Commit(BeginTerm{.term = 1, .cluster = 7, .shards = 2}).ok());
  now = 2000;
  ASSERT_TRUE(state.Commit(SetBalance{false}).ok());
  ASSERT_TRUE(state.Commit(AllocateProducers{.first = 1, .count = 4}).ok())
      << "nothing that anybody would ask about";
  EXPECT_EQ(log.Replay().ToJson(), state->ToJson());
  ASSERT_EQ(state.data().events.size(), 2u);
  EXPECT_EQ(state.data().events[0].at_ms, 1000);
  EXPECT_EQ(state.data().events[1].at_ms, 2000);
  // A snapshot of an earlier version has none.
  auto json = state->ToJson();
  json.erase("events");
  json.erase("last_event");
  const auto read = ClusterState::FromJson(json);
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_THAT(read->data().events, IsEmpty());
}

}  // namespace
}  // namespace penstock
