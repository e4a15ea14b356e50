// Several copies of each shard: failover under load, seeding, and the operator's words.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "client/admin.h"
#include "tests/cluster/copy_digests.h"
#include "tests/cluster/counting_load.h"
#include "tests/cluster/flip_byte.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

// All shards have all copies in sync.
bool Complete(Client& client) {
  const auto status = Admin(client).Inspect("status");
  return status.ok() && status->at("copies").at("complete") == status->at("shards").at("total");
}

// The server that is primary of this shard.
std::string PrimaryOf(Client& client, ShardId shard) {
  const auto shards = Admin(client).Inspect("shards");
  return shards.ok() ? shards->at(shard).at("node_name").get<std::string>() : "";
}

std::vector<std::string> Copies(int copies, int min_copies = 1) {
  return {"scheduler.copies=" + std::to_string(copies), "scheduler.min_copies=" + std::to_string(min_copies)};
}

// PENSTOCK_KILLS=50 for the long form.
TEST(CopiesTest, PushesGoOnAfterAPrimaryIsKilled) {
  const int kills = FromEnvironment("PENSTOCK_KILLS", 4);
  const uint64_t seed = FromEnvironment("PENSTOCK_SEED", 1);
  std::printf("seed %lu (PENSTOCK_SEED), %d kills (PENSTOCK_KILLS)\n", seed, kills);
  auto options = Copies(2);
  options.emplace_back(
      "scheduler.dead_ms=120000");  // silence tells nothing here: the end of the process does
  TestCluster cluster({.servers = 3, .shards = 16, .set = options});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler") << cluster.Output("server-0");
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok()) << client.status().ToString();
  CountingLoad load(**client, {.seed = seed});
  ASSERT_TRUE(load.Start().ok());
  std::mt19937_64 random(seed);
  std::vector<double> gaps;
  for (int i = 0; i < kills; ++i) {
    ASSERT_TRUE(WaitFor(60000, [&] { return Complete(**client); })) << "kill " << i;
    const uint64_t before = load.pushes(), more = 20 + random() % 400;
    ASSERT_TRUE(WaitFor(60000, [&] { return load.pushes() >= before + more; })) << load.first_error();
    ASSERT_TRUE(WaitFor(10000, [&] { return load.in_flight() > 0; }));
    const std::string victim = PrimaryOf(**client, random() % 16);
    const int in_flight = load.in_flight();
    const auto killed = std::chrono::steady_clock::now();
    cluster.Kill(victim);
    // Each push touches all shards, so that none goes on before all do; those in flight may still end.
    const uint64_t at_kill = load.pushes() + in_flight;
    ASSERT_TRUE(WaitFor(20000, [&] { return load.pushes() > at_kill; })) << load.first_error();
    gaps.push_back(Seconds(killed));
    std::printf("kill %d: %s, %d pushes in flight, pushes went on after %.2f s\n", i + 1, victim.c_str(),
                in_flight, gaps.back());
    ASSERT_TRUE(cluster.StartOne(victim).ok());
  }
  ASSERT_TRUE(WaitFor(60000, [&] { return Complete(**client); }));
  const uint64_t before = load.pushes();
  ASSERT_TRUE(WaitFor(60000, [&] { return load.pushes() > before + 100; })) << load.first_error();
  load.Stop();
  EXPECT_EQ(load.Check(), "");
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  EXPECT_EQ(CompareCopies(cluster, **client), "");
  std::sort(gaps.begin(), gaps.end());
  std::printf("pushes went on after %.2f s (median), %.2f s at most; %lu pushes\n", gaps[gaps.size() / 2],
              gaps.back(), static_cast<unsigned long>(load.pushes()));
}

TEST(CopiesTest, ThreeCopiesSurviveTwoKillsInARow) {
  TestCluster cluster({.servers = 3, .shards = 8, .set = Copies(3)});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok());
  CountingLoad load(**client, {});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(30000, [&] { return Complete(**client) && load.pushes() > 300; }))
      << load.first_error();
  for (const char* victim : {"server-0", "server-1"}) {
    cluster.Kill(victim);
    const uint64_t at_kill = load.pushes() + 8;
    ASSERT_TRUE(WaitFor(20000, [&] { return load.pushes() > at_kill; }))
        << victim << load.first_error() << cluster.Output("scheduler") << cluster.Output("server-1")
        << cluster.Output("server-2");
  }
  for (const char* victim : {"server-0", "server-1"}) ASSERT_TRUE(cluster.StartOne(victim).ok());
  ASSERT_TRUE(WaitFor(60000, [&] { return Complete(**client); }));
  load.Stop();
  EXPECT_EQ(load.Check(), "");
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  EXPECT_EQ(CompareCopies(cluster, **client), "");
}

// A copy is seeded while rows are pushed, more of them than fit into memory, and is then all that is left.
TEST(CopiesTest, ASeedBringsRowsFromMemoryAndDisk) {
  TestCluster cluster({.servers = 2,
                       .shards = 4,
                       .set = {"server.memory_budget_bytes=16777216", "server.fold_bytes=2097152",
                               "server.segment_bytes=1048576"}});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok());
  CountingLoad load(**client, {.rows = 60000, .keys = 2000, .dim = 64, .inflight = 2});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(60000, [&] { return load.pushes() > 200; })) << load.first_error();
  ASSERT_TRUE(Admin(**client).SetCopies(2, 1).ok());
  ASSERT_TRUE(WaitFor(60000, [&] { return Complete(**client); }))
      << cluster.Output("scheduler") << cluster.Output("server-0") << cluster.Output("server-1");
  const uint64_t before = load.pushes();
  ASSERT_TRUE(WaitFor(60000, [&] { return load.pushes() > before + 100; })) << load.first_error();
  load.Stop();
  EXPECT_GT(cluster.Metric("server-0", "penstock_server_evicted_rows_total"), 0) << "the rows should not fit";
  EXPECT_EQ(CompareCopies(cluster, **client), "");
  cluster.Kill("server-0");
  EXPECT_EQ(load.Check(), "") << "of the copies alone";
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
}

