// What a primary does for its backups, action by action.
#include "server/replica/replication.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <optional>

#include "tests/unit/server/replica/replica_fixture.h"

namespace penstock {
namespace {

using replica_test::Backup;
using replica_test::kTable;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr ShardId kShard = 3;

// Actions as text, but what comes back is the test's to say.
class ReplicationTest : public testing::Test {
 protected:
  ReplicationTest() { Begin(64 << 20); }

  void Begin(uint64_t in_flight_bytes) {
    replication_.emplace(shards_, ReplicationOptions{.node_name = "server-1",
                                                     .copy_wait_ms = 500,
                                                     .tail_bytes = 64 << 10,
                                                     .in_flight_bytes = in_flight_bytes,
                                                     .seed = {.piece_bytes = 40, .base_rows = 2}});
  }

  ShardReplica& Serve(ShardId id, Epoch epoch, std::vector<BackupGrant> backups) {
    ShardReplica& replica = shards_.Serve(id, 7, epoch, std::move(backups));
    replication_->NoteWanted(id, now_);
    return replica;
  }
  // A delta of the shard, given to its copies; Send is to follow.
  Lsn Change(ShardId id, const std::vector<Key>& keys = {1}) {
    const TailDelta delta = shards_.Change(id, keys);
    CopySet& copies = *shards_.FindReplica(id)->copies();
    copies.Add(delta, now_);
    replication_->NoteAdded(copies);
    return delta.lsn;
  }
  std::vector<std::string> Done() {
    replication_->Perform([this](auto&& action) { Note(std::forward<decltype(action)>(action)); });
    return std::exchange(done_, {});
  }
  std::vector<std::string> Tick(uint64_t ms = 50) {
    now_ += ms;
    replication_->Tick(now_);
    return Done();
  }

  void Note(Replication::Connect&& action) {
    link_ = action.link;
    done_.push_back("connect to " + action.endpoint);
  }
  void Note(Replication::Attach&& action) {
    std::string text = "attach";
    for (const ReplicaRef& ref : action.copies)
      text += " " + std::to_string(ref.shard) + "/" + std::to_string(ref.epoch);
    done_.push_back(text);
  }
  void Note(Replication::Append&& action) {
    std::string text = action.call->sync ? "append and sync" : "append";
    for (const Replication::Item& item : action.call->items) {
      text += " " + std::to_string(item.key.shard) + ":";
      if (item.what.piece) text += item.what.last ? "last@" : "piece@";
      text += std::to_string(item.what.delta.lsn);
    }
    done_.push_back(text);
    calls_.push_back({action.link, action.call});
  }
  void Note(Replication::Drop&&) { done_.push_back("drop"); }
  void Note(Replication::MakePiece&& action) {
    seed_ = action.seed;
    done_.push_back(action.first ? "first piece with rows" : "piece");
  }
  void Note(Replication::ReadBase&& action) {
    seed_ = action.seed;
    done_.push_back("read base from " + std::to_string(action.range.first));
  }
  void Note(Replication::CloseWhole&& action) {
    done_.push_back("close whole " + std::to_string(action.shard));
  }
  void Note(Replication::SyncCopies&& action) { done_.push_back("sync " + std::to_string(action.shard)); }
  void Note(Replication::Wake&& action) { action.done(std::move(action.status)); }
  void Note(Replication::Say&& action) { said_.push_back(action.what); }

  // The copies at the link that is being connected stand there.
  void Attach(const std::vector<ReplicaAnswer>& answers) {
    replication_->OnConnected(link_, Status::Ok(), now_);
    Done();
    replication_->OnAttached(link_, Status::Ok(), answers, now_);
  }
  ReplicaAnswer AtEnd(ShardId id) {
    const Shard& shard = shards_.FindReplica(id)->shard();
    return {.standing = {.complete = true,
                         .point = {shard.last_lsn(), shard.last_checksum()},
                         .logged = shard.last_lsn()}};
  }
  // The oldest call is answered so, for each of its sections.
  void Answer(const Status& each = Status::Ok(), const Status& all = Status::Ok()) {
    const auto [link, call] = calls_.front();
    calls_.pop_front();
    const std::vector<ReplicaAnswer> answers(call->items.size(), ReplicaAnswer{.status = each});
    replication_->OnAppended(link, *call, Status::Ok(), all, answers, now_);
  }
  void AnswerWithoutRoom() {
    const auto [link, call] = calls_.front();
    calls_.pop_front();
    const std::vector<ReplicaAnswer> answers(call->items.size(),
                                             ReplicaAnswer{.standing = {.no_room = true}});
    replication_->OnAppended(link, *call, Status::Ok(), Status::Ok(), answers, now_);
  }
  void NoAnswer() {
    const auto [link, call] = calls_.front();
    calls_.pop_front();
    replication_->OnAppended(link, *call, Unavailable("the connection broke"), Status::Ok(), {}, now_);
  }
  const CopySet::Copy& Copy(ShardId id, NodeId node) {
    return *shards_.FindReplica(id)->copies()->Find(node, 7);
  }

