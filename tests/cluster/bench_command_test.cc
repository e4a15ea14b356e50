// penstock bench over whole clusters, as small as it goes: the shape of its reports, that every way of
// measuring gets through its own checks, and that a run which loses updates fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/atomic_file.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kShort{"--seconds", "0.2", "--memory-lag-ms", "100", "--repeats", "2"};

// The report of `penstock bench` with these words; a failure of the command is one of the test.
nlohmann::json Bench(std::vector<std::string> words, const std::vector<std::string>& more = kShort) {
  words.insert(words.begin(), "bench");
  words.insert(words.end(), more.begin(), more.end());
  words.insert(words.end(), {"--limit-seconds", "0.01", "--output", "json"});
  const CommandResult result = RunPenstock(words, 120000);
  EXPECT_EQ(result.code, 0) << result.err;
  auto report = nlohmann::json::parse(result.out, nullptr, false);
  EXPECT_TRUE(report.is_object()) << result.out;
  return report.is_object() ? report
                            : nlohmann::json{{"limit", nullptr}, {"results", nlohmann::json::array()}};
}

void ExpectSpread(const nlohmann::json& spread) {
  ASSERT_TRUE(spread.is_object()) << spread;
  EXPECT_GT(spread["min"], 0);
  EXPECT_LE(spread["min"], spread["median"]);
  EXPECT_LE(spread["median"], spread["max"]);
}

TEST(BenchCommand, EveryReportHasTheLimitAndTheMachine) {
  const auto report = Bench({"limit"}, {"--pin"});
  EXPECT_EQ(report["results"], nlohmann::json::array());
  EXPECT_GT(report["machine"]["cpus"], 0);
  for (const char* key : {"tcp_bytes_per_second", "pingpong_p50_us", "pingpong_spin_p50_us",
                          "memcpy_bytes_per_second", "first_touch_bytes_per_second"})
    EXPECT_GT(report["limit"][key], 0) << key;
}

TEST(BenchCommand, RowsWithTwoServersAndTwoWorkers) {
  for (const char* work : {"step", "push", "pull"}) {
    SCOPED_TRACE(work);
    const auto report = Bench({work, "--rows", "5000", "--keys", "100", "--dim", "3", "--batches", "50",
                               "--servers", "2", "--workers", "2", "--pin"});
    EXPECT_GT(report["limit"]["tcp_bytes_per_second"], 0);
    const bool pushes = std::string(work) != "pull";
    ASSERT_EQ(report["results"].size(), pushes ? 2u : 1u);
    for (const auto& result : report["results"]) {
      EXPECT_EQ(result["work"], work);
      EXPECT_EQ(result["servers"], 2);
      EXPECT_EQ(result["workers"], 2);
      EXPECT_EQ(result["checked"], true);
      EXPECT_GT(result["calls"], 0);
      EXPECT_GT(result["ratio_to_limit"], 0);
      ExpectSpread(result["rows_per_second"]);
      ExpectSpread(result["payload_bytes_per_second"]);
    }
    EXPECT_EQ(report["results"][0]["log_and_fold"], "on");
    if (pushes) {
      EXPECT_EQ(report["results"][1]["log_and_fold"], "off");
      EXPECT_GT(report["results"][0]["folds_done"], 0);
      EXPECT_GT(report["results"][0]["logged_bytes"], 0);
      EXPECT_EQ(report["results"][1]["folds_done"], 0);
      // The table that is dropped in the end may be logged as such already.
      EXPECT_LT(report["results"][1]["logged_bytes"].get<uint64_t>(),
                report["results"][0]["logged_bytes"].get<uint64_t>() / 10);
    }
  }
}

TEST(BenchCommand, SkewedBatchesAndOtherOptimizersAreCheckedToo) {
  Bench({"step", "--rows", "1000", "--keys", "2000", "--skew", "zipf:1.05", "--batches", "20", "--durability",
         "logged"});
  Bench({"push", "--rows", "5000", "--keys", "100", "--optimizer", "adam", "--batches", "20", "--workers",
         "2", "--skip-log-off"});
}

TEST(BenchCommand, DenseTensor) {
  const auto report = Bench({"dense", "--mib", "4", "--slice-mib", "1", "--skip-log-off"});
  ASSERT_EQ(report["results"].size(), 2u);
  EXPECT_EQ(report["results"][0]["work"], "dense push");
  EXPECT_EQ(report["results"][1]["work"], "dense pull");
  for (const auto& result : report["results"]) ExpectSpread(result["payload_bytes_per_second"]);
}

