// A job whose workers wait for a shard that has lost what the job counts as progress: when the operator
// accepts the loss the job goes back to the start of its pass, and what its workers had begun under their
// leases from before counts for nothing. Each example counts exactly once, by the job's ledger.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "client/admin.h"
#include "common/base/atomic_file.h"
#include "tests/cluster/damaged_log.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

constexpr uint64_t kRecords = 20000;

class RewindTest : public ::testing::TestWithParam<std::string> {
 protected:
  void Begin() {
    const Status up = cluster_.Start();
    ASSERT_TRUE(up.ok()) << up.ToString();
    const std::string data = folder_.Write("train.svm", GenerateLibsvm(kRecords, 1));
    std::vector<std::string> argv{ProgramFolder() + "/penstock",
                                  "train",
                                  std::string(PENSTOCK_SOURCE_DIR) + "/conf/jobs/a9a_logistic.toml",
                                  "--scheduler",
                                  cluster_.scheduler_address(),
                                  "--token-file",
                                  cluster_.token_file()};
    for (const std::string& set : {"data.train=" + data, std::string("data.test="),
                                   "train.consistency=" + GetParam(), std::string("train.passes=1"),
                                   std::string("train.batch_size=16"), std::string("train.durability=synced"),
                                   std::string("train.ledger=true"), std::string("train.evaluate=false")}) {
      argv.insert(argv.end(), {"--set", set});
    }
    if (GetParam() != "sync") argv.insert(argv.end(), {"--set", "data.partitions=4"});
    auto train = ChildProgram::Start(
        {.argv = argv, .output = folder_.path() + "/train.out", .errors = "", .environment = {}});
    ASSERT_TRUE(train.ok()) << train.status().ToString();
    train_ = std::make_unique<ChildProgram>(std::move(*train));
    auto client = cluster_.Connect();
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = std::move(*client);
  }

  uint64_t Examples() {
    auto job = Admin(*client_).Inspect("job", "1");
    return job.ok() ? job->value("examples", uint64_t{0}) : 0;
  }

  // Half of what one shard has logged of the job is lost, while its workers push to it.
  void LoseHalf() {
    ASSERT_TRUE(WaitFor(120000, [&] { return Examples() >= kRecords / 2; })) << Output();
    cluster_.Kill("server-0");
    const auto place = MiddleOfTheLog(cluster_.dir() + "/server-0/log");
    ASSERT_TRUE(place.ok()) << place.status().ToString();
    FlipByte(place->file, place->offset);
    shard_ = place->shard;
    ASSERT_TRUE(cluster_.StartOne("server-0").ok());
    ASSERT_TRUE(WaitFor(30000, [&] { return ShardState() == "quarantined"; })) << Output();
  }
  std::string ShardState() {
    auto shard = Admin(*client_).Inspect("shard", std::to_string(shard_));
    return shard.ok() ? shard->value("state", "") : "";
  }
  void Accept() {
    const CommandResult accepted =
        RunPenstock({"shard", "accept-loss", std::to_string(shard_), "--data-dir", cluster_.dir()});
    ASSERT_EQ(accepted.code, 0) << accepted.err;
  }

  void CheckLedger() {
    const auto table = client_->OpenTable("a9a_logistic.1/ledger");
    ASSERT_TRUE(table.ok()) << table.status().ToString();
    TableKeys keys{table->id, std::vector<Key>(kRecords)};
    std::iota(keys.keys.begin(), keys.keys.end(), 0);
    const auto pulled = client_->Pull({keys}).get();
    ASSERT_TRUE(pulled.ok()) << pulled.status().ToString();
    const auto& counts = pulled->values[0];
    const auto wrong = std::count_if(counts.begin(), counts.end(), [](float count) { return count != 1; });
    const auto first = std::find_if(counts.begin(), counts.end(), [](float count) { return count != 1; });
    ASSERT_EQ(wrong, 0) << "the first is example " << first - counts.begin() << ", which was counted "
                        << *first << " times";
  }

  std::string Output() const {
    const auto text = ReadWholeFile(folder_.path() + "/train.out");
    return (text.ok() ? *text : "") + cluster_.Output("scheduler") + cluster_.Output("server-0") +
           cluster_.Output("worker-0") + cluster_.Output("worker-1");
  }

  TemporaryFolder folder_;
  TestCluster cluster_{{.servers = 1, .workers = 2, .set = {"scheduler.lease_ms=1000"}, .dir = {}}};
  std::unique_ptr<ChildProgram> train_;
  std::unique_ptr<Client> client_;
  ShardId shard_ = 0;
};

TEST_P(RewindTest, LeasesFromBeforeAnAcceptedLossPushNothing) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(LoseHalf());
  ASSERT_NO_FATAL_FAILURE(Accept());
  ASSERT_EQ(train_->WaitExit(120000), 0) << Output();
  ASSERT_NO_FATAL_FAILURE(CheckLedger());
}

// It goes on, with what it had begun, when the shard is served again.
TEST_P(RewindTest, AWorkerThatStoodStillPushesNothing) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(LoseHalf());
  cluster_.Signal("worker-1", SIGSTOP);
  ASSERT_NO_FATAL_FAILURE(Accept());
  ASSERT_TRUE(WaitFor(30000, [&] { return ShardState() == "serving"; })) << Output();
  cluster_.Signal("worker-1", SIGCONT);
  ASSERT_EQ(train_->WaitExit(120000), 0) << Output();
  ASSERT_NO_FATAL_FAILURE(CheckLedger());
}

INSTANTIATE_TEST_SUITE_P(Consistency, RewindTest, ::testing::Values("async", "ssp", "sync"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace penstock
