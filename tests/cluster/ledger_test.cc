// Every example of every pass counts exactly once, by what the workers push: a ledger table that gets +1 for
// each example together with its gradients, while workers are killed and one is stopped for longer than its
// lease.
//
// PENSTOCK_KILLS=20 for the long form.
#include "worker/train/ledger.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <numeric>

#include "client/admin.h"
#include "data/data_plan.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kWorkers = 3;
constexpr int kLeaseMs = 1000;

int Kills() {
  const char* text = std::getenv("PENSTOCK_KILLS");
  return text == nullptr ? 3 : std::atoi(text);
}

class LedgerTest : public ::testing::TestWithParam<std::vector<std::string>> {
 protected:
  void Begin() {
    data_ = A9aOrGenerated(cluster_.folder());
    passes_ = 12 + static_cast<uint64_t>(3 * Kills());
    const Status up = cluster_.Up();
    ASSERT_TRUE(up.ok()) << up.ToString();
    std::vector<std::string> set{"data.train=" + data_.train, "data.test=" + data_.test, "train.ledger=true",
                                 "train.evaluate=false", "train.passes=" + std::to_string(passes_)};
    if (Kills() > 5) set.push_back("train.batch_size=16");  // long enough for them all
    set.insert(set.end(), GetParam().begin(), GetParam().end());
    auto train = cluster_.Train(PENSTOCK_SOURCE_DIR "/conf/jobs/a9a_logistic.toml", set);
    ASSERT_TRUE(train.ok()) << train.status().ToString();
    train_ = std::make_unique<ChildProgram>(std::move(*train));
    auto client = cluster_.Connect();
    ASSERT_TRUE(client.ok()) << client.status().ToString() << cluster_.Output();
    client_ = std::move(*client);
  }

  uint64_t Examples() {
    auto job = Admin(*client_).Inspect("job", "1");
    return job.ok() ? job->value("examples", uint64_t{0}) : 0;
  }
  bool WaitShare(double share) {
    const double total = static_cast<double>(passes_ * data_.records);
    return WaitFor(240000, [&] { return static_cast<double>(Examples()) >= share * total; });
  }
  bool Training() { return Admin(*client_).Inspect("job", "1")->value("state", "") == "running"; }

  void KillWorkers() {
    for (int kill = 0; kill < Kills(); ++kill) {
      ASSERT_TRUE(WaitShare(0.05 + 0.6 * kill / Kills())) << cluster_.TrainOutput();
      ASSERT_TRUE(Training()) << "the job was over too soon";
      // Whichever of them lives: the launcher waits longer and longer before it starts one again.
      pid_t victim = 0;
      ASSERT_TRUE(WaitFor(20000, [&] {
        const auto children = cluster_.Children();
        for (int i = 0; i + 1 < kWorkers && victim == 0; ++i) {
          const auto it = children.find("worker-" + std::to_string((kill + i) % (kWorkers - 1) + 1));
          if (it != children.end()) victim = it->second;
        }
        return victim != 0;
      }));
      ASSERT_EQ(::kill(victim, SIGKILL), 0);
    }
  }

  // Longer than its lease, and until others have done what it left.
  void StopAWorker() {
    const pid_t victim = cluster_.Children().at("worker-" + std::to_string(kWorkers));
    ASSERT_TRUE(WaitShare(0.7)) << cluster_.TrainOutput();
    ASSERT_EQ(::kill(victim, SIGSTOP), 0);
    const auto stopped = Clock::now();
    // Two passes: a pass ends only when all its partitions are done.
    ASSERT_TRUE(WaitShare(0.7 + 2.1 / static_cast<double>(passes_))) << cluster_.TrainOutput();
    ASSERT_TRUE(
        WaitFor(10000, [&] { return Clock::now() - stopped > std::chrono::milliseconds(2 * kLeaseMs); }));
    ASSERT_EQ(::kill(victim, SIGCONT), 0);
  }

  // Each row by itself, and that there are no others.
  void CheckLedger() {
    const auto table = client_->OpenTable("a9a_logistic.1/ledger");
    ASSERT_TRUE(table.ok()) << table.status().ToString();
    for (uint64_t pass = 0; pass < passes_; ++pass) {
      TableKeys keys{table->id, std::vector<Key>(data_.records)};
      std::iota(keys.keys.begin(), keys.keys.end(), pass * data_.records);
      const auto pulled = client_->Pull({keys}).get();
      ASSERT_TRUE(pulled.ok()) << pulled.status().ToString();
      const auto& counts = pulled->values[0];
      const auto wrong = std::find_if(counts.begin(), counts.end(), [](float count) { return count != 1; });
      ASSERT_EQ(wrong, counts.end()) << "pass " << pass << ", example " << wrong - counts.begin()
                                     << " was counted " << *wrong << " times";
    }
    const auto stats = Admin(*client_).Stats({table->id});
    ASSERT_TRUE(stats.ok()) << stats.status().ToString();
    EXPECT_EQ(stats->front().rows, passes_ * data_.records);
    std::printf("%lu rows of the ledger are 1 after %d kills of workers and a stop\n",
                static_cast<unsigned long>(stats->front().rows), Kills());
  }

  CommandCluster cluster_{
      {.servers = 2, .workers = kWorkers, .set = {"scheduler.lease_ms=" + std::to_string(kLeaseMs)}}};
  std::unique_ptr<ChildProgram> train_;
  std::unique_ptr<Client> client_;
  TrainingData data_;
  uint64_t passes_ = 0;
};

TEST_P(LedgerTest, EveryExampleCountsOnce) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(KillWorkers());
  ASSERT_NO_FATAL_FAILURE(StopAWorker());
  ASSERT_EQ(train_->WaitExit(400000), 0) << cluster_.TrainOutput() << cluster_.Output();
  ASSERT_NO_FATAL_FAILURE(CheckLedger());
  EXPECT_EQ(Examples(), passes_ * data_.records);
  client_.reset();
  EXPECT_EQ(cluster_.Down(), 0);
}

using Settings = std::vector<std::string>;
INSTANTIATE_TEST_SUITE_P(Async, LedgerTest,
                         ::testing::Values(Settings{"train.consistency=async", "data.partitions=8"}));
INSTANTIATE_TEST_SUITE_P(Ssp, LedgerTest,
                         ::testing::Values(Settings{"train.consistency=ssp", "data.partitions=8"}));
INSTANTIATE_TEST_SUITE_P(Sync, LedgerTest, ::testing::Values(Settings{"train.consistency=sync"}));

}  // namespace
}  // namespace penstock
