// What a rebalance plan moves: small cases by hand, a thousand servers, and long histories of a small
// cluster.
#include "scheduler/copies/rebalance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <iostream>

#include "tests/unit/scheduler/copies/rebalance_fixture.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

class RebalanceTest : public ::testing::Test {
 protected:
  void Servers(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      const auto id = static_cast<NodeId>(in_.servers.size() + 1);
      in_.servers.push_back({.id = id, .host = StrCat("h", id)});
    }
  }
  // The first node leads.
  void Shard(const std::vector<NodeId>& nodes, uint64_t bytes = 100, double load = 1) {
    RebalanceShard& shard = in_.shards.emplace_back();
    shard.id = static_cast<ShardId>(in_.shards.size() - 1);
    shard.bytes = bytes;
    shard.load = load;
    shard.primary = nodes[0];
    for (size_t i = 1; i < nodes.size(); ++i) shard.others.push_back({.node = nodes[i]});
  }
  RebalanceServer& Server(NodeId id) { return *FindServer(&in_, id); }

  // Performs the whole plan; after it nothing is left to do.
  RebalancePlan Settle() {
    RebalancePlan plan = PlanAll(in_, options_);
    for (const RebalanceMove& move : plan.moves) {
      RebalanceShard& shard = *FindShard(&in_, move.shard);
      EXPECT_EQ(WhyImpossible(shard, move), "") << "shard " << move.shard;
      EXPECT_FALSE(move.reason.empty());
      Perform(move, &shard);
    }
    EXPECT_TRUE(PlanAll(in_, options_).moves.empty()) << "a plan that its own result would continue";
    return plan;
  }

  RebalanceInput in_;
  RebalanceOptions options_;
};

TEST_F(RebalanceTest, NothingToDo) {
  EXPECT_TRUE(PlanAll(in_, options_).moves.empty()) << "no servers";
  Servers(1);
  for (int i = 0; i < 8; ++i) Shard({1});
  EXPECT_TRUE(PlanAll(in_, options_).moves.empty()) << "one server";
  Servers(1);
  Server(1).able = Server(2).able = false;
  EXPECT_TRUE(PlanAll(in_, options_).moves.empty()) << "no able servers";
}

TEST_F(RebalanceTest, ANewServerGetsItsShare) {
  Servers(2);
  for (int i = 0; i < 30; ++i) Shard({static_cast<NodeId>(1 + i % 2)});
  Servers(1);
  const RebalancePlan plan = Settle();
  EXPECT_EQ(plan.moves.size(), 10u);
  EXPECT_EQ(plan.summary.moved_bytes, 1000u);
  for (const auto& [node, bytes] : BytesOf(in_)) EXPECT_EQ(bytes, 1000) << node;
  EXPECT_EQ(plan.moves[0].reason, "server-1 holds 1.50 of the mean bytes, server-3 0.00");
  EXPECT_DOUBLE_EQ(plan.summary.before.highest_bytes, 1.5);
  EXPECT_DOUBLE_EQ(plan.summary.before.lowest_bytes, 0);
  EXPECT_DOUBLE_EQ(plan.summary.after.highest_bytes, 1);
  EXPECT_EQ(plan.summary.servers[2].bytes_before, 0u);
  EXPECT_EQ(plan.summary.servers[2].bytes_after, 1000u);
  EXPECT_EQ(plan.summary.servers[2].primaries_after, 10u);
}

TEST_F(RebalanceTest, CapacityWeighsTheShares) {
  Servers(3);
  Server(3).capacity = 2;
  for (int i = 0; i < 40; ++i) Shard({static_cast<NodeId>(1 + i % 3)});
  Settle();
  EXPECT_NEAR(BytesOf(in_)[3], 2000, 100);
}

TEST_F(RebalanceTest, SmallImbalanceIsLeftAlone) {
  Servers(2);
  for (int i = 0; i < 104; ++i) Shard({i < 54 ? 1u : 2u});
  EXPECT_TRUE(PlanAll(in_, options_).moves.empty()) << "1.04 of the mean";
  for (int i = 0; i < 3; ++i) Shard({1});
  Settle();
  EXPECT_LE(BytesOf(in_)[1], 1.03 * 107 / 2 * 100) << "once begun, it goes on to the inner bound";
}

