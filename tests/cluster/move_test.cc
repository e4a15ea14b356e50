// Shards move from server to server while they are pushed to.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/admin.h"
#include "tests/cluster/copy_digests.h"
#include "tests/cluster/counting_load.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

constexpr int kMoveMs = 60000;

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

struct Place {
  NodeId primary = 0;
  std::vector<NodeId> all;  // the primary first
  bool moves = true;
  bool serving = false;
};

class MoveTest : public testing::Test {
 protected:
  void Start(const TestCluster::Options& options) {
    cluster_.emplace(options);
    ASSERT_TRUE(cluster_->Start().ok()) << cluster_->Output("scheduler");
    auto client = cluster_->Connect();
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = *std::move(client);
    const auto nodes = Admin(*client_).Inspect("nodes");
    ASSERT_TRUE(nodes.ok());
    for (const auto& node : *nodes) servers_.push_back(node.at("id"));
  }
  std::string NameOf(NodeId server) {
    const auto nodes = Admin(*client_).Inspect("nodes");
    if (!nodes.ok()) return "";
    for (const auto& node : *nodes) {
      if (node.at("id") == server) return node.at("name");
    }
    return "";
  }
  Place PlaceOf(ShardId shard) {
    Place place;
    const auto shards = Admin(*client_).Inspect("shards");
    if (!shards.ok()) return place;
    const auto& entry = shards->at(shard);
    place.primary = entry.at("node");
    place.all = {place.primary};
    for (const auto& backup : entry.at("backups")) place.all.push_back(backup.at("node"));
    place.moves = !entry.at("move").is_null();
    place.serving = entry.at("state") == "serving";
    return place;
  }
  // Until it is there and nothing is left to do.
  testing::AssertionResult Move(ShardId shard, NodeId to) {
    if (const Status begun = Admin(*client_).MoveShard(shard, 0, to); !begun.ok())
      return testing::AssertionFailure() << begun.ToString();
    const bool there = WaitFor(kMoveMs, [&] {
      const Place place = PlaceOf(shard);
      return place.primary == to && !place.moves && place.serving && place.all.size() == copies_;
    });
    if (there) return testing::AssertionSuccess();
    std::string output = cluster_->Output("scheduler");
    for (const auto& name : cluster_->names()) output += cluster_->Output(name);
    return testing::AssertionFailure() << "shard " << shard << " to node " << to << "\n" << output;
  }
  // As many as asked for, of random shards to random servers.
  void MoveAround(int moves, uint32_t shards, uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < moves; ++i) {
      const ShardId shard = random() % shards;
      NodeId to = PlaceOf(shard).primary;
      while (to == PlaceOf(shard).primary) to = servers_[random() % servers_.size()];
      ASSERT_TRUE(Move(shard, to)) << "move " << i;
    }
  }

  std::optional<TestCluster> cluster_;
  std::unique_ptr<Client> client_;
  std::vector<NodeId> servers_;
  size_t copies_ = 1;
};

std::vector<std::string> Copies(size_t copies) { return {"scheduler.copies=" + std::to_string(copies)}; }

// PENSTOCK_MOVES=60 for the long form.
class MovesUnderLoad : public MoveTest, public testing::WithParamInterface<int> {};

