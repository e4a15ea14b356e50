// A server that dies at every step of append, sync, seal, fold, ingest and removal, under a load whose sums
// can be checked; and damage to what it had synced.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "client/admin.h"
#include "common/base/hash.h"
#include "tests/cluster/counting_load.h"
#include "tests/cluster/damaged_log.h"
#include "tests/cluster/flip_byte.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

struct FaultPoint {
  const char* name;
  uint64_t most;  // the server dies at a hit from 1 to this
};
constexpr FaultPoint kPoints[] = {
    {"log.append.before", 200}, {"log.append.partial", 200}, {"log.append.after", 200},
    {"log.sync.before", 100},   {"log.sync.after", 100},     {"log.seal.before", 3},
    {"log.seal.created", 4},    {"log.seal.header", 4},      {"log.seal.after", 3},
    {"log.remove.before", 3},   {"log.remove.unlinked", 3},  {"log.remove.after", 3},
    {"fold.read", 3},           {"fold.sst.before", 2},      {"fold.sst.after", 2},
    {"fold.ingest.before", 2},  {"fold.ingest.after", 2},    {"fold.remove.before", 3},
    {"fold.remove.after", 3},
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

constexpr int kDieMs = 30000;
constexpr int kProgressMs = 30000;
constexpr uint64_t kPushesBetween = 20;

// PENSTOCK_FAULT_ROUNDS=10 for the long form.
TEST(FaultKillTest, DiesAtEveryStep) {
  const uint64_t rounds = FromEnvironment("PENSTOCK_FAULT_ROUNDS", 1);
  const uint64_t seed = FromEnvironment("PENSTOCK_SEED", 1);
  std::printf("seed %lu (PENSTOCK_SEED), %lu rounds (PENSTOCK_FAULT_ROUNDS) of %zu points\n",
              static_cast<unsigned long>(seed), static_cast<unsigned long>(rounds), std::size(kPoints));
  TestCluster cluster(
      {.servers = 1,
       .set = {"server.fold_bytes=1048576", "server.segment_bytes=1048576", "scheduler.heartbeat_ms=50"},
       .dir = {}});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler") << cluster.Output("server-0");
  auto client = cluster.Connect(120000);
  ASSERT_TRUE(client.ok()) << client.status().ToString();
  CountingLoad logged(**client, {.table = "logged", .dim = 32, .seed = seed});
  CountingLoad synced(
      **client,
      {.table = "synced", .dim = 32, .threads = 1, .seed = seed + 1, .durability = Durability::kSynced});
  ASSERT_TRUE(logged.Start().ok());
  ASSERT_TRUE(synced.Start().ok());
  const auto goes_on = [&] {
    const uint64_t a = logged.pushes(), b = synced.pushes();
    return WaitFor(kProgressMs, [&] {
      return logged.pushes() >= a + kPushesBetween && synced.pushes() >= b + kPushesBetween;
    });
  };
  std::mt19937_64 random(seed);
  std::map<std::string, int> deaths;
  for (uint64_t round = 0; round < rounds; ++round) {
    std::vector<FaultPoint> points(std::begin(kPoints), std::end(kPoints));
    std::shuffle(points.begin(), points.end(), random);
    for (const FaultPoint& point : points) {
      const std::string where =
          std::string(point.name) + "=kill@" + std::to_string(1 + random() % point.most);
      SCOPED_TRACE("round " + std::to_string(round) + ", " + where);
      cluster.Kill("server-0");
      ASSERT_TRUE(cluster.StartOne("server-0", {{"PENSTOCK_FAULT_POINTS", where}}).ok());
      ASSERT_EQ(cluster.WaitExit("server-0", kDieMs), 128 + SIGKILL) << cluster.Output("server-0");
      ++deaths[point.name];
      ASSERT_TRUE(cluster.StartOne("server-0").ok());
      ASSERT_TRUE(goes_on()) << logged.first_error() << synced.first_error() << cluster.Output("server-0");
    }
    auto status = Admin(**client).Inspect("status");
    ASSERT_TRUE(status.ok()) << status.status().ToString();
    ASSERT_EQ(status->at("shards").at("quarantined"), 0) << status->at("problems").dump();
  }
  logged.Stop();
  synced.Stop();
  EXPECT_EQ(logged.Check(), "");
  EXPECT_EQ(synced.Check(), "");
  EXPECT_EQ(logged.failed() + synced.failed(), 0u) << logged.first_error() << synced.first_error();
  // Once more from the disk alone.
  EXPECT_EQ(cluster.Terminate("server-0"), 0);
  ASSERT_TRUE(cluster.StartOne("server-0").ok());
  ASSERT_TRUE(cluster.WaitServing().ok());
  EXPECT_EQ(logged.Check(), "");
  EXPECT_EQ(synced.Check(), "");
  int total = 0;
  for (const auto& [name, count] : deaths) total += count;
  for (const auto& point : kPoints) EXPECT_EQ(deaths[point.name], static_cast<int>(rounds)) << point.name;
  std::printf("%d deaths at %zu points; %lu pushes acknowledged at level logged, %lu at level synced\n",
              total, deaths.size(), static_cast<unsigned long>(logged.pushes()),
              static_cast<unsigned long>(synced.pushes()));
}

// --- Damage.

class DamageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(cluster_.Start().ok()) << cluster_.Output("scheduler") << cluster_.Output("server-0");
    auto client = cluster_.Connect();
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = std::move(*client);
    TableSpec spec;
    spec.name = "counters";
    spec.dim = 4;
    spec.optimizer.kind = OptimizerKind::kAdd;
    spec.durability = Durability::kSynced;
    auto table = client_->CreateTable(spec);
    ASSERT_TRUE(table.ok()) << table.status().ToString();
    table_ = *table;
    auto producer = client_->NewProducer();
    ASSERT_TRUE(producer.ok());
    producer_ = *producer;
    for (Key key = 0; key < kRows; ++key)
      keys_[ShardOf(RowHash(key, table_.id), client_->shard_count())].push_back(key);
  }

  Status Push(const std::vector<Key>& keys, uint64_t deadline_ms = 0) {
    return client_
        ->Push(*producer_, {{table_.id, keys, std::vector<float>(keys.size() * 4, 1)}},
               {.deadline_ms = deadline_ms})
        .get()
        .status();
  }
  // The sum of the first column, or -1.
  double Sum(const std::vector<Key>& keys, uint64_t deadline_ms = 0) {
    auto pulled = client_->Pull({{table_.id, keys}}, {.deadline_ms = deadline_ms}).get();
    if (!pulled.ok()) return -1;
    double sum = 0;
    for (size_t i = 0; i < keys.size(); ++i) sum += pulled->values[0][i * 4];
    return sum;
  }
  void Restart() {
    ASSERT_EQ(cluster_.Terminate("server-0"), 0);
    ASSERT_TRUE(cluster_.StartOne("server-0").ok());
  }
  CommandResult Command(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--data-dir", cluster_.dir()});
    return RunPenstock(arguments);
  }

  static constexpr Key kRows = 400;
  static constexpr int kPushes = 30;
  TestCluster cluster_{{.servers = 1, .set = {}, .dir = {}}};
  std::unique_ptr<Client> client_;
  TableSpec table_;
  std::shared_ptr<Producer> producer_;
  std::map<ShardId, std::vector<Key>> keys_;
};