TEST(BenchCommand, Latency) {
  const auto report = Bench({"latency", "--rows", "1000"});
  ASSERT_EQ(report["results"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const auto& result = report["results"][i];
    EXPECT_EQ(result["work"], i % 2 == 0 ? "pull" : "push");
    EXPECT_EQ(result["waiting"], i < 2 ? "sleeping" : "spinning");
    EXPECT_EQ(result["spin_us"], i < 2 ? 0 : 1000);
    ExpectSpread(result["p50_us"]);
    ExpectSpread(result["p99_us"]);
    ExpectSpread(result["p999_us"]);
    EXPECT_LE(result["p50_us"]["median"], result["p99_us"]["median"]);
    EXPECT_GT(result["ratio_to_pingpong"], 0);
  }
}

TEST(BenchCommand, ALineOfTheReportForEveryRow) {
  const TemporaryFolder folder;
  const std::string report = folder.path() + "/benchmarks.md";
  const CommandResult result = RunPenstock({"bench", "all", "--quick", "--pin", "--report", report}, 500000);
  EXPECT_EQ(result.code, 0) << result.err;
  const auto page = ReadWholeFile(report);
  ASSERT_TRUE(page.ok()) << result.err;
  for (const char* work : {"step of 16 floats", "dense tensor of 64 MiB, pull", "pull of one row, sleeping",
                           "pull of one row, spinning", "Zipf 1.05", "10M rows", "resident", "replay",
                           "reader of csv", "training of `deep`"})
    EXPECT_THAT(*page, HasSubstr(work));
  EXPECT_THAT(*page, testing::Not(HasSubstr("not measured"))) << *page;
}

TEST(BenchCommand, ServerCodeAndReaders) {
  EXPECT_EQ(
      Bench({"store", "--rows", "5000", "--keys", "100"}, {"--seconds", "0.05", "--repeats", "1"})["results"]
          .size(),
      2u);
  EXPECT_EQ(Bench({"log", "--mib", "1"}, {"--repeats", "1"})["results"].size(), 1u);
  EXPECT_EQ(
      Bench({"train", "--model", "fm", "--records", "5000"}, {"--passes", "1", "--repeats", "1"})["results"]
          .size(),
      1u);
}

TEST(BenchCommand, ARunThatLosesUpdatesFails) {
  // Nothing is logged: what was acknowledged is gone with the server's process.
  TestCluster cluster({.servers = 1, .set = {"server.memory_lag_ms=86400000"}});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  const TemporaryFolder folder;
  const std::string errors = folder.path() + "/err";
  constexpr int kRows = 100;
  auto bench = ChildProgram::Start(
      {.argv = {ProgramFolder() + "/penstock", "bench", "push", "--scheduler", cluster.scheduler_address(),
                "--token-file", cluster.token_file(), "--rows", std::to_string(kRows), "--keys", "10",
                "--batches", "50", "--seconds", "4", "--memory-lag-ms", "100", "--repeats", "1"},
       .output = folder.path() + "/out",
       .errors = errors,
       .environment = {}});
  ASSERT_TRUE(bench.ok()) << bench.status().ToString();
  // Well inside the measured time: past the filling and the warm-up, and before a fold is asked for.
  ASSERT_TRUE(WaitFor(
      60000, [&] { return cluster.Metric("server-0", "penstock_server_push_rows_total") > 20 * kRows; }));
  cluster.Kill("server-0");
  ASSERT_TRUE(cluster.StartOne("server-0").ok());
  EXPECT_EQ(bench->WaitExit(60000), 1) << *ReadWholeFile(errors);
  EXPECT_THAT(*ReadWholeFile(errors), HasSubstr("but the acknowledged pushes make"));
}

TEST(Fold, IsBegunWhenAClientAsks) {
  TestCluster cluster({.servers = 2, .set = {"server.memory_lag_ms=86400000"}});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler");
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok());
  auto table = (*client)->CreateTable({.name = "t", .dim = 1, .durability = Durability::kMemory});
  ASSERT_TRUE(table.ok());
  auto producer = (*client)->NewProducer();
  ASSERT_TRUE(producer.ok());
  std::vector<Key> keys(1000);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = i;
  ASSERT_TRUE(
      (*client)->Push(**producer, {{table->id, keys, std::vector<float>(keys.size(), 1.0f)}}).get().ok());
  const auto folds = [&](const std::string& server) {
    return cluster.Metric(server, "penstock_server_folds_total");
  };
  EXPECT_EQ(folds("server-0"), 0);
  const Status asked = Admin(**client).Fold();
  ASSERT_TRUE(asked.ok()) << asked.ToString();
  for (const char* server : {"server-0", "server-1"})
    EXPECT_TRUE(WaitFor(20000, [&] { return folds(server) >= 1; })) << server << cluster.Output(server);
  // All that was held back is in the base, so the ends of the processes lose nothing.
  for (const char* server : {"server-0", "server-1"}) {
    cluster.Kill(server);
    ASSERT_TRUE(cluster.StartOne(server).ok());
  }
  ASSERT_TRUE(cluster.WaitServing().ok());
  const auto pulled = (*client)->Pull({{table->id, keys}}).get();
  ASSERT_TRUE(pulled.ok()) << pulled.status().ToString();
  for (const float value : pulled->values[0]) ASSERT_FLOAT_EQ(value, -0.01f);
}

}  // namespace
}  // namespace penstock