  replica_test::TestShards shards_;
  std::optional<Replication> replication_;
  uint64_t now_ = 1000;
  std::vector<std::string> done_, said_;
  Replication::LinkId link_ = 0;
  std::deque<std::pair<Replication::LinkId, Replication::CallPtr>> calls_;
  Replication::SeedRef seed_;
};

TEST_F(ReplicationTest, SendsTheDeltasOfAWindowInOneCall) {
  for (const ShardId id : {3, 4}) Serve(id, 5, {Backup(2, true)});
  EXPECT_THAT(Tick(), ElementsAre("connect to host:2"));
  EXPECT_THAT(Tick(), IsEmpty());
  replication_->OnConnected(link_, Status::Ok(), now_);
  EXPECT_THAT(Done(), ElementsAre("attach 3/5 4/5"));
  replication_->OnAttached(link_, Status::Ok(), std::vector{AtEnd(3), AtEnd(4)}, now_);
  EXPECT_THAT(Done(), IsEmpty());
  Change(3);
  Change(4);
  EXPECT_THAT(Done(), IsEmpty());
  replication_->Send();
  EXPECT_THAT(Done(), ElementsAre("append 3:1 4:1"));
}

TEST_F(ReplicationTest, WakesWhoWaitsWhenAllHaveConfirmed) {
  ShardReplica& replica = Serve(kShard, 5, {Backup(2, true)});
  Tick();
  Attach({AtEnd(kShard)});
  const Lsn lsn = Change(kShard);
  replication_->Send();
  EXPECT_THAT(Done(), ElementsAre("append 3:1"));
  std::optional<Status> told;
  replication_->Wait({replica.DeltaAt(lsn)}, Durability::kLogged, now_,
                     [&](Status status) { told = std::move(status); });
  Tick();
  EXPECT_FALSE(told);
  Answer();
  EXPECT_FALSE(told);  // it is an action like others
  Done();
  ASSERT_TRUE(told);
  EXPECT_TRUE(told->ok());
}

TEST_F(ReplicationTest, WhatWasNotAnsweredIsSentAgainOnANewLink) {
  Serve(kShard, 5, {Backup(2, true)});
  Tick();
  Attach({AtEnd(kShard)});
  Change(kShard);
  replication_->Send();
  Change(kShard);
  replication_->Send();
  EXPECT_THAT(Done(), ElementsAre("append 3:1", "append 3:2"));
  const auto second = calls_.back();
  NoAnswer();
  EXPECT_THAT(Done(), ElementsAre("drop"));
  EXPECT_THAT(said_, ElementsAre("backups at host:2: the connection broke"));
  EXPECT_THAT(Tick(100), IsEmpty());  // not at once
  EXPECT_THAT(Tick(100), ElementsAre("connect to host:2"));
  Attach({ReplicaAnswer{.standing = {.complete = true}}});
  EXPECT_THAT(Done(), ElementsAre("append 3:1 3:2"));
  // Of the link that was given up.
  replication_->OnAppended(second.first, *second.second, Status::Ok(), Status::Ok(),
                           std::vector<ReplicaAnswer>(1), now_);
  EXPECT_EQ(Copy(kShard, 2).logged, 0u);
  calls_.pop_front();
  Answer();
  EXPECT_EQ(Copy(kShard, 2).logged, 2u);
}

TEST_F(ReplicationTest, AnswersOfAnEarlierLifeOfTheShardSayNothing) {
  Serve(kShard, 5, {Backup(2, true)});
  Tick();
  Attach({AtEnd(kShard)});
  Change(kShard);
  replication_->Send();
  Done();
  const auto earlier = calls_.front();
  // It goes elsewhere and comes back, and is attached to the same copy on the same link.
  replication_->Forget(kShard, now_);
  shards_.FindReplica(kShard)->Release();
  shards_.Serve(kShard, 8, 7, {Backup(2, true)});
  replication_->NoteWanted(kShard, now_);
  EXPECT_THAT(Tick(), ElementsAre("connect to host:2"));
  Attach({AtEnd(kShard)});
  Change(kShard);
  replication_->OnAppended(earlier.first, *earlier.second, Status::Ok(), Status::Ok(),
                           std::vector<ReplicaAnswer>(1), now_);
  EXPECT_EQ(Copy(kShard, 2).logged, 0u);
}

TEST_F(ReplicationTest, ACopyThatRefusesASectionFails) {
  Serve(kShard, 5, {Backup(2, true), Backup(3, true)});
  Tick();
  for (const Replication::LinkId link : {1, 2}) {
    link_ = link;
    Attach({AtEnd(kShard)});
  }
  Change(kShard);
  replication_->Send();
  Done();
  Answer(DataLoss("it does not follow"));
  EXPECT_EQ(Copy(kShard, 2).stage, CopySet::Stage::kFailed);
  Answer(Status::Ok(), Overloaded("its disk is full"));
  EXPECT_EQ(Copy(kShard, 3).failure, "its disk is full");
  Done();
  EXPECT_THAT(said_, ElementsAre(HasSubstr("the copy on server-2 has failed: it does not follow"),
                                 HasSubstr("the copy on server-3 has failed: its disk is full")));
}

TEST_F(ReplicationTest, ANewerEpochThereIsWaitedFor) {
  Serve(kShard, 5, {Backup(2, true)});
  Tick();
  Attach({ReplicaAnswer{.status = WrongEpoch("it has seen epoch 6")}});
  EXPECT_EQ(Copy(kShard, 2).stage, CopySet::Stage::kDetached);
  EXPECT_THAT(Tick(), ElementsAre("connect to host:2"));
  Serve(kShard, 6, {Backup(2, true)});
  Attach({AtEnd(kShard)});
  EXPECT_EQ(Copy(kShard, 2).stage, CopySet::Stage::kFollowing);
  Change(kShard);
  replication_->Send();
  Done();
  Answer(WrongEpoch("it has seen epoch 7"));
  EXPECT_EQ(Copy(kShard, 2).stage, CopySet::Stage::kDetached);
}

TEST_F(ReplicationTest, SeedsPieceByPieceBetweenDeltas) {
  Serve(kShard, 5, {Backup(2, false)});
  Change(kShard, {1, 2, 3, 4});
  Tick();
  Attach({ReplicaAnswer{}});
  EXPECT_THAT(Done(), ElementsAre("append 3:piece@1", "first piece with rows"));
  replication_->FillPiece(seed_);
  EXPECT_THAT(Done(), ElementsAre("append 3:piece@1", "piece"));
  Change(kShard, {5});
  replication_->Send();
  EXPECT_THAT(Done(), ElementsAre("append 3:2"));
  std::vector<std::string> done;
  while (done != std::vector<std::string>{"close whole 3"}) {
    replication_->FillPiece(seed_);
    done = Done();
    ASSERT_FALSE(done.empty());
  }
  EXPECT_THAT(Tick(), IsEmpty());
  // A window closes that left something out, then one that has everything.
  const float value = 1;
  const std::vector<Key> keys{6};
  ASSERT_TRUE(shards_.FindReplica(kShard)
                  ->shard()
                  .PushUnit({.producer = 2, .sequence = 1}, kTable, keys, &value)
                  .ok());
  replication_->Send();
  EXPECT_THAT(Done(), IsEmpty());
  Change(kShard, {7});
  replication_->Send();
  EXPECT_THAT(Done(), ElementsAre("append and sync 3:3 3:last@3"));
  while (!calls_.empty()) Answer();
  EXPECT_EQ(Copy(kShard, 2).synced, 3u) << "what was synced before there was this copy";
  EXPECT_EQ(Copy(kShard, 2).stage, CopySet::Stage::kFollowing);
  EXPECT_EQ(Copy(kShard, 2).logged, 3u);
  Done();
  EXPECT_THAT(said_, ElementsAre(HasSubstr("the copy on server-2 is seeded")));
}

TEST_F(ReplicationTest, PiecesStopWhereTooMuchIsUnanswered) {
  Begin(1);
  Serve(kShard, 5, {Backup(2, false)});
  Change(kShard, {1, 2, 3, 4});
  Tick();
  Attach({ReplicaAnswer{}});
  EXPECT_THAT(Done(), ElementsAre("append 3:piece@1", "first piece with rows"));
  replication_->FillPiece(seed_);
  EXPECT_THAT(Done(), IsEmpty());
  EXPECT_THAT(Tick(), IsEmpty());
  Answer();
  EXPECT_THAT(Done(), ElementsAre("append 3:piece@1", "piece"));
}

TEST_F(ReplicationTest, ASeedWaitsUntilItsCopyHasRoom) {
  Serve(kShard, 5, {Backup(2, false)});
  Change(kShard, {1, 2, 3, 4});
  Tick();
  Attach({ReplicaAnswer{}});
  EXPECT_THAT(Done(), ElementsAre("append 3:piece@1", "first piece with rows"));
  AnswerWithoutRoom();
  replication_->FillPiece(seed_);
  EXPECT_THAT(Done(), ElementsAre("append 3:piece@1")) << "what was begun, and no more";
  AnswerWithoutRoom();
  EXPECT_THAT(Tick(100), IsEmpty());
  EXPECT_THAT(Tick(100), ElementsAre("sync 3")) << "nothing else would bring an answer";
  Change(kShard, {5});
  replication_->Send();
  EXPECT_THAT(Done(), ElementsAre("append 3:2"));
  Answer();
  EXPECT_THAT(Done(), ElementsAre("piece"));
  EXPECT_THAT(Tick(1000), IsEmpty());
}

// Rows that only the base has come from there, and again when a fold has ended while they were read.
TEST_F(ReplicationTest, SeedsWhatOnlyTheBaseHas) {
  ShardReplica& replica = Serve(kShard, 5, {Backup(2, false)});
  Change(kShard, {1, 2, 3});
  replica.shard().SetFolded(1);
  while (replica.shard().cold_rows(kTable) < 3) ASSERT_GT(replica.shard().EvictRows(kTable, 3), 0u);
  Tick();
  Attach({ReplicaAnswer{}});
  Done();
  replication_->FillPiece(seed_);
  EXPECT_THAT(Done(), ElementsAre("read base from 0"));
  StoredRows rows;
  const float value = 1;
  for (Key key = 1; key <= 3; ++key)
    rows.Add({.table = kTable, .key = key, .lsn = 1, .push_count = 1, .floats = {&value, 1}});
  ++shards_.fold_count;
  replication_->OnBaseRead(seed_, rows);
  EXPECT_THAT(Done(), ElementsAre("read base from 0"));
  replication_->OnBaseRead(seed_, rows);
  EXPECT_THAT(Done(), ElementsAre("append 3:piece@1", "piece"));
  replication_->FillPiece(seed_);
  EXPECT_THAT(Done(), ElementsAre("close whole 3"));
  replication_->Send();
  Done();
  // The copy has what the primary and its base had.
  ShardReplica copy(replica_test::MakeShard(kShard, 7), "server-2");
  copy.TakeFollow(5);
  for (const auto& [link, call] : calls_) {
    for (const Replication::Item& item : call->items) {
      const ReplicaAnswer taken = copy.Take(item.ref(), item.what.delta.words, item.what.delta.checksum,
                                            [](Shard&, proto::Delta::Reader) {});
      ASSERT_TRUE(taken.status.ok()) << taken.status.ToString();
    }
  }
  EXPECT_TRUE(copy.complete());
  EXPECT_EQ(copy.shard().rows_in_memory(kTable), 3u);
}

TEST_F(ReplicationTest, ABaseThatCannotBeReadFailsTheCopy) {
  ShardReplica& replica = Serve(kShard, 5, {Backup(2, false)});
  Change(kShard, {1});
  replica.shard().SetFolded(1);
  while (replica.shard().cold_rows(kTable) < 1) ASSERT_GT(replica.shard().EvictRows(kTable, 1), 0u);
  Tick();
  Attach({ReplicaAnswer{}});
  Done();
  replication_->FillPiece(seed_);
  Done();
  replication_->OnBaseRead(seed_, Unavailable("its base is damaged"));
  EXPECT_EQ(Copy(kShard, 2).failure, "its base is damaged");
}

// Seeds a copy to its end over connections of which every so many calls' breaks (0: none).
class InterruptedSeed : public ReplicationTest {
 protected:
  void Run(int break_every) {
    Begin(1);  // a call at a time
    copy_.emplace(replica_test::MakeShard(kShard, 7), "server-2");
    copy_->TakeFollow(5);
    Serve(kShard, ++epoch_, {});
    Serve(kShard, ++epoch_, {Backup(2, false)});
    Tick(1000);
    Attach({ReplicaAnswer{}});
    pieces_made_ = breaks_ = 0;
    for (int call = 1; Copy(kShard, 2).stage != CopySet::Stage::kFollowing; ++call) {
      ASSERT_LT(call, 100);
      Act();
      ASSERT_FALSE(calls_.empty());
      if (break_every != 0 && call % break_every == 0) {
        ASSERT_NO_FATAL_FAILURE(BreakConnection());
      } else {
        const auto [link, sent] = calls_.front();
        calls_.pop_front();
        const auto answers = Deliver(*sent);
        Deliver(*sent);  // of a connection that is closed already
        replication_->OnAppended(link, *sent, Status::Ok(), Status::Ok(), answers, now_);
      }
    }
    EXPECT_TRUE(copy_->complete());
    const Shard& primary = shards_.FindReplica(kShard)->shard();
    EXPECT_EQ(copy_->shard().last_lsn(), primary.last_lsn());
    EXPECT_EQ(copy_->shard().rows_in_memory(kTable), primary.rows_in_memory(kTable));
  }