TEST_P(MovesUnderLoad, LoseNothingAndAreSaidToNobody) {
  copies_ = GetParam();
  const int moves = FromEnvironment("PENSTOCK_MOVES", 8);
  ASSERT_NO_FATAL_FAILURE(Start({.servers = 3, .shards = 4, .set = Copies(copies_)}));
  std::mutex mutex;
  double longest = 0;  // push since it was last looked at, ms
  CountingLoad load(
      *client_,
      {.seed = 3, .on_answer = [&](auto begun, const Status&) {
         const auto wait =
             std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count();
         std::lock_guard lock(mutex);
         longest = std::max(longest, wait);
       }});
  const auto take_longest = [&] {
    std::lock_guard lock(mutex);
    return std::exchange(longest, 0.0);
  };
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(kMoveMs, [&] { return load.pushes() > 200; })) << load.first_error();
  // How fast it is with nothing moving, and how fast with something all the time.
  const auto rate_since = [&](auto begun, uint64_t before) {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begun;
    return static_cast<double>(load.pushes() - before) / passed.count();
  };
  auto begun = std::chrono::steady_clock::now();
  uint64_t before = load.pushes();
  std::this_thread::sleep_for(std::chrono::milliseconds(moves > 50 ? 10000 : 500));
  const double still = rate_since(begun, before);
  begun = std::chrono::steady_clock::now();
  before = load.pushes();
  std::vector<double> pauses;  // the longest push of each move
  for (int i = 0; i < moves; ++i) {
    take_longest();
    ASSERT_NO_FATAL_FAILURE(MoveAround(1, 4, static_cast<uint64_t>(i)));
    pauses.push_back(take_longest());
  }
  const double moving = rate_since(begun, before);
  load.Stop();
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  EXPECT_EQ(load.Check(), "");
  if (copies_ > 1) {
    EXPECT_EQ(CompareCopies(*cluster_, *client_), "");
  }
  std::sort(pauses.begin(), pauses.end());
  std::printf(
      "%d moves: the longest push of each %.0f ms (median), %.0f (99 %%), %.0f (most); %.0f pushes/s, %.0f "
      "with nothing moving\n",
      moves, pauses[pauses.size() / 2], pauses[pauses.size() * 99 / 100], pauses.back(), moving, still);
}

INSTANTIATE_TEST_SUITE_P(Copies, MovesUnderLoad, testing::Values(1, 2, 3));

// Whoever takes part in a move is killed at any moment of it, and started again.
class MovesUnderKills : public MoveTest, public testing::WithParamInterface<int> {};

TEST_P(MovesUnderKills, LoseNothing) {
  copies_ = GetParam();
  const int moves = FromEnvironment("PENSTOCK_MOVES", 6);
  const uint64_t seed = FromEnvironment("PENSTOCK_SEED", 1);
  std::printf("seed %lu (PENSTOCK_SEED), %d moves (PENSTOCK_MOVES)\n", static_cast<unsigned long>(seed),
              moves);
  ASSERT_NO_FATAL_FAILURE(Start({.servers = 3, .shards = 4, .set = Copies(copies_)}));
  CountingLoad load(*client_, {.seed = seed});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(kMoveMs, [&] { return load.pushes() > 100; })) << load.first_error();
  std::mt19937_64 random(seed);
  const auto outputs = [&] {
    std::string all = cluster_->Output("scheduler");
    for (const auto& name : cluster_->names()) all += cluster_->Output(name);
    return all;
  };
  for (int i = 0; i < moves; ++i) {
    const ShardId shard = random() % 4;
    Place before;
    NodeId to = 0;
    Status begun;
    // Not before a server that was started again has been heard.
    ASSERT_TRUE(WaitFor(kMoveMs, [&] {
      before = PlaceOf(shard);
      to = before.primary;
      while (to == before.primary) to = servers_[random() % servers_.size()];
      begun = Admin(*client_).MoveShard(shard, 0, to);
      return begun.ok();
    })) << begun.ToString();
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 200));
    const NodeId hit = std::vector<NodeId>{before.primary, to, 0}[random() % 3];
    const std::string victim = hit == 0 ? "scheduler" : NameOf(hit);
    cluster_->Kill(victim);
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 300));
    ASSERT_TRUE(cluster_->StartOne(victim).ok()) << victim;
    ASSERT_TRUE(WaitFor(kMoveMs,
                        [&] {
                          for (ShardId id = 0; id < 4; ++id) {
                            const Place place = PlaceOf(id);
                            if (place.moves || !place.serving || place.all.size() != copies_) return false;
                          }
                          return true;
                        }))
        << "move " << i << " of shard " << shard << ", " << victim << " was killed\n"
        << outputs();
    const uint64_t pushes = load.pushes();
    ASSERT_TRUE(WaitFor(kMoveMs, [&] { return load.pushes() > pushes + 10; })) << load.first_error();
  }
  load.Stop();
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  EXPECT_EQ(load.Check(), "");
  if (copies_ > 1) {
    EXPECT_EQ(CompareCopies(*cluster_, *client_), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Copies, MovesUnderKills, testing::Values(1, 2));

// What a `memory` table holds back is in the last delta: the new primary has it, though no log had it before.
TEST_F(MoveTest, TakesWhatMemoryTablesHoldBack) {
  ASSERT_NO_FATAL_FAILURE(Start({.servers = 2, .shards = 2, .set = {"server.memory_lag_ms=60000"}}));
  CountingLoad load(*client_, {.durability = Durability::kMemory});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(kMoveMs, [&] { return load.pushes() > 200; })) << load.first_error();
  const auto move_all = [&] {
    for (ShardId shard = 0; shard < 2; ++shard) {
      const NodeId to = PlaceOf(shard).primary == servers_[0] ? servers_[1] : servers_[0];
      ASSERT_TRUE(Move(shard, to));
    }
  };
  for (int round = 0; round < 3; ++round) ASSERT_NO_FATAL_FAILURE(move_all());
  load.Stop();
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  EXPECT_EQ(load.Check(), "");
  // And it is on the new primary's disk.
  ASSERT_NO_FATAL_FAILURE(move_all());
  for (const auto& name : cluster_->names()) cluster_->Kill(name);
  ASSERT_TRUE(cluster_->Start().ok()) << cluster_->Output("scheduler");
  EXPECT_EQ(load.Check(), "");
}

