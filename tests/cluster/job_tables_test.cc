// What a job file says of its tables is what the servers do: single tables have options of their own, and the
// schedule goes by the steps of the job through all of its passes.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr uint64_t kRecords = 2000, kBatch = 20, kSteps = kRecords / kBatch;  // a pass
constexpr char kJob[] = R"(
[job]
name = "tables"
[data]
train = "TRAIN"
[model]
kind = "deep"
loss = "logistic"
features = 124
hidden = [8]
[optimizer]
kind = "momentum"
learning_rate = 0.02
[schedule]
kind = "step"
decay_steps = 1
decay_rate = 0.0       # nothing moves after the warm-up
[tables.layer2.optimizer]
kind = "adam_row"
learning_rate = 0.01
clip_norm = 1.0
[tables.layer2.initializer]
kind = "xavier"
[tables.layer2.train]
durability = "logged"
[train]
batch_size = 20
passes = 3
evaluate_every = 1
)";

TEST(JobTables, OptionsAndScheduleReachTheServers) {
  CommandCluster cluster({.servers = 1, .workers = 1, .set = {"scheduler.shards=8"}});
  std::string job = kJob;
  job.replace(job.find("TRAIN"), 5, cluster.folder().Write("train.libsvm", GenerateLibsvm(kRecords, 2)));
  const Status up = cluster.Up();
  ASSERT_TRUE(up.ok()) << up.ToString();
  // Long enough for the first pass and over before the third, however unevenly its partitions are cut.
  auto train = cluster.Train(cluster.folder().Write("job.toml", job),
                             {"schedule.warmup_steps=" + std::to_string(kSteps * 3 / 2)});
  ASSERT_TRUE(train.ok()) << train.status().ToString();
  ASSERT_EQ(train->WaitExit(60000), 0) << cluster.TrainOutput() << cluster.Output();

  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok()) << client.status().ToString();
  const auto one = (*client)->OpenTable("tables.1/layer1"), two = (*client)->OpenTable("tables.1/layer2");
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(one->optimizer, (OptimizerSpec{.kind = OptimizerKind::kMomentum, .learning_rate = 0.02f}));
  EXPECT_EQ(one->initializer.kind, InitializerKind::kUniform);
  EXPECT_EQ(one->durability, Durability::kMemory);
  EXPECT_EQ(two->optimizer,
            (OptimizerSpec{.kind = OptimizerKind::kAdamRow, .learning_rate = 0.01f, .clip_norm = 1}));
  EXPECT_EQ(two->initializer, (InitializerSpec{.kind = InitializerKind::kXavier, .fan_in = 8, .fan_out = 1}));
  EXPECT_EQ(two->durability, Durability::kLogged);
  for (const auto& table : {*one, *two}) {
    EXPECT_EQ(
        table.schedule,
        (ScheduleSpec{
            .kind = ScheduleKind::kStep, .warmup_steps = kSteps * 3 / 2, .decay_steps = 1, .decay_rate = 0}));
  }

  const auto shown = Admin(**client).Inspect("job", "1");
  ASSERT_TRUE(shown.ok()) << shown.status().ToString();
  std::vector<double> losses;
  for (const json& entry : shown->at("history")) losses.push_back(entry.at("train").at("loss"));
  ASSERT_EQ(losses.size(), 3u) << shown->dump();
  EXPECT_LT(losses[0], 0.65) << "it learned nothing in the warm-up";
  EXPECT_NE(losses[1], losses[0]) << "the warm-up was over too soon";
  EXPECT_NEAR(losses[2], losses[1], 1e-12) << "it learned with a rate of 0";
  EXPECT_EQ(cluster.Down(), 0);
}

}  // namespace
}  // namespace penstock