  // All that there is to do but what is sent.
  void Act() {
    for (auto done = Done(); !done.empty(); done = Done()) {
      for (const std::string& what : done) {
        if (what == "close whole 3") {
          Change(kShard, {5});
          replication_->Send();
        } else if (what.ends_with("piece") || what.starts_with("first piece")) {
          ++pieces_made_;
          replication_->FillPiece(seed_);
        }
      }
    }
  }
  // The oldest call arrived, each second time, and was not answered; later ones are lost.
  void BreakConnection() {
    if (++breaks_ % 2 == 0) Deliver(*calls_.front().second);
    NoAnswer();
    calls_.clear();
    EXPECT_THAT(Done(), testing::Contains("drop"));
    Change(kShard, {5});
    Tick(1000);
    Attach({copy_->Standing(ReplicaRef{kShard, 7, epoch_})});
  }
  std::vector<ReplicaAnswer> Deliver(const Replication::Call& call) {
    std::vector<ReplicaAnswer> answers;
    for (const Replication::Item& item : call.items) {
      answers.push_back(copy_->Take(item.ref(), item.what.delta.words, item.what.delta.checksum,
                                    [](Shard&, proto::Delta::Reader) {}));
      EXPECT_TRUE(answers.back().status.ok()) << answers.back().status.ToString();
    }
    return answers;
  }

