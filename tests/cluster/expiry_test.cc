// Admission and expiry from end to end: by time, by passes and by norm; over kill -9 between deletion and
// fold, and after the fold; the command; the interval.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "client/admin.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

// Scans are asked for by the test alone, but for the one that waits for the interval.
const std::string kNever = "server.expire_interval_ms=86400000";
constexpr uint32_t kDim = 4;

TableSpec Spec(const std::string& name, const ExpirySpec& expiry, const AdmissionSpec& admission = {}) {
  TableSpec spec;
  spec.name = name;
  spec.dim = kDim;
  spec.optimizer.kind = OptimizerKind::kAdd;
  spec.initializer = {.kind = InitializerKind::kConstant, .value = 10};
  spec.expiry = expiry;
  spec.admission = admission;
  return spec;
}

std::vector<Key> Range(Key first, Key last) {
  std::vector<Key> keys;
  for (Key key = first; key < last; ++key) keys.push_back(key);
  return keys;
}

class ExpiryTest : public ::testing::Test {
 protected:
  void Begin(const std::vector<std::string>& set) {
    cluster_ = std::make_unique<TestCluster>(TestCluster::Options{.servers = 1, .set = set, .dir = {}});
    ASSERT_TRUE(cluster_->Start().ok()) << cluster_->Output("scheduler") << cluster_->Output("server-0");
    auto client = cluster_->Connect();
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = std::move(*client);
    auto producer = client_->NewProducer();
    ASSERT_TRUE(producer.ok()) << producer.status().ToString();
    producer_ = *producer;
  }

  TableId Create(const TableSpec& spec) {
    const auto created = client_->CreateTable(spec);
    EXPECT_TRUE(created.ok()) << created.status().ToString();
    return created.ok() ? created->id : 0;
  }

  void Push(TableId table, const std::vector<Key>& keys, uint32_t pass = 0, float value = 1) {
    const auto pushed =
        client_
            ->Push(*producer_, {{table, keys, std::vector<float>(keys.size() * kDim, value)}}, {.pass = pass})
            .get();
    EXPECT_TRUE(pushed.ok()) << pushed.status().ToString();
  }

  // The first value of each row.
  std::vector<float> Pull(TableId table, const std::vector<Key>& keys) {
    const auto pulled = client_->Pull({{table, keys}}).get();
    EXPECT_TRUE(pulled.ok()) << pulled.status().ToString();
    std::vector<float> values;
    for (size_t i = 0; pulled.ok() && i < keys.size(); ++i) values.push_back(pulled->values[0][i * kDim]);
    return values;
  }
  // How many of them are stored.
  size_t Stored(TableId table, const std::vector<Key>& keys) {
    const auto pulled = client_->Pull({{table, keys}}, {.stored = true}).get();
    EXPECT_TRUE(pulled.ok()) << pulled.status().ToString();
    return pulled.ok() ? std::count(pulled->stored[0].begin(), pulled->stored[0].end(), 1) : SIZE_MAX;
  }
  static std::vector<float> All(const std::vector<Key>& keys, float value) {
    return std::vector<float>(keys.size(), value);
  }

  ExpiryReport Expire(TableId table, bool dry_run = false) {
    const auto report = Admin(*client_).Expire(table, dry_run, 600000);
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    return report.ok() ? *report : ExpiryReport{};
  }

  uint64_t Rows(TableId table) {
    const auto stats = Admin(*client_).Stats({table}, 600000);
    return stats.ok() ? (*stats)[0].rows : UINT64_MAX;
  }

  std::set<std::string> Segments() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(cluster_->dir() + "/server-0/log")) {
      const std::string name = entry.path().filename();
      if (name.starts_with("log-")) names.insert(name);  // and no spare files
    }
    return names;
  }

  // Until all that is logged now is in the base: pushes into a table of its own fill the log.
  void FoldAll() {
    const TableId filler = Create(Spec("filler", {}));
    const std::set<std::string> before = Segments();
    EXPECT_TRUE(WaitFor(60000, [&] {
      Push(filler, Range(0, 10000));
      const std::set<std::string> now = Segments();
      return std::none_of(before.begin(), before.end(), [&](const auto& name) { return now.contains(name); });
    }));
  }

  uint64_t DataBytes() const {
    uint64_t bytes = 0;
    std::error_code gone;  // between listing and looking
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(cluster_->dir() + "/server-0", gone)) {
      if (entry.path().filename().string().starts_with("spare-")) continue;  // files in reserve
      const uint64_t size = entry.is_regular_file(gone) ? entry.file_size(gone) : 0;
      if (!gone) bytes += size;
    }
    return bytes;
  }

  void KillAndRestart() {
    cluster_->Kill("server-0");
    ASSERT_TRUE(cluster_->StartOne("server-0").ok());
    ASSERT_TRUE(cluster_->WaitServing().ok()) << cluster_->Output("server-0");
  }

  std::unique_ptr<TestCluster> cluster_;
  std::unique_ptr<Client> client_;
  std::shared_ptr<Producer> producer_;
};