TEST_F(RebalanceTest, EmptyShardsAreSpreadByCount) {
  Servers(3);
  for (int i = 0; i < 12; ++i) Shard({1}, 0, 0);
  const RebalancePlan plan = Settle();
  for (const ServerSummary& server : plan.summary.servers) EXPECT_EQ(server.copies_after, 4u) << server.name;
  EXPECT_EQ(plan.summary.moved_bytes, 0u);
}

TEST_F(RebalanceTest, ADrainedServerGetsEmpty) {
  options_.copies = 2;
  Servers(4);
  for (NodeId i = 0; i < 24; ++i) Shard({1 + i % 4, 1 + (i + 1) % 4});
  Server(3).draining = true;
  Server(3).name = "big-one";
  const RebalancePlan plan = Settle();
  EXPECT_EQ(BytesOf(in_)[3], 0);
  EXPECT_TRUE(plan.not_drained.empty());
  ASSERT_FALSE(plan.moves.empty());
  EXPECT_EQ(plan.moves[0].reason, "big-one is being drained");
}

TEST_F(RebalanceTest, WhatCannotBeDrainedSaysWhy) {
  options_.copies = 2;
  Servers(2);
  Shard({1, 2});
  Shard({2, 1});
  in_.shards[1].pinned = true;
  Server(1).draining = true;
  RebalancePlan plan = PlanAll(in_, options_);
  ASSERT_EQ(plan.not_drained.size(), 2u);
  EXPECT_THAT(plan.not_drained[0].why, HasSubstr("that could take it has a copy already"));
  EXPECT_THAT(plan.not_drained[1].why, HasSubstr("cannot be moved now"));
  ASSERT_EQ(plan.moves.size(), 1u) << "at least it leads nothing more";
  EXPECT_EQ(plan.moves[0].kind, MoveKind::kLead);
  Server(2).draining = true;
  plan = PlanAll(in_, options_);
  EXPECT_TRUE(plan.moves.empty());
  ASSERT_EQ(plan.not_drained.size(), 4u) << "two copies of two shards";
  EXPECT_THAT(plan.not_drained[0].why, HasSubstr("are being drained, too"));
  Server(2).draining = false;
  Server(2).able = false;
  EXPECT_THAT(PlanAll(in_, options_).not_drained[0].why, HasSubstr("no other server is able"));
}

TEST_F(RebalanceTest, CopiesStandApart) {
  options_.copies = 2;
  Servers(4);
  Server(1).host = Server(2).host = "left";
  for (NodeId i = 0; i < 12; ++i) Shard({1 + i % 2, 2 - i % 2});
  const RebalancePlan plan = Settle();
  for (const RebalanceShard& shard : in_.shards) {
    EXPECT_NE(Server(Nodes(shard)[0]).host, Server(Nodes(shard)[1]).host) << shard.id;
  }
  std::vector<std::string> reasons;
  for (const RebalanceMove& move : plan.moves) reasons.push_back(move.reason);
  EXPECT_EQ(std::count(reasons.begin(), reasons.end(), "two copies on host left"), 12);
}

TEST_F(RebalanceTest, WhereThereIsOneHostItDoesNotMatter) {
  options_.copies = 2;
  Servers(3);
  for (RebalanceServer& server : in_.servers) server.host = "here";
  for (NodeId i = 0; i < 12; ++i) Shard({1 + i % 3, 1 + (i + 1) % 3});
  EXPECT_TRUE(PlanAll(in_, options_).moves.empty());
}