TEST_F(DamageTest, BeforeTheLastSyncedByteQuarantinesThatShardAlone) {
  ASSERT_EQ(keys_.size(), client_->shard_count()) << "every shard has rows";
  for (int i = 0; i < kPushes; ++i) {
    for (const auto& [shard, keys] : keys_) ASSERT_TRUE(Push(keys).ok());
  }
  ASSERT_EQ(cluster_.Terminate("server-0"), 0);
  const auto found = MiddleOfTheLog(cluster_.dir() + "/server-0/log");
  ASSERT_TRUE(found.ok()) << found.status().ToString();
  const LogPlace& place = *found;
  FlipByte(place.file, place.offset);
  ASSERT_TRUE(cluster_.StartOne("server-0").ok());

  // The others serve, and the damaged one is named.
  for (const auto& [shard, keys] : keys_) {
    if (shard == place.shard) continue;
    ASSERT_EQ(Sum(keys), 1.0 * kPushes * static_cast<double>(keys.size())) << "shard " << shard;
    const Status pushed = Push(keys);
    ASSERT_TRUE(pushed.ok()) << "shard " << shard << ": " << pushed.ToString();
  }
  const std::string name = "1 of 8 shards are quarantined, the first is " + std::to_string(place.shard) + ":";
  const CommandResult sick = Command({"status"});
  EXPECT_EQ(sick.code, 10);
  EXPECT_NE(sick.out.find(name), std::string::npos) << sick.out;
  EXPECT_NE(sick.out.find("1 quarantined"), std::string::npos) << sick.out;
  EXPECT_NE(sick.out.find("7 serving"), std::string::npos) << sick.out;
  EXPECT_EQ(Sum(keys_[place.shard], 500), -1);
  EXPECT_FALSE(Push(keys_[place.shard], 500).ok());
  const CommandResult healthy = Command({"shard", "accept-loss", std::to_string((place.shard + 1) % 8)});
  EXPECT_EQ(healthy.code, 1) << "loss can be accepted of a quarantined shard only";

  const CommandResult accepted = Command({"shard", "accept-loss", std::to_string(place.shard)});
  ASSERT_EQ(accepted.code, 0) << accepted.err;
  ASSERT_TRUE(cluster_.WaitServing().ok()) << cluster_.Output("server-0");
  EXPECT_EQ(Command({"status"}).code, 0);
  const auto& keys = keys_[place.shard];
  // The client has seen the shard in quarantine, and hears by itself that it goes on.
  ASSERT_TRUE(WaitFor(10000, [&] { return Sum(keys, 1000) >= 0; })) << Push(keys, 1000).ToString();
  const double left = Sum(keys);
  std::printf("shard %u was damaged at offset %lu; %.0f of %.0f increments are left\n", place.shard,
              static_cast<unsigned long>(place.offset), left,
              1.0 * kPushes * static_cast<double>(keys.size()));
  EXPECT_GT(left, 0);
  EXPECT_LT(left, 1.0 * kPushes * static_cast<double>(keys.size()));
  const Status pushed = Push(keys);
  ASSERT_TRUE(pushed.ok()) << pushed.ToString();

  // The acceptance outlives a restart, and so does what came after it.
  ASSERT_NO_FATAL_FAILURE(Restart());
  ASSERT_TRUE(cluster_.WaitServing().ok()) << cluster_.Output("server-0");
  EXPECT_EQ(Sum(keys), left + static_cast<double>(keys.size()));
  for (const auto& [shard, others] : keys_) {
    if (shard == place.shard) continue;
    EXPECT_EQ(Sum(others), (kPushes + 1.0) * static_cast<double>(others.size())) << "shard " << shard;
  }
  EXPECT_EQ(Command({"status"}).code, 0);
}