TEST_F(ExpiryTest, ByTimeAndOverKillsBeforeAndAfterTheFold) {
  Begin({kNever, "server.fold_bytes=1048576", "server.segment_bytes=1048576"});
  const auto keys = Range(0, 300), kept = Range(1000, 1100);
  const TableId lasting = Create(Spec("lasting", {.ttl_seconds = 100000}));
  Push(lasting, kept);
  for (const Durability durability : {Durability::kLogged, Durability::kMemory}) {
    TableSpec spec = Spec("short-" + std::string(ToString(durability)), {.ttl_seconds = 1});
    spec.durability = durability;
    const TableId table = Create(spec);
    Push(table, keys);
    Push(table, keys);
    ASSERT_TRUE(client_->Flush().ok());
    FoldAll();  // the base holds them
    ASSERT_TRUE(WaitFor(20000, [&] { return Expire(table, /*dry_run=*/true).ttl == keys.size(); }));
    EXPECT_EQ(Pull(table, keys), All(keys, 12)) << "a dry run deletes nothing";
    EXPECT_EQ(Stored(table, keys), keys.size());
    const ExpiryReport report = Expire(table);
    EXPECT_EQ(report.rows, keys.size());
    EXPECT_EQ(report.ttl, keys.size());
    EXPECT_EQ(Pull(table, keys), All(keys, 10));
    EXPECT_EQ(Stored(table, keys), 0u);
    EXPECT_EQ(Rows(table), 0u);

    KillAndRestart();
    EXPECT_EQ(Pull(table, keys), All(keys, 10)) << "killed before the fold";
    EXPECT_EQ(Rows(table), 0u);
    const auto again = Range(0, 100), gone = Range(100, 300);
    Push(table, again);
    EXPECT_EQ(Pull(table, again), All(again, 11)) << "from the initial value";
    EXPECT_EQ(Stored(table, keys), again.size());
    ASSERT_TRUE(client_->Flush().ok());
    FoldAll();
    KillAndRestart();
    EXPECT_EQ(Pull(table, gone), All(gone, 10)) << "killed after the fold";
    EXPECT_EQ(Pull(table, again), All(again, 11));
    EXPECT_EQ(Rows(table), again.size());
  }
  EXPECT_EQ(Expire(lasting).expired(), 0u);
  EXPECT_EQ(Pull(lasting, kept), All(kept, 11));
}

// Much more than the memory budget: most rows are in the base only when they are due. The space of those that
// go is given back. PENSTOCK_EXPIRY_ROWS=16000000 for the long form.
TEST_F(ExpiryTest, RowsThatOnlyTheBaseHas) {
  constexpr size_t kWide = 64;
  const char* asked = std::getenv("PENSTOCK_EXPIRY_ROWS");
  const Key rows = asked == nullptr ? 100000 : std::strtoull(asked, nullptr, 10) / 1000 * 1000;
  const uint64_t budget = std::max<uint64_t>(16 << 20, rows * kWide * sizeof(float) / 8);
  Begin({kNever, "server.memory_budget_bytes=" + std::to_string(budget), "server.fold_bytes=4194304",
         "server.segment_bytes=1048576"});
  TableSpec spec = Spec("large", {.unused_passes = 1});
  spec.dim = kWide;
  const TableId table = Create(spec);
  const auto push = [&](Key first, Key last, uint32_t pass) {
    for (Key key = first; key < last; key += 1000) {
      const auto keys = Range(key, key + 1000);
      const auto pushed =
          client_
              ->Push(*producer_, {{table, keys, std::vector<float>(keys.size() * kWide, 1.0f)}},
                     {.pass = pass})
              .get();
      ASSERT_TRUE(pushed.ok()) << pushed.status().ToString();
    }
  };
  const auto value = [&](Key key) {
    const auto pulled = client_->Pull({{table, {key}}}).get();
    EXPECT_TRUE(pulled.ok()) << pulled.status().ToString();
    return pulled.ok() ? pulled->values[0][kWide - 1] : -1;
  };
  push(0, rows / 2, 1);
  push(rows / 2, rows, 3);
  FoldAll();
  const ExpiryReport due = Expire(table, /*dry_run=*/true);
  EXPECT_EQ(due.rows, rows);
  EXPECT_EQ(due.unused_passes, rows / 2);
  const uint64_t before = DataBytes();
  const auto begun = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  };
  const ExpiryReport report = Expire(table);
  std::printf("%lu rows of %lu deleted in %.1f s\n", static_cast<unsigned long>(report.expired()),
              static_cast<unsigned long>(rows), seconds());
  EXPECT_EQ(report.unused_passes, rows / 2);
  EXPECT_EQ(report.rows, rows);
  FoldAll();  // what is deleted is in the log until then, and how much of it a fold has seen is chance
  // Up to an eighth of the base may stay deletions, with the rows that they delete; and there is the log.
  EXPECT_TRUE(WaitFor(300000, [&] { return DataBytes() < before * 75 / 100; }))
      << before << " bytes became " << DataBytes() << "\n"
      << cluster_->Output("server-0");
  std::printf("%.2f of the disk space after %.1f s\n", static_cast<double>(DataBytes()) / before, seconds());
  for (Key key = 0; key < rows; key += rows / 100 - 1) EXPECT_EQ(value(key), key < rows / 2 ? 10 : 11) << key;

  push(0, 1000, 5);
  EXPECT_EQ(Expire(table).unused_passes, rows / 2);
  KillAndRestart();
  EXPECT_EQ(Expire(table, /*dry_run=*/true).rows, 1000u);
  EXPECT_EQ(value(7), 11);
  EXPECT_EQ(value(rows - 1), 10);
  EXPECT_EQ(Expire(table).expired(), 0u);
}

