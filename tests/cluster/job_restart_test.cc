// A training job that outlives its processes: all of them killed at once, workers killed again and again, and
// a worker that falls silent. Each example counts exactly once.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/atomic_file.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr double kOptimum = 10529.5626;  // of the objective on a9a
constexpr double kTolerance = 0.005;

// PENSTOCK_PASSES for another length of the jobs.
uint64_t Passes(uint64_t otherwise) {
  const char* text = std::getenv("PENSTOCK_PASSES");
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class JobRestartTest : public ::testing::Test {
 protected:
  void Begin(const CommandCluster::Options& options, uint64_t passes) {
    cluster_ = std::make_unique<CommandCluster>(options);
    data_ = A9aOrGenerated(cluster_->folder());
    passes_ = passes;
    total_ = passes * data_.records;
    const Status up = cluster_->Up();
    ASSERT_TRUE(up.ok()) << up.ToString();
    auto train = cluster_->Train(
        PENSTOCK_SOURCE_DIR "/conf/jobs/a9a_logistic.toml",
        {"data.train=" + data_.train, "data.test=" + data_.test, "train.passes=" + std::to_string(passes)});
    ASSERT_TRUE(train.ok()) << train.status().ToString();
    train_ = std::make_unique<ChildProgram>(std::move(*train));
    Connect();
  }

  void Connect() {
    auto client = cluster_->Connect();
    ASSERT_TRUE(client.ok()) << client.status().ToString() << cluster_->Output();
    client_ = std::move(*client);
  }

  // The job as the scheduler shows it; an empty object before it was submitted.
  json Job() {
    auto job = Admin(*client_).Inspect("job", "1");
    return job.ok() ? *job : json::object();
  }
  uint64_t Examples() { return Job().value("examples", uint64_t{0}); }
  // Waits until this share of all examples has been trained on.
  bool WaitShare(double share) {
    return WaitFor(60000, [&] { return Examples() >= share * static_cast<double>(total_); });
  }

  // The follower of the job ends well, and so have the figures and the cluster.
  void ExpectDone() {
    ASSERT_EQ(train_->WaitExit(180000), 0) << cluster_->TrainOutput() << cluster_->Output();
    const auto report = json::parse(*ReadWholeFile(cluster_->report()));
    EXPECT_EQ(report.at("status"), "done");
    EXPECT_EQ(report.at("examples"), total_);
    EXPECT_EQ(report.at("servers"), 2);
    EXPECT_EQ(report.at("workers"), 2);
    const json& train = report.at("metrics").at("train");
    const json& test = report.at("metrics").at("test");
    const double objective = train.at("objective");
    std::printf("%s, %lu passes: objective %.4f, test logloss %.4f, accuracy %.4f, %.1f s\n",
                data_.a9a ? "a9a" : "generated data", static_cast<unsigned long>(passes_), objective,
                test.at("loss").get<double>(), test.at("accuracy").get<double>(),
                report.at("seconds").get<double>());
    if (data_.a9a) {
      EXPECT_GE(objective, kOptimum * (1 - 1e-6));
      EXPECT_LE(objective, kOptimum * (1 + kTolerance));
    } else {
      EXPECT_GE(test.at("accuracy"), 0.85);
    }
    const CommandResult shown =
        RunPenstock({"job", "show", "1", "--data-dir", cluster_->data_dir(), "-o", "json"});
    ASSERT_EQ(shown.code, 0) << shown.err;
    const auto job = json::parse(shown.out);
    EXPECT_EQ(job.at("state"), "done");
    EXPECT_EQ(job.at("examples"), passes_ * data_.records);
    EXPECT_EQ(job.at("examples_total"), passes_ * data_.records);
    EXPECT_EQ(job.at("bad_records"), 0);
    const CommandResult status = RunPenstock({"status", "--data-dir", cluster_->data_dir(), "-o", "json"});
    const auto health = json::parse(status.out);
    // Nothing but that they were started so often.
    for (const std::string problem : health.at("problems"))
      EXPECT_NE(problem.find(" times within 10 minutes"), std::string::npos) << problem;
    client_.reset();
    EXPECT_EQ(cluster_->Down(), 0);
    EXPECT_TRUE(cluster_->Children().empty());
  }

  std::unique_ptr<CommandCluster> cluster_;
  std::unique_ptr<ChildProgram> train_;
  std::unique_ptr<Client> client_;
  TrainingData data_;
  uint64_t passes_ = 0, total_ = 0;
};

TEST_F(JobRestartTest, EveryProcessKilledInTheMiddle) {
  ASSERT_NO_FATAL_FAILURE(Begin({.servers = 2, .workers = 2, .set = {}}, Passes(20)));
  for (const double share : {0.25, 0.6}) {
    ASSERT_TRUE(WaitShare(share)) << cluster_->TrainOutput();
    ASSERT_EQ(Job().at("state"), "running");
    const uint64_t before = Examples();
    client_.reset();
    ASSERT_EQ(cluster_->KillAll(), 6);
    std::printf("killed 6 processes after %lu of %lu examples\n", static_cast<unsigned long>(before),
                static_cast<unsigned long>(total_));
    const Status up = cluster_->Up();
    ASSERT_TRUE(up.ok()) << up.ToString();
    ASSERT_NO_FATAL_FAILURE(Connect());
  }
  EXPECT_NE(cluster_->Output().find("goes on: a9a_logistic (job 1)"), std::string::npos)
      << cluster_->Output();
  ExpectDone();
}

TEST_F(JobRestartTest, WorkersKilledAgainAndAgain) {
  constexpr int kKills = 8;
  ASSERT_NO_FATAL_FAILURE(Begin({.servers = 2, .workers = 2, .set = {}}, Passes(30)));
  for (int kill = 0; kill < kKills; ++kill) {
    ASSERT_TRUE(WaitShare(0.05 + 0.1 * kill)) << cluster_->TrainOutput();
    ASSERT_EQ(Job().at("phase"), "train") << "the job was over too soon";
    const std::string victim = "worker-" + std::to_string(kill % 2 + 1);
    ASSERT_TRUE(WaitFor(20000, [&] { return cluster_->Children().contains(victim); }));
    ASSERT_EQ(::kill(cluster_->Children().at(victim), SIGKILL), 0);
  }
  ExpectDone();
}

TEST_F(JobRestartTest, ASilentWorkersPartitionsGoToAnother) {
  ASSERT_NO_FATAL_FAILURE(
      Begin({.servers = 2, .workers = 2, .set = {"scheduler.lease_ms=1000"}}, Passes(20)));
  const pid_t silent = cluster_->Children().at("worker-1");
  for (const double share : {0.1, 0.4, 0.7}) {
    ASSERT_TRUE(WaitShare(share)) << cluster_->TrainOutput();
    ASSERT_EQ(::kill(silent, SIGSTOP), 0);
    // A pass ends only when all its partitions are done, the silent worker's among them: two passes on.
    ASSERT_TRUE(WaitShare(share + 0.15)) << cluster_->TrainOutput();
    // It goes on with pushes and reports of a lease that it no longer has.
    ASSERT_EQ(::kill(silent, SIGCONT), 0);
  }
  ExpectDone();
}

}  // namespace
}  // namespace penstock
