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
  auto same = OpenJobData(job_, *plan, DataRole::kTrain);
  ASSERT_TRUE(same.ok());
  EXPECT_TRUE(CheckUnchanged(**same, plan->train).ok());
  folder_.Write("train", "-1 1:1\n");
  auto changed = OpenJobData(job_, *plan, DataRole::kTrain);
  const Status status = CheckUnchanged(**changed, plan->train);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_TRUE(status.message().starts_with("'" + job_.data.train + "': its fingerprint was "))
      << status.message();
}

TEST_F(DataPlanTest, PartitionsHaveTheRecordsOfThePlan) {
  const auto plan = MakeJobPlan(job_);
  const auto dataset = OpenJobData(job_, *plan, DataRole::kTrain);
  const PartitionRange& range = plan->train.partitions[1];
  EXPECT_TRUE(CheckRecordCount(**dataset, range, range.records).ok());
  const Status fewer = CheckRecordCount(**dataset, range, range.records - 1);
  EXPECT_EQ(fewer.code(), Code::kFailedPrecondition);
  EXPECT_TRUE(fewer.message().starts_with("'" + job_.data.train + "' has ")) << fewer.message();
  const auto of_no_file = (*dataset)->ReadPartition({.begin = 0, .end = 1, .file = 7});
  EXPECT_EQ(of_no_file.status().message(), "a partition of file 7 of 1");
}

TEST_F(DataPlanTest, MalformedRecordsOfTrainingAndTestDataAreCountedAgainstTheirLimit) {
  std::string text = "1 1:1\n", two_bad = "1 1:1\noops\n1 1:x\n";
  job_.data.test = folder_.Write("test", two_bad);
  EXPECT_EQ(
      MakeJobPlan(job_).status().message(),
      "data.test: " + job_.data.test +
          ":2: label 'oops' is not a number (a line is: label id:value id:value ...); in all 2 records are "
          "malformed, up to 2 in a partition (data.max_bad_records allows 0 in a partition)");
  job_.data.max_bad_records = 1;
  EXPECT_FALSE(MakeJobPlan(job_).ok());
  job_.data.max_bad_records = 2;
  const auto plan = MakeJobPlan(job_);
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_EQ(plan->test->bad_records, 2u);
  EXPECT_EQ(plan->train.bad_records, 0u);
  job_.data.train = folder_.Write("bad", two_bad);
  job_.data.max_bad_records = 1;
  EXPECT_TRUE(
      MakeJobPlan(job_).status().message().starts_with("data.train: " + job_.data.train + ":2: label"));
}

TEST_F(DataPlanTest, ATestFileIsNoTrainingFile) {
  job_.data.test = job_.data.train;
  EXPECT_TRUE(MakeJobPlan(job_).status().message().starts_with("data.test: '" + job_.data.train +
                                                               "' is also a file of data.train"))
      << MakeJobPlan(job_).status().message();
  job_.data.test = folder_.Path("link");
  std::filesystem::create_symlink(job_.data.train, job_.data.test);
  EXPECT_TRUE(MakeJobPlan(job_).status().message().starts_with(
      "data.test: '" + job_.data.test + "' is the file '" + job_.data.train + "' of data.train"))
      << MakeJobPlan(job_).status().message();
  job_.data.test = folder_.Write("copy", "1 1:1 5:2\n");
  EXPECT_TRUE(MakeJobPlan(job_).ok());
}

TEST_F(DataPlanTest, LabelsOfMinusOneAndZeroAreNotMixed) {
  const auto plan = [&](const std::string& text) {
    job_.data.train = folder_.Write("train", text);
    return MakeJobPlan(job_).status().message();
  };
  EXPECT_TRUE(plan("0 1:1\n1 2:1\n-1 1:2\n")
                  .starts_with("data.train: '" + job_.data.train +
                               "' has labels -1 and 0 beside 1, three values: "
                               "model.loss 'logistic' takes two"))
      << plan("0 1:1\n1 2:1\n-1 1:2\n");
  EXPECT_TRUE(
      plan("0 1:1\n-1 1:2\n").starts_with("data.train: '" + job_.data.train + "' has labels -1 and 0: "));
  EXPECT_EQ(plan("0 1:1\n1 2:1\n"), "");
  EXPECT_EQ(plan("-1 1:1\n1 2:1\n"), "");
  job_.data.max_bad_records = 1;
  EXPECT_EQ(plan("0 1:1\n1 2:1\n-1 oops\n"), "") << "what is skipped has no label";
  job_.model.loss = "squared";
  EXPECT_EQ(plan("0 1:1\n1 2:1\n-1 1:2\n"), "");
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