  std::optional<ShardReplica> copy_;
  Epoch epoch_ = 4;
  int pieces_made_ = 0, breaks_ = 0;
};

TEST_F(InterruptedSeed, GoesOnAndMakesEachPieceOnce) {
  Serve(kShard, epoch_, {});
  std::vector<Key> keys(40);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = i;
  shards_.Change(kShard, keys);
  ASSERT_NO_FATAL_FAILURE(Run(0));
  const int pieces = pieces_made_;
  EXPECT_GT(pieces, 10);
  for (const int every : {2, 3, 5}) {
    SCOPED_TRACE(every);
    ASSERT_NO_FATAL_FAILURE(Run(every));
    EXPECT_GT(breaks_, 2);
    EXPECT_EQ(pieces_made_, pieces);
  }
}

TEST_F(ReplicationTest, ACopyThatFallsTooFarBehindIsGivenUp) {
  Serve(kShard, 5, {Backup(2, true)});
  Tick();
  Attach({AtEnd(kShard)});
  std::vector<Key> keys(2000);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = i;
  for (int i = 0; i < 4; ++i) Change(kShard, keys);
  replication_->Send();
  Tick();
  EXPECT_THAT(Copy(kShard, 2).failure, HasSubstr("it fell behind by more than"));
  EXPECT_GT(replication_->tail_bytes(), 64u << 10);
  Tick();
  EXPECT_EQ(replication_->tail_bytes(), 0u);
}

// Nothing else might ever be pushed to the shard.
TEST_F(ReplicationTest, WhatWasLoggedBeforeIsSyncedForWhoWaits) {
  ShardReplica& replica = Serve(kShard, 5, {Backup(2, true)});
  const Lsn lsn = Change(kShard);
  Tick();
  Attach({AtEnd(kShard)});
  replication_->Wait({replica.DeltaAt(lsn)}, Durability::kSynced, now_, [](const Status&) {});
  EXPECT_THAT(Tick(), ElementsAre("sync 3"));
}

TEST_F(ReplicationTest, AtTheEndAllAreTold) {
  ShardReplica& replica = Serve(kShard, 5, {Backup(2, true)});
  std::optional<Status> told;
  replication_->Wait({replica.DeltaAt(Change(kShard))}, Durability::kLogged, now_,
                     [&](Status status) { told = std::move(status); });
  replication_->Stop();
  Done();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->code(), Code::kOutcomeUnknown);
}

}  // namespace
}  // namespace penstock