// One server after the other is drained while it is pushed to, and ends empty, in memory and on disk.
TEST_F(MoveTest, ADrainedServerEndsEmpty) {
  ASSERT_NO_FATAL_FAILURE(Start({.servers = 3, .shards = 8}));
  CountingLoad load(*client_, {.seed = 5});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(kMoveMs, [&] { return load.pushes() > 200; })) << load.first_error();
  const auto node_of = [&](const std::string& name) {
    const auto nodes = Admin(*client_).Inspect("nodes");
    for (const auto& node : *nodes) {
      if (node.at("name") == name) return node;
    }
    return nlohmann::json();
  };
  for (const std::string name : {"server-0", "server-1"}) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(Admin(*client_).DrainNode(node_of(name).at("id"), true).ok());
    ASSERT_TRUE(WaitFor(kMoveMs, [&] {
      const auto node = node_of(name);
      return node.at("shards") == 0 && node.at("backups") == 0;
    })) << cluster_->Output("scheduler");
    ASSERT_TRUE(WaitFor(kMoveMs, [&] {
      return node_of(name).at("held_lives") == 0 && cluster_->Metric(name, "penstock_server_folds_total") > 0;
    })) << cluster_->Output(name);
    EXPECT_EQ(cluster_->Terminate(name), 0);
    ASSERT_TRUE(cluster_->StartOne(name).ok());
    EXPECT_NE(cluster_->Output(name).rfind("0 shards from disk"), std::string::npos)
        << cluster_->Output(name);
    ASSERT_TRUE(Admin(*client_).DrainNode(node_of(name).at("id"), false).ok());
  }
  load.Stop();
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  EXPECT_EQ(load.Check(), "");
}

