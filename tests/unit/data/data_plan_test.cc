// Job plans: how data are cut, that the plan travels, and that changed data are noticed.
#include "data/data_plan.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/data/temp_file.h"

namespace penstock {
namespace {

class DataPlanTest : public testing::Test {
 protected:
  DataPlanTest() {
    job_.name = "tiny";
    job_.train.batch_size = 10;
    std::string text;
    for (int i = 0; i < 100; ++i) text += "1 1:1 5:2\n";
    job_.data.train = folder_.Write("train", text);
  }

  TempFolder folder_;
  JobSpec job_;
};

TEST_F(DataPlanTest, CutsIntoAtLeastEightPiecesOfAMinibatchOrMore) {
  auto plan = MakeJobPlan(job_);
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_EQ(plan->train.partitions.size(), 8u);
  EXPECT_EQ(plan->shape().training_examples, 100u);
  EXPECT_FALSE(plan->test.has_value());
  job_.train.batch_size = 30;
  EXPECT_EQ(MakeJobPlan(job_)->train.partitions.size(), 3u);
  job_.train.batch_size = 1000;
  EXPECT_EQ(MakeJobPlan(job_)->train.partitions.size(), 1u);
  job_.data.partitions = 20;
  EXPECT_EQ(MakeJobPlan(job_)->train.partitions.size(), 20u);
}

TEST_F(DataPlanTest, TravelsAsJson) {
  job_.data.test = folder_.Write("test", "1 1:1\n");
  const auto plan = MakeJobPlan(job_);
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  const nlohmann::json json = *plan;
  const auto back = nlohmann::json::parse(json.dump()).get<JobPlan>();
  EXPECT_EQ(nlohmann::json(back), json);
  ASSERT_TRUE(back.test.has_value());
  EXPECT_EQ(back.train.partitions, plan->train.partitions);
}

TEST_F(DataPlanTest, ChangedDataAreNoticed) {
  const auto plan = MakeJobPlan(job_);
  auto same = OpenJobData(job_, DataRole::kTrain);
  ASSERT_TRUE(same.ok());
  EXPECT_TRUE(CheckUnchanged(**same, plan->train).ok());
  folder_.Write("train", "-1 1:1\n");
  auto changed = OpenJobData(job_, DataRole::kTrain);
  const Status status = CheckUnchanged(**changed, plan->train);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
}

TEST_F(DataPlanTest, NamesTheOptionAndTheFile) {
  job_.data.test = folder_.Path("absent");
  const Status missing = MakeJobPlan(job_).status();
  EXPECT_EQ(missing.code(), Code::kNotFound);
  EXPECT_TRUE(missing.message().starts_with("data.test: ")) << missing.message();
  EXPECT_NE(missing.message().find(job_.data.test), std::string::npos);
  job_.data.test = folder_.Write("empty", "\n# nothing\n");
  EXPECT_EQ(MakeJobPlan(job_).status().message(), "data.test: '" + job_.data.test + "' has no records");
}

}  // namespace
}  // namespace penstock