// The base of a server whose rows do not fit into memory is damaged while it serves them: it finds the damage
// with the rows that it reads, and heals itself.
TEST(CopiesTest, ADamagedBaseIsHealedWhileTheOthersServe) {
  std::vector<std::string> set = Copies(2);
  set.push_back("server.memory_budget_bytes=16777216");
  TestCluster cluster({.servers = 2, .shards = 4, .set = set});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok());
  CountingLoad load(**client, {.rows = 60000, .keys = 2000, .dim = 64, .inflight = 2});
  ASSERT_TRUE(load.Start().ok());
  // Before a server knows that others have copies, its damage is for an operator.
  ASSERT_TRUE(WaitFor(60000, [&] { return Complete(**client) && load.pushes() > 100; }))
      << load.first_error();
  const auto note = [&]() -> std::string {
    const auto nodes = Admin(**client).Inspect("nodes");
    if (!nodes.ok()) return "";
    for (const auto& node : *nodes) {
      if (node.at("name") == "server-0") return node.at("note");
    }
    return "";
  };
  for (const char* times : {"1 time", "2 times"}) {
    SCOPED_TRACE(times);
    const double folds = cluster.Metric("server-0", "penstock_server_folds_total");
    ASSERT_TRUE(Admin(**client).Fold().ok());
    ASSERT_TRUE(
        WaitFor(60000, [&] { return cluster.Metric("server-0", "penstock_server_folds_total") > folds; }));
    const std::string aside = cluster.dir() + "/server-0/damaged/" + std::string(1, times[0]) + "/base";
    // Of another file, where the one that was damaged had been read and replaced already.
    std::string damaged;
    ASSERT_TRUE(WaitFor(60000, [&] {
      const bool found = std::filesystem::exists(aside);
      if (!found && !std::filesystem::exists(damaged)) damaged = FlipByteOfBase(cluster.dir() + "/server-0");
      return found;
    })) << cluster.Output("server-0");
    ASSERT_TRUE(WaitFor(60000, [&] { return Complete(**client); })) << cluster.Output("server-0");
    EXPECT_TRUE(cluster.Running("server-0"));
    EXPECT_TRUE(WaitFor(10000, [&] {
      return note().find("put aside " + std::string(times)) != std::string::npos;
    })) << note();
    EXPECT_GT(cluster.Metric("server-0", "penstock_server_damaged_bytes"), 0);
  }
  // It is well again, and a problem until somebody has looked at it.
  const auto status = [&] { return RunPenstock({"status", "--data-dir", cluster.dir()}); };
  const CommandResult before = status();
  EXPECT_EQ(before.code, 10);
  EXPECT_NE(before.out.find("problem:  server-0: damaged files were put aside 2 times"), std::string::npos)
      << before.out;
  std::filesystem::remove_all(cluster.dir() + "/server-0/damaged");
  EXPECT_TRUE(WaitFor(20000, [&] { return status().code == 0; })) << status().out;
  load.Stop();
  EXPECT_EQ(CompareCopies(cluster, **client), "");
  EXPECT_EQ(load.Check(), "");
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
}

TEST(CopiesTest, TooFewCopiesRefusePushesAndNotPulls) {
  TestCluster cluster({.servers = 2, .shards = 4, .set = Copies(2, 2)});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  auto client = cluster.Connect(8000);
  ASSERT_TRUE(client.ok());
  TableSpec spec;
  spec.name = "t";
  spec.optimizer.kind = OptimizerKind::kAdd;
  auto table = (*client)->CreateTable(spec);
  auto producer = (*client)->NewProducer();
  ASSERT_TRUE(table.ok() && producer.ok());
  std::vector<Key> keys;
  for (Key key = 0; key < 64; ++key) keys.push_back(key);
  const std::vector<float> ones(keys.size(), 1.0f);
  ASSERT_TRUE((*client)->Push(**producer, {{table->id, keys, ones}}).get().ok()) << "it waits for the copies";
  // Before a primary has confirmed that it waits for a copy, that copy may not lead without it.
  ASSERT_TRUE(WaitFor(20000, [&] { return Complete(**client); }));
  cluster.Kill("server-1");
  const auto refused = (*client)->Push(**producer, {{table->id, keys, ones}}).get();
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("min_copies"), std::string::npos)
      << refused.status().ToString() << "\n"
      << cluster.Output("scheduler");
  EXPECT_TRUE((*client)->Pull({{table->id, keys}}).get().ok());
  ASSERT_TRUE(Admin(**client).SetCopies(2, 1).ok());
  EXPECT_TRUE((*client)->Push(**producer, {{table->id, keys, ones}}).get().ok());
}

TEST(CopiesTest, AllServersKilledComeBackWithWhatWasAcknowledged) {
  TestCluster cluster({.servers = 3, .shards = 16, .set = Copies(2)});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok());
  CountingLoad load(**client, {});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(30000, [&] { return Complete(**client) && load.pushes() > 300; }))
      << load.first_error();
  for (const auto& name : cluster.names()) cluster.Kill(name);
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler") << cluster.Output("server-0");
  ASSERT_TRUE(WaitFor(60000, [&] { return Complete(**client); }));
  load.Stop();
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  EXPECT_EQ(load.Check(), "");
  EXPECT_EQ(CompareCopies(cluster, **client), "");
}

}  // namespace
}  // namespace penstock