// A server that is added in the middle takes its share by itself, and one that was killed gets its own again.
TEST_F(MoveTest, ServersThatJoinOrComeBackTakeTheirShare) {
  ASSERT_NO_FATAL_FAILURE(
      Start({.servers = 2, .shards = 16, .set = {"scheduler.copies=2", "scheduler.balance_delay_ms=500"}}));
  CountingLoad load(*client_, {.seed = 6});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(kMoveMs, [&] { return load.pushes() > 200; })) << load.first_error();
  std::string held;
  // 32 copies of 16 shards on 3 servers, within a shard of the mean.
  const auto even = [&] {
    const auto nodes = Admin(*client_).Inspect("nodes");
    const auto shards = Admin(*client_).Inspect("shards");
    if (!nodes.ok() || !shards.ok()) return false;
    held.clear();
    bool even = nodes->size() == 3;
    for (const auto& node : *nodes) {
      const int primaries = node.at("shards"), copies = primaries + node.at("backups").get<int>();
      held += node.at("name").get<std::string>() + " leads " + std::to_string(primaries) + " of " +
              std::to_string(copies) + "; ";
      even &= primaries >= 4 && primaries <= 7 && copies >= 10 && copies <= 12;
    }
    for (const auto& shard : *shards)
      even &= shard.at("move").is_null() && shard.at("in_sync") == 2 && shard.at("state") == "serving";
    return even;
  };
  ASSERT_TRUE(cluster_->StartOne("server-2").ok());
  ASSERT_TRUE(WaitFor(kMoveMs, even)) << held << cluster_->Output("scheduler");
  cluster_->Kill("server-0");
  const uint64_t pushes = load.pushes();
  ASSERT_TRUE(WaitFor(kMoveMs, [&] { return load.pushes() > pushes + 100; })) << load.first_error();
  ASSERT_TRUE(cluster_->StartOne("server-0").ok());
  // What moved a moment ago rests, unless an operator says otherwise.
  const auto asked = [&] { return Admin(*client_).Rebalance(Admin::Balance::kNow).ok() && even(); };
  ASSERT_TRUE(WaitFor(kMoveMs, asked)) << held << cluster_->Output("scheduler");
  load.Stop();
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  EXPECT_EQ(load.Check(), "");
  EXPECT_EQ(CompareCopies(*cluster_, *client_), "");
}

// Whoever stops one server after the other, as for a new version, need not know of drains. What happened is
// told.
TEST_F(MoveTest, AServerThatIsStoppedLeavesEmptyAndComesBack) {
  ASSERT_NO_FATAL_FAILURE(Start(
      {.servers = 3, .shards = 8, .set = {"server.drain_on_stop=true", "scheduler.balance_delay_ms=500"}}));
  CountingLoad load(*client_, {.seed = 7});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(kMoveMs, [&] { return load.pushes() > 200; })) << load.first_error();
  for (const std::string name : {"server-0", "server-1", "server-2"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(cluster_->Terminate(name), 0);
    const std::string output = cluster_->Output(name);
    EXPECT_NE(output.find(name + " holds nothing that another server could take"), std::string::npos)
        << output;
    const auto shards = Admin(*client_).Inspect("shards");
    ASSERT_TRUE(shards.ok());
    for (const auto& shard : *shards) EXPECT_NE(shard.at("node_name"), name) << shard.dump();
    const uint64_t pushes = load.pushes();
    ASSERT_TRUE(WaitFor(kMoveMs, [&] { return load.pushes() > pushes + 100; })) << load.first_error();
    ASSERT_TRUE(cluster_->StartOne(name).ok());
    ASSERT_TRUE(WaitFor(kMoveMs, [&] {
      (void)Admin(*client_).Rebalance(Admin::Balance::kNow);  // what moved a moment ago rests otherwise
      const auto nodes = Admin(*client_).Inspect("nodes");
      return nodes.ok() && std::ranges::any_of(*nodes, [&](const auto& node) {
               return node.at("name") == name && node.at("shards") > 0 && !node.at("leaving");
             });
    })) << cluster_->Output("scheduler");
  }
  load.Stop();
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  EXPECT_EQ(load.Check(), "");
  const auto events = Admin(*client_).Inspect("events");
  ASSERT_TRUE(events.ok());
  const auto told = [&](const std::string& kind, const std::string& text) {
    return std::ranges::any_of(*events, [&](const auto& event) {
      return event.at("kind") == kind && event.at("at_ms") > 1'700'000'000'000 &&
             event.at("text").template get<std::string>().find(text) != std::string::npos;
    });
  };
  EXPECT_TRUE(told("node", "server-1 (node 2) came back") || told("node", "server-1 (node 3) came back") ||
              told("node", "server-1 (node 1) came back"))
      << events->dump(1);
  EXPECT_TRUE(told("move", "as server-1 is being drained")) << events->dump(1);
  EXPECT_TRUE(told("lead", "went from server-1 to server-")) << events->dump(1);
  const auto later =
      Admin(*client_).Inspect("events", std::to_string(events->back().at("number").get<int>()));
  EXPECT_TRUE(later.ok() && later->empty());
  EXPECT_FALSE(Admin(*client_).Inspect("events", "x").ok());
  // All at once: nobody is left who could take anything, so nobody waits for long.
  for (const std::string name : {"server-0", "server-1", "server-2"}) cluster_->Signal(name, SIGTERM);
  for (const std::string name : {"server-0", "server-1", "server-2"})
    EXPECT_EQ(cluster_->WaitExit(name, 20000), 0) << name;
}

