// Servers and workers of another folder, as if of another machine, that take part in a cluster by
// `penstock up --join`, until they are drained.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/base/atomic_file.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class JoinTest : public testing::Test {
 protected:
  JoinTest() : cluster_({.servers = 1, .workers = 1, .set = {"scheduler.balance_delay_ms=500"}}) {}
  void SetUp() override {
    ASSERT_TRUE(cluster_.Up().ok()) << cluster_.Output();
    const auto address = ReadWholeFile(cluster_.data_dir() + "/scheduler/address");
    ASSERT_TRUE(address.ok());
    scheduler_ = address->substr(0, address->find('\n'));
  }
  ~JoinTest() noexcept override { RunPenstock({"down", "--data-dir", beta()}); }

  // The folder of what joins.
  std::string beta() const { return folder_.path() + "/beta"; }
  CommandResult Join(std::vector<std::string> arguments) {
    const std::vector<std::string> all{"up", "--data-dir", beta(), "--detach"};
    arguments.insert(arguments.begin(), all.begin(), all.end());
    return RunPenstock(arguments);
  }
  // nullptr: it is not there.
  json Node(const std::string& name) {
    const CommandResult nodes = RunPenstock({"node", "ls", "-o", "json", "--data-dir", cluster_.data_dir()});
    for (const json& node : json::parse(nodes.out, nullptr, false)) {
      if (node.value("name", "") == name) return node;
    }
    return nullptr;
  }

  TemporaryFolder folder_;
  CommandCluster cluster_;
  std::string scheduler_;
};

TEST_F(JoinTest, TakesItsShareWorksAndLeavesWithNothingLost) {
  // The tokens came by another way.
  for (const std::string token : {"node.token", "operator.token", "client.token"})
    std::filesystem::copy(cluster_.data_dir() + "/" + token, folder_.path() + "/" + token);
  const CommandResult joined =
      Join({"--join", scheduler_, "--token-file", folder_.path() + "/node.token", "--name", "beta", "--set",
            "server.host=beta", "--set", "server.zone=west"});
  ASSERT_EQ(joined.code, 0) << joined.out << joined.err;
  EXPECT_THAT(joined.out, HasSubstr("has joined the cluster at " + scheduler_ + ": 1 server, 1 worker"));
  // Half of 128, within a few.
  ASSERT_TRUE(WaitFor(60000, [&] { return Node("beta-server-1").value("shards", 0) >= 60; }))
      << Node("beta-server-1").dump();
  EXPECT_EQ(Node("beta-server-1").at("host"), "beta");
  EXPECT_EQ(Node("beta-server-1").at("zone"), "west");
  EXPECT_EQ(Node("beta-worker-1").at("state"), "alive");

  // Both folders are of one cluster.
  const std::string data = folder_.Write("data.libsvm", GenerateLibsvm(500, 1));
  const CommandResult trained =
      RunPenstock({"train", PENSTOCK_SOURCE_DIR "/conf/jobs/a9a_logistic.toml", "--data-dir", beta(), "--set",
                   "data.train=" + data, "--set", "data.test=", "--set", "train.passes=2"});
  EXPECT_EQ(trained.code, 0) << trained.err;
  const CommandResult again = Join({});
  EXPECT_NE(again.code, 0) << "it runs already";

  const CommandResult drained =
      RunPenstock({"node", "drain", "beta-server-1", "--wait", "--data-dir", cluster_.data_dir()});
  EXPECT_EQ(drained.code, 0) << drained.out << drained.err;
  EXPECT_EQ(RunPenstock({"down", "--data-dir", beta()}).code, 0);
  const std::string id = std::to_string(Node("beta-server-1").value("id", 0u));
  CommandResult removed;
  EXPECT_TRUE(WaitFor(20000, [&] {
    removed = RunPenstock({"node", "remove", id, "--data-dir", cluster_.data_dir()});
    return removed.code == 0;
  })) << removed.err;
  const CommandResult status = RunPenstock({"status", "--data-dir", cluster_.data_dir()});
  EXPECT_EQ(status.code, 0) << status.out << "nobody misses it";
}

TEST_F(JoinTest, SaysWhatItLacks) {
  const auto said = [&](const std::vector<std::string>& arguments) {
    const CommandResult refused = Join(arguments);
    EXPECT_NE(refused.code, 0) << refused.out;
    return refused.err;
  };
  EXPECT_THAT(said({"--join", scheduler_}), HasSubstr("--join needs --token-file"));
  EXPECT_THAT(said({"--join", "10.9.9.9:7000"}), HasSubstr("--join 10.9.9.9:7000 needs --address"));
  EXPECT_THAT(said({"--join", "nowhere"}), HasSubstr("--join"));
  const std::string node = folder_.path() + "/node.token";
  EXPECT_THAT(said({"--join", scheduler_, "--token-file", node}),
              HasSubstr(node + " cannot be read: copy the token files"));
  std::filesystem::copy(cluster_.data_dir() + "/node.token", node);
  EXPECT_THAT(said({"--join", scheduler_, "--token-file", node}),
              HasSubstr(folder_.path() + "/operator.token cannot be read"));
  const CommandResult own = RunPenstock({"up", "--data-dir", cluster_.data_dir(), "--join", scheduler_});
  EXPECT_THAT(own.err, HasSubstr("holds a cluster of its own: --join needs another --data-dir"));
  EXPECT_THAT(said({"--servers", "0"}), HasSubstr("--servers 0: must be at least 1"));
}

}  // namespace
}  // namespace penstock
