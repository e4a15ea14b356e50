// What a client's token is good for in a whole cluster: training on files below worker.data_roots, and
// nothing that is an operator's.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/base/atomic_file.h"
#include "common/net/identity.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

void ExpectSaid(const CommandResult& result, int code, const std::vector<std::string>& parts) {
  EXPECT_EQ(result.code, code) << result.err << result.out;
  for (const auto& part : parts)
    EXPECT_NE(result.err.find(part), std::string::npos) << "no '" << part << "' in: " << result.err;
}

TEST(ClusterTokens, AClientTrainsOnWhatIsBelowTheRoots) {
  TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() + "/roots");
  const std::string inside = folder.Write("roots/data.libsvm", GenerateLibsvm(500, 1));
  const std::string outside = folder.Write("data.libsvm", GenerateLibsvm(500, 1));
  const std::string job = folder.Write(
      "job.toml",
      "[job]\nname = \"theirs\"\n[data]\ntrain = \"x\"\n[model]\nkind = \"linear\"\nfeatures = 124\n");
  TestCluster cluster({.servers = 1,
                       .workers = 1,
                       .set = {"worker.data_roots=[\"" + folder.path() + "/roots\"]"},
                       .dir = {}});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler") << cluster.Output("worker-0");
  const std::string address = *ReadWholeFile(cluster.scheduler_address());
  const auto run = [&](std::vector<std::string> words, const std::string& token_file) {
    for (const auto& word : {std::string("--scheduler"), address.substr(0, address.find('\n')),
                             std::string("--token-file"), token_file})
      words.push_back(word);
    return RunPenstock(words);
  };
  const std::string client = cluster.client_token_file(), op = cluster.token_file();
  ExpectSaid(run({"train", job, "--set", "data.train=" + inside}, client), 0, {});
  ExpectSaid(run({"train", job, "--set", "data.train=" + outside}, client), 1,
             {"data.train", outside, "worker.data_roots", folder.path() + "/roots"});
  ExpectSaid(run({"train", job, "--set", "data.train=" + inside, "--set", "data.test=" + outside}, client), 1,
             {"data.test", "worker.data_roots"});
  ExpectSaid(run({"train", job, "--set", "data.train=" + outside}, op), 0, {});

  ExpectSaid(run({"shard", "accept-loss", "0"}, client), 4,
             {"acceptLoss", "client token", "allowed is operator"});
  ExpectSaid(run({"cluster", "copies", "2"}, client), 4, {"setCopies", "allowed is operator"});
  ExpectSaid(run({"shard", "accept-loss", "0"}, cluster.node_token_file()), 4, {"allowed is operator"});
  ExpectSaid(run({"status"}, client), 0, {});
}

TEST(ClusterTokens, UpMakesThreeOfThem) {
  CommandCluster cluster({.servers = 1, .workers = 1, .set = {}});
  // A folder of a version that had one token.
  std::filesystem::create_directories(cluster.data_dir());
  const std::string former = cluster.data_dir() + "/cluster.token";
  ASSERT_TRUE(WriteFileAtomically(former, std::string(64, 'a') + "\n", 0600).ok());
  const Status up = cluster.Up();
  ASSERT_TRUE(up.ok()) << up.ToString();
  std::vector<std::string> tokens;
  for (const std::string name : {"node", "operator", "client"}) {
    const std::string path = cluster.data_dir() + "/" + name + ".token";
    struct stat file;
    ASSERT_EQ(stat(path.c_str(), &file), 0) << path;
    EXPECT_EQ(file.st_mode & 07777, 0600u) << path;
    tokens.push_back(*ReadTokenFile(path));
  }
  EXPECT_NE(tokens[0], tokens[1]);
  EXPECT_NE(tokens[1], tokens[2]);
  EXPECT_NE(cluster.Output().find("client.token"), std::string::npos) << cluster.Output();
  EXPECT_NE(cluster.Output().find(former + " is of an earlier version"), std::string::npos)
      << cluster.Output();
  EXPECT_EQ(RunPenstock({"status", "--data-dir", cluster.data_dir()}).code, 0);
  EXPECT_EQ(RunPenstock(
                {"status", "--scheduler", cluster.data_dir() + "/scheduler/address", "--token-file", former})
                .code,
            4);
  EXPECT_EQ(cluster.Down(), 0);
}

}  // namespace
}  // namespace penstock
