// A job with consistency ssp: no worker is ever more than train.staleness steps ahead of the slowest, by the
// clocks that pushes carry, as the servers record them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/atomic_file.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr uint64_t kRecords = 3000;
constexpr uint64_t kPasses = 2;

class SspTest : public ::testing::Test {
 protected:
  // Two workers; a step takes the second one ten times as long as the first.
  void Begin() {
    const Status up = cluster_.Start();
    ASSERT_TRUE(up.ok()) << up.ToString();
    ASSERT_TRUE(cluster_.StartOne("worker-0", {{"PENSTOCK_FAULT_POINTS", "worker.step=delay:1"}}).ok());
    ASSERT_TRUE(cluster_.StartOne("worker-1", {{"PENSTOCK_FAULT_POINTS", "worker.step=delay:10"}}).ok());
    data_ = folder_.Write("train.libsvm", GenerateLibsvm(kRecords, 5));
    job_ = folder_.Write("job.toml",
                         "[job]\nname = \"bounded\"\n[data]\ntrain = \"" + data_ +
                             "\"\npartitions = 8\n[model]\nkind = \"linear\"\nfeatures = 124\nl2 = 1.0\n"
                             "l2_all = true\n[optimizer]\nkind = \"sgd\"\nlearning_rate = 0.01\n[train]\n"
                             "consistency = \"ssp\"\nstaleness = 3\nevaluate = false\nbatch_size = 10\n");
    auto client = cluster_.Connect();
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = std::move(*client);
  }

  std::vector<std::string> Target() const {
    return {"--scheduler", *ReadWholeFile(cluster_.scheduler_address()), "--token-file",
            cluster_.token_file()};
  }
  std::vector<std::string> With(std::vector<std::string> words) const {
    for (std::string word : Target()) {
      while (!word.empty() && word.back() == '\n') word.pop_back();
      words.push_back(word);
    }
    return words;
  }

  TemporaryFolder folder_;
  TestCluster cluster_{{.servers = 2, .shards = 8}};
  std::unique_ptr<Client> client_;
  std::string data_, job_;
};

TEST_F(SspTest, NoWorkerIsMoreThanTheBoundAhead) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  const CommandResult trained =
      RunPenstock(With({"train", job_, "--set", "train.passes=" + std::to_string(kPasses)}), 120000);
  ASSERT_EQ(trained.code, 0) << trained.out << trained.err << cluster_.Output("worker-0");
  const auto table = client_->OpenTable("bounded.1/weights");
  ASSERT_TRUE(table.ok()) << table.status().ToString();
  const auto clocks = Admin(*client_).Clocks(table->id);
  ASSERT_TRUE(clocks.ok()) << clocks.status().ToString();
  ASSERT_EQ(clocks->size(), 2u);
  uint64_t most = 0, steps = 0;
  for (const WorkerClock& clock : *clocks) {
    EXPECT_LE(clock.lead, 3u) << "worker " << clock.worker;
    EXPECT_GT(clock.clock, 30u) << "worker " << clock.worker;
    most = std::max(most, clock.lead);
    steps += clock.clock;
    std::printf("node %u: clock %lu, at most %lu ahead\n", clock.worker,
                static_cast<unsigned long>(clock.clock), static_cast<unsigned long>(clock.lead));
  }
  EXPECT_EQ(most, 3u) << "the faster one goes as far as it may";
  EXPECT_GE(steps, kPasses * kRecords / 10);
  const CommandResult shown = RunPenstock(With({"job", "clocks", "1", "-o", "json"}));
  ASSERT_EQ(shown.code, 0) << shown.err;
  const auto job = json::parse(shown.out);
  EXPECT_EQ(job.at("staleness"), 3);
  ASSERT_EQ(job.at("workers").size(), 2u);
  for (const json& worker : job.at("workers")) {
    EXPECT_TRUE(worker.at("worker").get<std::string>().starts_with("worker-")) << shown.out;
    EXPECT_LE(worker.at("most_ahead"), 3);
    EXPECT_GT(worker.at("pushed"), 30);
  }
  const CommandResult text = RunPenstock(With({"job", "clocks", "1"}));
  EXPECT_NE(text.out.find("MOST AHEAD"), std::string::npos) << text.out << text.err;
  // The same job without the bound.
  const CommandResult async =
      RunPenstock(With({"train", job_, "--set", "train.passes=" + std::to_string(kPasses), "--set",
                        "train.consistency=async"}),
                  120000);
  ASSERT_EQ(async.code, 0) << async.err;
  const auto unbounded = Admin(*client_).Clocks(client_->OpenTable("bounded.2/weights")->id);
  ASSERT_TRUE(unbounded.ok());
  most = 0;
  for (const WorkerClock& clock : *unbounded) most = std::max(most, clock.lead);
  EXPECT_GT(most, 3u) << "the record would show more";
}

// A restart of the scheduler keeps the bound, and a killed worker holds nobody back.
TEST_F(SspTest, TheBoundHoldsWhileTheSchedulerIsAwayAndWorkersDie) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  std::vector<std::string> argv = {ProgramFolder() + "/penstock"};
  for (const auto& word : With({"train", job_, "--set", "train.passes=4"})) argv.push_back(word);
  auto train = ChildProgram::Start(
      {.argv = argv, .output = folder_.path() + "/train.out", .errors = "", .environment = {}});
  ASSERT_TRUE(train.ok());
  const auto examples = [&] {
    auto job = Admin(*client_).Inspect("job", "1");
    return job.ok() ? job->value("examples", uint64_t{0}) : 0;
  };
  ASSERT_TRUE(WaitFor(60000, [&] { return examples() > 600; }));
  cluster_.Kill("scheduler");
  ASSERT_TRUE(cluster_.StartOne("scheduler").ok());
  ASSERT_TRUE(cluster_.WaitServing().ok());
  const uint64_t before = examples();
  ASSERT_TRUE(WaitFor(60000, [&] { return examples() > before + 900; }));
  cluster_.Kill("worker-1");
  const uint64_t at_kill = examples();
  ASSERT_TRUE(WaitFor(60000, [&] { return examples() > at_kill + 1500; }))
      << "the dead worker's clock stands";
  ASSERT_TRUE(cluster_.StartOne("worker-1", {{"PENSTOCK_FAULT_POINTS", "worker.step=delay:10"}}).ok());
  ASSERT_TRUE(
      WaitFor(90000, [&] { return Admin(*client_).Inspect("job", "1")->value("state", "") == "done"; }));
  const auto clocks = Admin(*client_).Clocks(client_->OpenTable("bounded.1/weights")->id);
  ASSERT_TRUE(clocks.ok()) << clocks.status().ToString();
  for (const WorkerClock& clock : *clocks) EXPECT_LE(clock.lead, 3u) << "worker " << clock.worker;
}

}  // namespace
}  // namespace penstock