TEST_F(ExpiryTest, ByPasses) {
  Begin({kNever});
  const TableId table = Create(Spec("passes", {.unused_passes = 1}));
  const auto rare = Range(0, 50), common = Range(50, 300);
  Push(table, rare, 1);
  Push(table, common, 1);
  Push(table, common, 2);
  EXPECT_EQ(Expire(table).expired(), 0u) << "pass 2 is not over";
  KillAndRestart();  // the pass of each row's last push is in the log
  Push(table, common, 3);
  EXPECT_EQ(Expire(table, /*dry_run=*/true).unused_passes, rare.size());
  EXPECT_EQ(Expire(table).unused_passes, rare.size());
  EXPECT_EQ(Pull(table, rare), All(rare, 10));
  EXPECT_EQ(Pull(table, common), All(common, 13));
}

TEST_F(ExpiryTest, ByNormAtTheInterval) {
  Begin({"server.expire_interval_ms=100"});
  TableSpec spec = Spec("norm", {.min_norm = 3});
  spec.initializer = {};
  const TableId table = Create(spec);
  const auto small = Range(0, 50), large = Range(50, 100);
  Push(table, large, 0, 2);
  Push(table, small, 0, 1);
  EXPECT_TRUE(WaitFor(20000, [&] { return Rows(table) == large.size(); }));
  EXPECT_EQ(Pull(table, large), All(large, 2));
  EXPECT_EQ(Pull(table, small), All(small, 0));
}

TEST_F(ExpiryTest, KeysAreAdmittedWithTheirSecondPush) {
  Begin({kNever});
  const TableId table = Create(Spec("admission", {}, {.min_count = 2}));
  const auto once = Range(0, 100), twice = Range(100, 300);
  Push(table, once);
  Push(table, twice);
  EXPECT_EQ(Rows(table), 0u);
  Push(table, twice);
  EXPECT_EQ(Pull(table, once), All(once, 10));
  EXPECT_EQ(Pull(table, twice), All(twice, 11));
  KillAndRestart();
  EXPECT_EQ(Pull(table, twice), All(twice, 11));
  EXPECT_EQ(Rows(table), twice.size());
}

TEST_F(ExpiryTest, TheCommand) {
  Begin({kNever});
  const TableId table = Create(Spec("passes", {.unused_passes = 1}));
  Create(Spec("plain", {}));
  const auto rare = Range(0, 50), common = Range(50, 300);
  Push(table, rare, 1);
  Push(table, common, 3);
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"table"});
    arguments.insert(arguments.end(),
                     {"--scheduler", cluster_->scheduler_address(), "--token-file", cluster_->token_file()});
    return RunPenstock(arguments);
  };
  const CommandResult dry = run({"expire", "passes", "--dry-run", "-o", "json"});
  ASSERT_EQ(dry.code, 0) << dry.err;
  EXPECT_EQ(nlohmann::json::parse(dry.out), nlohmann::json({{"table", "passes"},
                                                            {"dry_run", true},
                                                            {"rows", 300},
                                                            {"expired", 50},
                                                            {"ttl_seconds", 0},
                                                            {"unused_passes", 50},
                                                            {"min_norm", 0}}));
  EXPECT_EQ(Rows(table), 300u);
  const CommandResult wet = run({"expire", "passes"});
  ASSERT_EQ(wet.code, 0) << wet.err;
  EXPECT_THAT(wet.out, HasSubstr("deleted"));
  EXPECT_EQ(Rows(table), 250u);
  const CommandResult plain = run({"expire", "plain"});
  EXPECT_EQ(plain.code, 1);
  EXPECT_THAT(plain.err, HasSubstr("table 'plain' has no rules of expiry"));
  EXPECT_THAT(plain.err, HasSubstr("expiry.ttl_seconds, expiry.unused_passes or expiry.min_norm"));
  const CommandResult described = run({"describe", "passes"});
  EXPECT_THAT(described.out, HasSubstr("expiry/unused_passes"));
}

}  // namespace
}  // namespace penstock