TEST_F(RebalanceTest, LeadsAreHandedOverBeforeCopiesMove) {
  options_.copies = 2;
  Servers(2);
  for (int i = 0; i < 10; ++i) Shard({1, 2});
  const RebalancePlan plan = Settle();
  EXPECT_EQ(plan.moves.size(), 5u);
  for (const RebalanceMove& move : plan.moves) EXPECT_EQ(move.kind, MoveKind::kLead);
  EXPECT_EQ(plan.moves[0].reason, "server-1 has 2.00 of the mean load, server-2 0.00");
  EXPECT_EQ(LoadOf(in_)[1], 5);
  in_.shards[0].others[0].in_sync = false;
  for (RebalanceShard& shard : in_.shards) shard = {.id = shard.id, .primary = 1, .others = {{2, false}}};
  EXPECT_TRUE(PlanAll(in_, options_).moves.empty()) << "a copy that is being seeded cannot lead";
}

TEST_F(RebalanceTest, HotShardsAreExchangedWhereBytesLeaveNoRoom) {
  Servers(2);
  for (int i = 0; i < 8; ++i) Shard({i < 4 ? 1u : 2u}, 1000, i < 4 ? 100 : 1);
  Settle();
  EXPECT_EQ(BytesOf(in_)[1], 4000);
  EXPECT_EQ(LoadOf(in_)[1], 202);
}

TEST_F(RebalanceTest, OneShardThatIsTooHotIsNoted) {
  options_.copies = 2;
  Servers(3);
  for (NodeId i = 0; i < 9; ++i) Shard({1 + i % 3, 1 + (i + 1) % 3}, 100, i == 0 ? 1000 : 1);
  const RebalancePlan plan = Settle();
  ASSERT_EQ(plan.summary.notes.size(), 1u);
  EXPECT_EQ(plan.summary.notes[0],
            "shard 0 alone has 2.98 of the mean load of a server, and cannot be split");
  EXPECT_EQ(LoadOf(in_)[1], 1000) << "it is alone there";
}

TEST_F(RebalanceTest, NoShardMovesTwiceWithinTheCooldownButForADrain) {
  Servers(2);
  in_.now_ms = 1'000'000;
  for (int i = 0; i < 8; ++i) Shard({1});
  for (RebalanceShard& shard : in_.shards) shard.moved_ms = in_.now_ms - options_.cooldown_ms + 1;
  EXPECT_TRUE(PlanAll(in_, options_).moves.empty());
  Server(1).draining = true;
  EXPECT_EQ(PlanAll(in_, options_).moves.size(), 8u);
  Server(1).draining = false;
  in_.now_ms += 1;
  EXPECT_EQ(PlanAll(in_, options_).moves.size(), 4u);
}

TEST_F(RebalanceTest, NextMovesAreThoseThatTheLimitsAllow) {
  Servers(3);
  for (int i = 0; i < 12; ++i) Shard({1});
  Servers(1);
  const auto next = NextMoves(in_, options_);
  ASSERT_EQ(next.size(), 2u) << "two at a time leave server 1";
  for (const RebalanceMove& move : next)
    in_.in_flight.push_back({.shard = move.shard, .from = move.from, .to = move.to});
  EXPECT_TRUE(NextMoves(in_, options_).empty());
  EXPECT_EQ(PlanAll(in_, options_).moves.size(), 7u) << "what is in flight counts as done";
  in_.in_flight.pop_back();
  EXPECT_EQ(NextMoves(in_, options_).size(), 1u);
  options_.max_copies = 1;
  EXPECT_TRUE(NextMoves(in_, options_).empty());
}

TEST_F(RebalanceTest, MoreCopiesThanServers) {
  options_.copies = 3;
  Servers(2);
  for (int i = 0; i < 6; ++i) Shard({1, 2});
  EXPECT_EQ(Settle().moves.size(), 3u) << "leads";
}

TEST_F(RebalanceTest, TheOrderOfTheInputSaysNothing) {
  options_.copies = 2;
  Servers(5);
  std::mt19937_64 random(7);
  for (NodeId i = 0; i < 40; ++i)
    Shard({1 + i % 2, 3 + i % 2}, 1 + random() % 100, static_cast<double>(random() % 100));
  const auto text = [&] {
    std::string all;
    for (const RebalanceMove& move : PlanAll(in_, options_).moves)
      StrAppend(&all, move.shard, ":", move.from, ">", move.to, " ", move.reason, "\n");
    return all;
  };
  const std::string before = text();
  EXPECT_FALSE(before.empty());
  std::shuffle(in_.shards.begin(), in_.shards.end(), random);
  std::reverse(in_.servers.begin(), in_.servers.end());
  EXPECT_EQ(text(), before);
}