// Nothing was ever synced. What was written is there after a kill, so that the bit did not flip by a write
// that was cut short.
TEST_F(DamageTest, AfterAKillAFlippedBitQuarantinesThatShardAlone) {
  if (PosixFileLayer().BootId() == 0) GTEST_SKIP() << "the boot id of this machine cannot be read";
  TableSpec spec;
  spec.name = "logged";
  spec.dim = 4;
  spec.optimizer.kind = OptimizerKind::kAdd;
  auto table = client_->CreateTable(spec);
  ASSERT_TRUE(table.ok()) << table.status().ToString();
  table_ = *table;
  keys_.clear();
  for (Key key = 0; key < kRows; ++key)
    keys_[ShardOf(RowHash(key, table_.id), client_->shard_count())].push_back(key);
  for (int i = 0; i < kPushes; ++i) {
    for (const auto& [shard, keys] : keys_) ASSERT_TRUE(Push(keys).ok());
  }
  cluster_.Kill("server-0");
  const auto place = MiddleOfTheLog(cluster_.dir() + "/server-0/log");
  ASSERT_TRUE(place.ok()) << place.status().ToString();
  FlipByte(place->file, place->offset);
  ASSERT_TRUE(cluster_.StartOne("server-0").ok());
  for (const auto& [shard, keys] : keys_) {
    if (shard == place->shard) continue;
    ASSERT_EQ(Sum(keys), 1.0 * kPushes * static_cast<double>(keys.size())) << "shard " << shard;
  }
  const CommandResult status = Command({"status"});
  const std::string name =
      "1 of 8 shards are quarantined, the first is " + std::to_string(place->shard) + ":";
  EXPECT_NE(status.out.find(name), std::string::npos) << status.out;
}

