// A server, and a whole cluster, on a disk that somebody else fills: a small tmpfs, where mounting one is
// allowed.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/cluster/counting_load.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/small_disk.h"
#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

TEST(FullDisk, PushesWaitPullsGoOnAndNothingIsLost) {
  TestCluster cluster(
      {.servers = 1, .set = {"server.fold_bytes=1048576", "server.segment_bytes=1048576"}, .dir = {}});
  const std::string folder = cluster.dir() + "/server-0";
  SmallDisk disk(folder, "48m");
  if (!disk.error().empty()) GTEST_SKIP() << "no tmpfs can be mounted here: " << disk.error();
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler") << cluster.Output("server-0");
  auto client = cluster.Connect(120000);
  ASSERT_TRUE(client.ok()) << client.status().ToString();
  CountingLoad load(**client, {.dim = 32});
  ASSERT_TRUE(load.Start().ok());
  auto producer = (*client)->NewProducer();
  ASSERT_TRUE(producer.ok());
  auto table = (*client)->OpenTable("counters");
  ASSERT_TRUE(table.ok());
  constexpr Key kOther = 1 << 20;  // a row the load does not touch
  double acknowledged = 0, uncertain = 0;

  for (int round = 1; round <= 3; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    uint64_t before = load.pushes();
    ASSERT_TRUE(WaitFor(30000, [&] { return load.pushes() > before + 300; })) << load.first_error();
    // Filled again and again, as a fold may give some back; until a push is refused.
    Status refused;
    ASSERT_TRUE(WaitFor(
        30000,
        [&] {
          disk.Fill();
          refused = (*client)
                        ->Push(**producer, {{table->id, {kOther}, std::vector<float>(32, 1.0f)}},
                               {.deadline_ms = 500})
                        .get()
                        .status();
          ++(refused.ok() ? acknowledged : uncertain);
          return !refused.ok() && refused.message().find("No space left on device") != std::string::npos;
        }))
        << "the last push: " << refused.ToString() << "\n"
        << cluster.Output("server-0");
    EXPECT_NE(refused.message().find(folder), std::string::npos) << refused.ToString();
    auto pulled = (*client)->Pull({{table->id, {1, 2, 3}}}, {.deadline_ms = 2000}).get();
    EXPECT_TRUE(pulled.ok()) << pulled.status().ToString();
    EXPECT_TRUE(cluster.Running("server-0"));
    // What a server must know before it takes a push of a new table it cannot write down either.
    if (round == 3) {
      ASSERT_TRUE((*client)->CreateTable({.name = "late", .dim = 1}).ok());
    }
    CommandResult status;
    EXPECT_TRUE(WaitFor(
        10000,
        [&] {
          disk.Fill();
          status = RunPenstock({"status", "--data-dir", cluster.dir()});
          return status.code == 10 && status.out.find("server-0: pushes are refused") != std::string::npos &&
                 status.out.find(folder) != std::string::npos &&
                 (round < 3 || status.out.find("new tables and terms are not taken") != std::string::npos);
        }))
        << status.code << " " << status.out << status.err;
    const auto ready = [&] { return HttpGet(folder, "/readyz").find("HTTP/1.1 200") == 0; };
    EXPECT_FALSE(ready()) << HttpGet(folder, "/readyz");
    EXPECT_EQ(cluster.Metric("server-0", "penstock_server_trouble"), 1);
    EXPECT_GE(cluster.Metric("scheduler", "penstock_scheduler_problems"), 1);
    disk.Free();
    EXPECT_TRUE(WaitFor(10000, ready)) << HttpGet(folder, "/readyz");
    EXPECT_TRUE(WaitFor(10000, [&] {
      return RunPenstock({"status", "--data-dir", cluster.dir()}).code == 0;
    }));
    EXPECT_EQ(cluster.Metric("server-0", "penstock_server_trouble"), 0);
    EXPECT_TRUE(
        WaitFor(5000, [&] { return cluster.Metric("scheduler", "penstock_scheduler_problems") == 0; }));
    before = load.pushes();
    ASSERT_TRUE(WaitFor(30000, [&] { return load.pushes() > before + 300; }))
        << load.first_error() << cluster.Output("server-0");
    if (round == 2) {
      // A server that is killed while its disk is full finds what it had acknowledged.
      disk.Fill();
      cluster.Kill("server-0");
      disk.Free();
      ASSERT_TRUE(cluster.StartOne("server-0").ok());
    }
  }
  load.Stop();
  EXPECT_EQ(load.failed(), 0u) << load.first_error();
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ(load.Check(), "");
    auto pulled = (*client)->Pull({{table->id, {kOther}}}).get();
    ASSERT_TRUE(pulled.ok()) << pulled.status().ToString();
    EXPECT_GE(pulled->values[0][0], acknowledged);
    EXPECT_LE(pulled->values[0][0], acknowledged + uncertain);
    EXPECT_EQ(RunPenstock({"status", "--data-dir", cluster.dir()}).code, 0);
    EXPECT_EQ(cluster.Terminate("server-0"), 0);
    ASSERT_TRUE(cluster.StartOne("server-0").ok());
    ASSERT_TRUE(cluster.WaitServing().ok()) << cluster.Output("server-0");
  }
  std::printf("%lu pushes acknowledged, %.0f refused\n", static_cast<unsigned long>(load.pushes()),
              uncertain);
}

TEST(FullDisk, AClusterThatCannotStartSaysSo) {
  TemporaryFolder folder;
  SmallDisk disk(folder.path() + "/disk", "24m");
  if (!disk.error().empty()) GTEST_SKIP() << "no tmpfs can be mounted here: " << disk.error();
  const std::string data = folder.path() + "/disk/data";
  disk.Fill();
  const CommandResult up = RunPenstock({"up", "--data-dir", data, "--detach"});
  EXPECT_EQ(up.code, 1) << up.out << up.err;
  EXPECT_NE((up.out + up.err).find("disk"), std::string::npos) << up.out << up.err;
  disk.Free();
  const std::vector<std::string> small{"up",       "--data-dir", data,
                                       "--detach", "--set",      "server.segment_bytes=1048576"};
  const CommandResult again = RunPenstock(small);
  EXPECT_EQ(again.code, 0) << again.out << again.err;
  EXPECT_EQ(RunPenstock({"status", "--data-dir", data}).code, 0);
  EXPECT_EQ(RunPenstock({"down", "--data-dir", data}).code, 0);
}

}  // namespace
}  // namespace penstock