TEST_F(RebalanceTest, ASkewedLoadOnThreeServers) {
  for (const uint32_t copies : {1u, 2u}) {
    in_ = {};
    options_.copies = copies;
    Servers(3);
    for (NodeId i = 0; i < 128; ++i) {
      const std::vector<NodeId> nodes = {1 + i % 3, 1 + (i + 1) % 3};
      // The hottest are together.
      const double rank = i % 3 == 0 ? i / 3 + 1 : 43 + i;
      Shard({nodes.begin(), nodes.begin() + copies}, 1000, 1e6 / std::pow(rank, 1.1));
    }
    const RebalancePlan plan = Settle();
    EXPECT_GT(plan.summary.before.highest_load, 1.2);
    EXPECT_LE(plan.summary.after.highest_load, 1.2) << copies << " copies";
    EXPECT_LE(plan.summary.after.highest_bytes, 1.05);
    std::cout << copies << " copies: load " << plan.summary.before.highest_load << " -> "
              << plan.summary.after.highest_load << ", " << plan.moves.size() << " moves with "
              << plan.summary.moved_bytes / 1000 << " copies\n";
    if (copies == 2) {
      EXPECT_LE(plan.summary.moved_bytes, 4000u) << "leads do nearly all of it";
    }
  }
}

// ---- A thousand servers.

// Sizes are log-normal, loads follow Zipf's law, and copies are anywhere among the first `placed` servers.
class LargeRebalanceTest : public RebalanceTest {
 protected:
  void Begin(uint32_t servers, uint32_t placed) {
    options_.copies = 2;
    for (NodeId id = 1; id <= servers; ++id) AddServer(id);
    std::mt19937_64 random(11);
    std::lognormal_distribution<double> size(0, 0.75);
    std::vector<double> ranks(8192);
    for (size_t i = 0; i < ranks.size(); ++i) ranks[i] = static_cast<double>(i + 1);
    std::shuffle(ranks.begin(), ranks.end(), random);
    for (const double rank : ranks) {
      const auto first = static_cast<NodeId>(1 + random() % placed);
      auto second = first;
      while (second == first) second = static_cast<NodeId>(1 + random() % placed);
      Shard({first, second}, static_cast<uint64_t>(1e9 * size(random)), 1e6 / std::pow(rank, 1.1));
    }
  }
  void AddServer(NodeId id) {
    in_.servers.push_back({.id = id, .host = StrCat("h", id), .zone = StrCat("z", id % 20)});
  }

  // What any plan must move after which no server has more than 1.05 of its share, unless one copy alone is
  // more, or less than 0.95: all that is on drained servers, with room made for each of it where the emptiest
  // server has not enough; what servers have too much; and one copy of each two that share a zone, where
  // neither is on such a server. Or what servers have too little, if that is more.
  double LowerBound() {
    const std::map<NodeId, double> bytes = BytesOf(in_);
    const std::map<NodeId, uint64_t> largest = LargestOf(in_);
    double total = 0, lowest = 1e300, drained = 0, excess = 0, deficit = 0, near = 0, room = 0;
    uint32_t takers = 0;
    for (const RebalanceServer& server : in_.servers) {
      total += bytes.at(server.id);
      takers += !server.draining;
    }
    const double mean = total / takers;
    const auto limit = [&](uint64_t copy) { return std::max(1.05 * mean, static_cast<double>(copy)); };
    const auto most = [&](NodeId node) {
      return largest.contains(node) ? limit(largest.at(node)) : 1.05 * mean;
    };
    std::vector<bool> draining(in_.servers.size() + 1);
    for (const RebalanceServer& server : in_.servers) {
      draining[server.id] = server.draining;
      const double has = bytes.at(server.id);
      if (server.draining) {
        drained += has;
        continue;
      }
      lowest = std::min(lowest, has);
      excess += std::max(0.0, has - most(server.id));
      deficit += std::max(0.0, 0.95 * mean - has);
    }
    for (const RebalanceShard& shard : in_.shards) {
      const auto size = static_cast<double>(shard.bytes);
      bool other_cause = false;
      for (const NodeId node : Nodes(shard)) {
        if (draining[node]) room += std::max(0.0, lowest + size - limit(shard.bytes));
        other_cause |= draining[node] || bytes.at(node) > most(node);
      }
      if (!other_cause && SharesZone(shard)) near += size;
    }
    return std::max({drained + excess + near, drained + room, deficit});
  }
  static bool SharesZone(const RebalanceShard& shard) {
    return shard.primary % 20 == shard.others[0].node % 20;
  }