TEST_F(MoveTest, ADrainWithNowhereToGoIsAProblemUntilItIsCalledOff) {
  ASSERT_NO_FATAL_FAILURE(Start({.servers = 1, .shards = 2}));
  const auto problems = [&] {
    const auto status = Admin(*client_).Inspect("status");
    return status.ok() ? status->at("problems").dump() : status.status().ToString();
  };
  ASSERT_TRUE(Admin(*client_).DrainNode(servers_[0], true).ok());
  EXPECT_NE(
      problems().find("2 of 2 shards stay on drained servers, the first is 0: no other server is there"),
      std::string::npos)
      << problems();
  ASSERT_TRUE(Admin(*client_).DrainNode(servers_[0], false).ok());
  EXPECT_EQ(problems(), "[]");
}

// The client that asks knows the shards where they were: nothing that it has sent since was refused.
TEST_F(MoveTest, AFoldIsAskedOfWhoServesNow) {
  ASSERT_NO_FATAL_FAILURE(Start({.servers = 2, .shards = 2}));
  const auto move_all = [&](NodeId to) {
    for (ShardId shard = 0; shard < 2; ++shard) {
      if (PlaceOf(shard).primary != to) ASSERT_TRUE(Move(shard, to));
    }
  };
  ASSERT_NO_FATAL_FAILURE(move_all(servers_[0]));
  CountingLoad load(*client_, {.seed = 8});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(kMoveMs, [&] { return load.pushes() > 100; })) << load.first_error();
  load.Stop();
  ASSERT_NO_FATAL_FAILURE(move_all(servers_[1]));
  const auto folds = [&] {
    return MetricOf(cluster_->dir() + "/" + NameOf(servers_[1]), "penstock_server_folds_total");
  };
  const double before = folds();
  ASSERT_TRUE(Admin(*client_).Fold().ok());
  EXPECT_TRUE(WaitFor(kMoveMs, [&] { return folds() > before; }));
  EXPECT_EQ(load.Check(), "");
}

TEST_F(MoveTest, WhatCannotMoveIsSaid) {
  ASSERT_NO_FATAL_FAILURE(Start({.servers = 2, .shards = 2}));
  const NodeId primary = PlaceOf(0).primary;
  const NodeId other = primary == servers_[0] ? servers_[1] : servers_[0];
  const auto refusal = [&](ShardId shard, NodeId from, NodeId to) {
    const Status said = Admin(*client_).MoveShard(shard, from, to);
    return said.ok() ? std::string("taken") : said.message();
  };
  EXPECT_NE(refusal(0, 0, primary).find("has a copy on"), std::string::npos);
  EXPECT_NE(refusal(9, 0, other).find("there is no shard 9"), std::string::npos) << refusal(9, 0, other);
  EXPECT_NE(refusal(0, 0, 77).find("node 77 is no server"), std::string::npos);
  EXPECT_NE(refusal(0, other, other).find("has no copy on"), std::string::npos) << refusal(0, other, other);
}

}  // namespace
}  // namespace penstock