// What was set aside while the shard waited for the operator is folded and goes, in the same life of the
// server.
TEST_F(DamageTest, AnAcceptedLossIsFolded) {
  for (int i = 0; i < kPushes; ++i) {
    for (const auto& [shard, keys] : keys_) ASSERT_TRUE(Push(keys).ok());
  }
  ASSERT_EQ(cluster_.Terminate("server-0"), 0);
  const std::string log = cluster_.dir() + "/server-0/log";
  const auto place = MiddleOfTheLog(log);
  ASSERT_TRUE(place.ok()) << place.status().ToString();
  FlipByte(place->file, place->offset);
  // Small enough to be folded by itself: a fold of all shards cannot be asked for while one is quarantined.
  ASSERT_TRUE(
      cluster_.StartOne("server-0", {}, {"server.fold_bytes=1048576", "server.segment_bytes=1048576"}).ok());
  const auto set_aside = [&] {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(log)) {
      const auto name = ParseSegmentFileName(entry.path().filename().string());
      count += name && name->aside;
    }
    return count;
  };
  const auto folds = [&] { return cluster_.Metric("server-0", "penstock_server_folds_total"); };
  const std::vector<Key>& others = keys_[(place->shard + 1) % 8];
  ASSERT_TRUE(WaitFor(20000, [&] { return folds() >= 0; })) << cluster_.Output("server-0");
  const double before = folds();
  double pushed = kPushes;
  ASSERT_TRUE(WaitFor(20000, [&] {
    EXPECT_TRUE(Push(others).ok());
    ++pushed;
    return folds() > before;
  })) << cluster_.Output("server-0");
  EXPECT_GT(set_aside(), 0) << "of the shard that is quarantined";

  const CommandResult accepted = Command({"shard", "accept-loss", "--all"});
  ASSERT_EQ(accepted.code, 0) << accepted.err;
  EXPECT_NE(accepted.out.find("shard " + std::to_string(place->shard)), std::string::npos) << accepted.out;
  ASSERT_TRUE(cluster_.WaitServing().ok()) << cluster_.Output("server-0");
  const std::vector<Key>& keys = keys_[place->shard];
  ASSERT_TRUE(WaitFor(10000, [&] { return Sum(keys, 1000) >= 0; }));
  const double left = Sum(keys);
  ASSERT_TRUE(Push(keys).ok());
  ASSERT_TRUE(Admin(*client_).Fold().ok());
  EXPECT_TRUE(WaitFor(20000, [&] { return set_aside() == 0; })) << cluster_.Output("server-0");
  // From the base alone.
  ASSERT_NO_FATAL_FAILURE(Restart());
  ASSERT_TRUE(cluster_.WaitServing().ok()) << cluster_.Output("server-0");
  EXPECT_EQ(Sum(keys), left + static_cast<double>(keys.size()));
  EXPECT_EQ(Sum(others), pushed * static_cast<double>(others.size()));
}

// The server finds it when it has begun to serve, and nobody has another copy.
TEST_F(DamageTest, OfTheBaseEndsTheServerWithItsName) {
  for (const auto& [shard, keys] : keys_) ASSERT_TRUE(Push(keys).ok());
  ASSERT_TRUE(Admin(*client_).Fold().ok());
  ASSERT_EQ(cluster_.Terminate("server-0"), 0);
  const std::string file = FlipByteOfBase(cluster_.dir() + "/server-0");
  ASSERT_FALSE(file.empty());
  for (const char* start : {"the first", "one more"}) {
    SCOPED_TRACE(start);
    ASSERT_TRUE(cluster_.StartOne("server-0").ok());
    EXPECT_EQ(cluster_.WaitExit("server-0", 30000), 1);
    const std::string said = cluster_.Output("server-0");
    EXPECT_NE(said.find(std::filesystem::path(file).filename()), std::string::npos) << said;
    // So does the status, for as long as it is down.
    const CommandResult status = Command({"status"});
    EXPECT_EQ(status.code, 10);
    EXPECT_NE(status.out.find("problem:  server-0 cannot start: "), std::string::npos) << status.out;
    EXPECT_NE(status.out.find(std::filesystem::path(file).filename()), std::string::npos) << status.out;
  }
  FlipByteOfBase(cluster_.dir() + "/server-0");
  ASSERT_TRUE(cluster_.StartOne("server-0").ok());
  ASSERT_TRUE(cluster_.WaitServing().ok()) << cluster_.Output("server-0");
  for (const auto& [shard, keys] : keys_) EXPECT_EQ(Sum(keys), static_cast<double>(keys.size()));
  EXPECT_EQ(Command({"status"}).code, 0);
}

}  // namespace
}  // namespace penstock