  void Check(const std::string& what) {
    const double bound = LowerBound();
    const std::clock_t begin = std::clock();
    RebalancePlan plan = PlanAll(in_, options_);
    const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    plan = Settle();
    const double ratio = static_cast<double>(plan.summary.moved_bytes) / bound;
    std::cout << what << ": " << seconds << " s of CPU, " << plan.moves.size() << " moves, bytes "
              << plan.summary.before.lowest_bytes << ".." << plan.summary.before.highest_bytes << " -> "
              << plan.summary.after.lowest_bytes << ".." << plan.summary.after.highest_bytes << ", load "
              << plan.summary.before.highest_load << " -> " << plan.summary.after.highest_load
              << " of the mean; moved " << ratio << " of the lower bound\n";
    EXPECT_LE(ratio, 1.2) << what;
    EXPECT_TRUE(plan.not_drained.empty());
    CheckResult();
  }
  void CheckResult() {
    const std::map<NodeId, double> bytes = BytesOf(in_);
    std::map<NodeId, uint64_t> largest = LargestOf(in_);
    double total = 0, takers = 0;
    for (const auto& [node, has] : bytes) total += has;
    for (const RebalanceServer& server : in_.servers) takers += !server.draining;
    for (const RebalanceServer& server : in_.servers) {
      const double has = bytes.at(server.id);
      if (server.draining) {
        EXPECT_EQ(has, 0) << server.id;
      } else {
        EXPECT_LT(has, 1.05 * total / takers + static_cast<double>(largest[server.id])) << server.id;
      }
    }
    for (const RebalanceShard& shard : in_.shards) EXPECT_FALSE(SharesZone(shard)) << shard.id;
  }
};

TEST_F(LargeRebalanceTest, FromARandomPlacementThenADrainOfFifty) {
  Begin(1000, 1000);
  Check("random placement");
  for (NodeId id = 7; id <= 1000; id += 20) Server(id).draining = true;
  Check("50 draining");
}

TEST_F(LargeRebalanceTest, AHundredServersJoin) {
  Begin(900, 900);
  Settle();
  for (NodeId id = 901; id <= 1000; ++id) AddServer(id);
  Check("900 and 100 new ones");
}

// ---- Histories.

// A cluster to which something happens every minute or so, and which performs the moves that it is told to,
// with delay.
class RebalanceHistory {
 public:
  explicit RebalanceHistory(uint64_t seed) : random_(seed) {
    options_.copies = 2;
    in_.now_ms = 1'000'000'000;
    for (int i = 0; i < 5; ++i) Join();
    for (ShardId id = 0; id < 128; ++id)
      in_.shards.push_back({.id = id,
                            .bytes = 1 + Pick(2000),
                            .load = static_cast<double>(1 + Pick(1000)),
                            .primary = 1 + id % 5,
                            .others = {{.node = 1 + (id + 1) % 5}}});
  }

