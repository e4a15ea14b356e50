// kill -9 of servers, of the scheduler and of everything, under a load whose sums can be checked.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "client/admin.h"
#include "tests/cluster/counting_load.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

int CountFromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

// PENSTOCK_KILLS=20 for the long form.
TEST(KillTest, ServersUnderACountingLoad) {
  const int kills = CountFromEnvironment("PENSTOCK_KILLS", 5);
  const uint64_t seed = CountFromEnvironment("PENSTOCK_SEED", 1);
  std::printf("seed %lu (PENSTOCK_SEED), %d kills (PENSTOCK_KILLS)\n", seed, kills);
  TestCluster cluster({.servers = 2, .set = {"server.fold_bytes=1048576", "server.segment_bytes=1048576"}});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler") << cluster.Output("server-0");
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok()) << client.status().ToString();
  CountingLoad load(**client, {.seed = seed});
  ASSERT_TRUE(load.Start().ok());
  std::mt19937_64 random(seed);
  int least_in_flight = 1 << 30;
  for (int i = 0; i < kills; ++i) {
    const uint64_t before = load.pushes();
    const uint64_t more = 20 + random() % 400;
    ASSERT_TRUE(WaitFor(60000, [&] { return load.pushes() >= before + more; })) << load.first_error();
    const std::string victim = "server-" + std::to_string(random() % 2);
    ASSERT_TRUE(WaitFor(10000, [&] { return load.in_flight() > 0; }));
    const int in_flight = load.in_flight();
    cluster.Kill(victim);
    least_in_flight = std::min(least_in_flight, in_flight);
    std::printf("kill %d: %s after %lu pushes, %d in flight\n", i + 1, victim.c_str(),
                static_cast<unsigned long>(load.pushes()), in_flight);
    ASSERT_TRUE(cluster.StartOne(victim).ok());
  }
  ASSERT_TRUE(cluster.WaitServing().ok());
  const uint64_t before = load.pushes();
  ASSERT_TRUE(WaitFor(60000, [&] { return load.pushes() > before + 100; })) << load.first_error();
  load.Stop();
  EXPECT_EQ(load.Check(), "");
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  EXPECT_GT(least_in_flight, 0);
  std::printf("%lu pushes acknowledged, %lu uncertain\n",
              static_cast<unsigned long>(load.pushes() - load.failed()),
              static_cast<unsigned long>(load.failed()));
}

TEST(KillTest, PushesGoOnWhileTheSchedulerIsAway) {
  TestCluster cluster({.servers = 1});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok());
  CountingLoad load(**client, {});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(10000, [&] { return load.pushes() > 100; }));
  cluster.Kill("scheduler");
  const uint64_t at_kill = load.pushes();
  EXPECT_TRUE(WaitFor(10000, [&] { return load.pushes() > at_kill + 500; }));
  ASSERT_TRUE(cluster.StartOne("scheduler").ok());
  ASSERT_TRUE(cluster.WaitServing().ok());
  const uint64_t back = load.pushes();
  EXPECT_TRUE(WaitFor(10000, [&] { return load.pushes() > back + 500; })) << load.first_error();
  load.Stop();
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  EXPECT_EQ(load.Check(), "");
}

TEST(KillTest, EverythingAndThenAgain) {
  TestCluster cluster({.servers = 2});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok());
  CountingLoad load(**client, {});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(10000, [&] { return load.pushes() > 300; }));
  for (const auto& name : cluster.names()) cluster.Kill(name);
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler") << cluster.Output("server-0");
  const uint64_t back = load.pushes();
  EXPECT_TRUE(WaitFor(20000, [&] { return load.pushes() > back + 300; })) << load.first_error();
  load.Stop();
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  EXPECT_EQ(load.Check(), "");
}

TEST(KillTest, ACleanEndLosesNothingAtLevelMemory) {
  TestCluster cluster({.servers = 1, .set = {"server.memory_lag_ms=60000"}});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok());
  CountingLoad load(**client, {.durability = Durability::kMemory});
  ASSERT_TRUE(load.Start().ok());
  ASSERT_TRUE(WaitFor(10000, [&] { return load.pushes() > 300; }));
  load.Stop();
  EXPECT_EQ(cluster.Terminate("server-0"), 0);
  ASSERT_TRUE(cluster.StartOne("server-0").ok());
  ASSERT_TRUE(cluster.WaitServing().ok());
  EXPECT_EQ(load.Check(), "");
}