  void Happen() {
    switch (Pick(6)) {
      case 0:
        if (Takers() < 12) Join();
        break;
      case 1:
        if (Takers() > 3) AnyTaker().draining = true;
        break;
      case 2:
        if (Takers() > 3) Die(AnyTaker().id);
        break;
      case 3:
        for (RebalanceShard& shard : in_.shards) shard.load = static_cast<double>(1 + Pick(1000));
        break;
      case 4:
        in_.shards[Pick(128)].load = static_cast<double>(Pick(20000));
        break;
      default:
        in_.shards[Pick(128)].bytes = 1 + Pick(4000);
    }
  }

  // Ends what is due, makes lost copies anew, and begins what may begin; returns how many moves that are.
  size_t Step(int64_t ms) {
    in_.now_ms += ms;
    Land();
    for (RebalanceShard& shard : in_.shards) Complete(&shard);
    std::erase_if(in_.servers, [&](const RebalanceServer& server) {
      return server.draining && std::none_of(in_.shards.begin(), in_.shards.end(), [&](const auto& shard) {
               return Holds(shard, server.id) || Flies(shard.id);
             });
    });
    in_.in_flight.clear();
    for (const Flight& flight : flights_)
      in_.in_flight.push_back({flight.move.shard, flight.move.from, flight.move.to, flight.move.kind});
    const std::vector<RebalanceMove> next = NextMoves(in_, options_);
    for (const RebalanceMove& move : next) Begin(move);
    return next.size();
  }

  bool Quiet() const { return flights_.empty(); }
  size_t moves() const { return moves_; }
  RebalancePlan Plan() const { return PlanAll(in_, options_); }
  const RebalanceInput& input() const { return in_; }

 private:
  struct Flight {
    RebalanceMove move;
    int64_t end_ms = 0;
  };

  uint64_t Pick(uint64_t below) { return std::uniform_int_distribution<uint64_t>(0, below - 1)(random_); }
  static bool Takes(const RebalanceServer& server) { return server.able && !server.draining; }
  size_t Takers() const {
    return static_cast<size_t>(std::count_if(in_.servers.begin(), in_.servers.end(), Takes));
  }
  RebalanceServer& AnyTaker() {
    for (;;) {
      RebalanceServer& server = in_.servers[Pick(in_.servers.size())];
      if (Takes(server)) return server;
    }
  }
  void Join() {
    const NodeId id = ++last_node_;
    in_.servers.push_back({.id = id, .host = StrCat("h", id), .zone = StrCat("z", id % 4)});
  }
  bool Flies(ShardId id) const {
    return std::any_of(flights_.begin(), flights_.end(),
                       [id](const Flight& f) { return f.move.shard == id; });
  }

  // Its copies are gone with it; others lead.
  void Die(NodeId node) {
    std::erase_if(in_.servers, [node](const RebalanceServer& server) { return server.id == node; });
    std::erase_if(flights_, [&](const Flight& f) { return f.move.from == node || f.move.to == node; });
    for (RebalanceShard& shard : in_.shards) {
      std::erase_if(shard.others, [node](const RebalanceCopy& copy) { return copy.node == node; });
      if (shard.primary != node) continue;
      std::erase_if(flights_, [&](const Flight& f) { return f.move.shard == shard.id; });
      shard.primary = 0;
      if (shard.others.empty()) continue;
      shard.primary = shard.others[0].node;
      shard.others.erase(shard.others.begin());
    }
  }

  // As the copy decision does it: where the fewest copies are.
  void Complete(RebalanceShard* shard) {
    if (Flies(shard->id)) return;
    while (shard->primary == 0 || shard->others.size() + 1 < options_.copies) {
      std::map<NodeId, uint32_t> counts;
      for (const RebalanceServer& server : in_.servers) {
        if (Takes(server) && !Holds(*shard, server.id)) counts[server.id] = 0;
      }
      for (const RebalanceShard& other : in_.shards) {
        for (const NodeId node : Nodes(other)) {
          if (counts.contains(node)) ++counts[node];
        }
      }
      if (counts.empty()) return;
      const NodeId best = std::min_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) {
                            return a.second < b.second;
                          })->first;
      if (shard->primary == 0) {
        shard->primary = best;
      } else {
        shard->others.push_back({.node = best});
      }
    }
  }

  void Land() {
    for (const Flight& flight : flights_) {
      if (flight.end_ms > in_.now_ms) continue;
      RebalanceShard& shard = in_.shards[flight.move.shard];
      EXPECT_EQ(WhyImpossible(shard, flight.move), "");
      Perform(flight.move, &shard);
      shard.moved_ms = in_.now_ms;
    }
    std::erase_if(flights_, [&](const Flight& flight) { return flight.end_ms <= in_.now_ms; });
  }

  void Begin(const RebalanceMove& move) {
    const RebalanceShard& shard = in_.shards[move.shard];
    EXPECT_EQ(WhyImpossible(shard, move), "");
    EXPECT_FALSE(Flies(move.shard));
    EXPECT_TRUE(Takes(*FindServer(&in_, move.to)));
    const bool rested = shard.moved_ms == 0 || in_.now_ms - shard.moved_ms >= options_.cooldown_ms;
    EXPECT_TRUE(rested || FindServer(&in_, move.from)->draining) << move.reason;
    ++moves_;
    flights_.push_back({move, in_.now_ms + static_cast<int64_t>(Pick(120'000))});
    std::map<NodeId, uint32_t> copies;
    for (const Flight& flight : flights_) {
      if (flight.move.kind == MoveKind::kCopy) ++copies[flight.move.from], ++copies[flight.move.to];
    }
    for (const auto& [node, count] : copies) EXPECT_LE(count, options_.max_copies_per_node);
  }

  std::mt19937_64 random_;
  RebalanceInput in_;
  RebalanceOptions options_;
  std::vector<Flight> flights_;
  NodeId last_node_ = 0;
  size_t moves_ = 0;
};

// A zone with more than half of the servers has only half of the copies; the other servers have more then.
double ForcedByZones(const RebalanceInput& input) {
  std::map<std::string, size_t> zones;
  for (const RebalanceServer& server : input.servers) ++zones[server.zone];
  size_t most = 0;
  for (const auto& [zone, count] : zones) most = std::max(most, count);
  const size_t others = input.servers.size() - most;
  if (others == 0 || most <= others) return 1;
  return static_cast<double>(input.servers.size()) / (2.0 * static_cast<double>(others));
}

class RebalanceHistoryTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(RebalanceHistoryTest, ComesToRest) {
  RebalanceHistory history(GetParam());
  for (int event = 0; event < 250; ++event) {
    history.Happen();
    for (int step = 0; step < 4; ++step) history.Step(15'000);
  }
  // Twelve hours are enough for whatever waits for a cooldown.
  int busy = 0;
  for (int step = 0; step < 720; ++step) {
    if (history.Step(60'000) > 0 || !history.Quiet()) busy = step;
  }
  EXPECT_LT(busy, 360) << "moves go on for ever";
  const RebalancePlan plan = history.Plan();
  EXPECT_TRUE(plan.moves.empty());
  EXPECT_TRUE(plan.not_drained.empty());
  std::cout << history.moves() << " moves, at rest after " << busy << " min; bytes up to "
            << plan.summary.after.highest_bytes << ", load up to " << plan.summary.after.highest_load << "\n";
  uint64_t largest = 0, total = 0;
  double hottest = 0, load = 0;
  for (const RebalanceShard& shard : history.input().shards) {
    largest = std::max(largest, shard.bytes);
    total += 2 * shard.bytes;
    hottest = std::max(hottest, shard.load);
    load += shard.load;
  }
  const auto servers = static_cast<double>(history.input().servers.size());
  const double mean_bytes = static_cast<double>(total) / servers, mean_load = load / servers;
  const double forced = ForcedByZones(history.input());
  EXPECT_LE(plan.summary.after.highest_bytes,
            forced + std::max(0.05, static_cast<double>(largest) / mean_bytes));
  EXPECT_LE(plan.summary.after.highest_load, forced + std::max(0.2, hottest / mean_load));
}

INSTANTIATE_TEST_SUITE_P(Seeds, RebalanceHistoryTest, ::testing::Values(1, 2, 3, 4));

}  // namespace
}  // namespace penstock