// The server reports at its end, and the scheduler journals it at its own: also the push that was answered
// right before, which no heartbeat has told of.
TEST(KillTest, WhatWasThereAtAnOrderlyEndIsMissedWhenItIsGone) {
  TestCluster cluster(
      {.servers = 1,
       .set = {"scheduler.heartbeat_ms=5000", "scheduler.suspect_ms=10000", "scheduler.dead_ms=20000"}});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  PushedUnit last;
  {
    auto client = cluster.Connect();
    ASSERT_TRUE(client.ok());
    CountingLoad load(**client, {});
    ASSERT_TRUE(load.Start().ok());
    ASSERT_TRUE(WaitFor(10000, [&] { return load.pushes() > 300; }));
    load.Stop();
    auto producer = (*client)->NewProducer();
    ASSERT_TRUE(producer.ok());
    const std::vector<float> one(load.table().dim, 1.0f);
    auto pushed = (*client)->Push(**producer, {{load.table().id, {1}, one}}).get();
    ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
    last = pushed->units.at(0);
  }
  EXPECT_EQ(cluster.Terminate("server-0"), 0);
  EXPECT_EQ(cluster.Terminate("scheduler"), 0);
  for (const char* folder : {"log", "base"})
    std::filesystem::remove_all(cluster.dir() + "/server-0/" + folder);
  ASSERT_TRUE(cluster.StartOne("scheduler").ok());
  ASSERT_TRUE(cluster.StartOne("server-0").ok());
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok());
  const std::string wanted =
      "came back without this shard, of which it had reported lsn " + std::to_string(last.lsn) + ";";
  std::string detail;
  EXPECT_TRUE(WaitFor(20000,
                      [&] {
                        const auto shard = Admin(**client).Inspect("shard", std::to_string(last.shard));
                        if (shard.ok()) detail = shard->value("detail", "");
                        return detail.find(wanted) != std::string::npos;
                      }))
      << detail << ", wanted: " << wanted;
}

// The delta that a table at level logged makes leaves the `memory` table of the same shard out: its units are
// not logged by it.
TEST(KillTest, AMemoryUnitIsNotSaidLoggedByAnotherTablesDelta) {
  TestCluster cluster({.servers = 1, .shards = 2, .set = {"server.memory_lag_ms=60000"}});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok());
  TableSpec spec;
  spec.optimizer.kind = OptimizerKind::kAdd;
  spec.name = "quick";
  spec.durability = Durability::kMemory;
  auto quick = (*client)->CreateTable(spec);
  spec.name = "safe";
  spec.durability = Durability::kLogged;
  auto safe = (*client)->CreateTable(spec);
  ASSERT_TRUE(quick.ok() && safe.ok());
  auto producer = (*client)->NewProducer();
  ASSERT_TRUE(producer.ok());
  std::vector<Key> keys;
  for (Key key = 0; key < 64; ++key) keys.push_back(key);
  const std::vector<float> ones(keys.size(), 1.0f);
  for (int i = 0; i < 5; ++i) {
    auto pushed = (*client)->Push(**producer, {{quick->id, keys, ones}, {safe->id, keys, ones}}).get();
    ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
    for (const PushedUnit& unit : pushed->units) {
      if (unit.table != quick->id) continue;
      EXPECT_FALSE(unit.logged) << "shard " << unit.shard;
    }
  }
  ASSERT_TRUE((*client)->Flush().ok());
  // What Flush said is logged survives.
  cluster.Kill("server-0");
  ASSERT_TRUE(cluster.StartOne("server-0").ok());
  ASSERT_TRUE(cluster.WaitServing().ok());
  auto pulled = (*client)->Pull({{quick->id, keys}, {safe->id, keys}}).get();
  ASSERT_TRUE(pulled.ok()) << pulled.status().ToString();
  EXPECT_EQ(pulled->values[0], std::vector<float>(keys.size(), 5.0f));
  EXPECT_EQ(pulled->values[1], std::vector<float>(keys.size(), 5.0f));
}

}  // namespace
}  // namespace penstock
