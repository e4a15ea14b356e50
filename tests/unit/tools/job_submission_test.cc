// From a job file and its data to what the scheduler is given.
#include "tools/cli/job_submission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "data/data_plan.h"
#include "tests/unit/tools/temp_folder.h"

namespace penstock {
namespace {

using testing::HasSubstr;

class JobSubmissionTest : public testing::Test {
 protected:
  std::string JobFile(const std::string& more = "") {
    std::string lines;
    for (int i = 0; i < 100; ++i)
      lines += (i % 2 == 0 ? "+1 1:1 3:" : "-1 2:1 3:") + std::to_string(i) + "\n";
    train_ = folder_.Write("train.txt", lines);
    test_ = folder_.Write("test.txt", lines.substr(0, lines.find("\n-1") + 1));
    return folder_.Write("job.toml", "[job]\nname = \"tiny\"\n[data]\ntrain = \"" + train_ + "\"\ntest = \"" +
                                         test_ +
                                         "\"\n[model]\nkind = \"linear\"\n[optimizer]\nkind = "
                                         "\"sgd\"\n[train]\npasses = 3\nbatch_size = 10\n" +
                                         more);
  }
  TempFolder folder_;
  std::string train_, test_;
};

TEST_F(JobSubmissionTest, HoldsWhatSchedulerAndWorkersRead) {
  const auto spec = LoadJob(JobFile(), {"data.partitions=4"});
  ASSERT_TRUE(spec.ok()) << spec.status().ToString();
  const auto made = MakeSubmission(*spec);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  EXPECT_EQ((*made)["name"], "tiny");
  EXPECT_EQ((*made)["passes"], 3);
  EXPECT_EQ((*made)["consistency"], "async");
  EXPECT_EQ((*made)["evaluate_train"], true);
  EXPECT_EQ((*made)["evaluate_test"], true);
  EXPECT_EQ((*made)["plan"]["train"]["partitions"], 4);
  EXPECT_EQ((*made)["plan"]["train"]["records"], 100);
  EXPECT_EQ((*made)["plan"]["train"]["bytes"], std::filesystem::file_size(train_));
  EXPECT_EQ((*made)["plan"]["test"]["records"], 1);
  // What a worker opens is what was planned.
  const auto plan = (*made)["data_plan"].get<JobPlan>();
  EXPECT_EQ(plan.train.partitions.size(), 4u);
  EXPECT_EQ(plan.train.fingerprint, (*made)["plan"]["train"]["fingerprint"]);
  const auto again = JobFromJson((*made)["options"]);
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  EXPECT_EQ(again->train.batch_size, 10u);
}

TEST_F(JobSubmissionTest, TablesHaveRelativeNamesAndNoId) {
  const auto spec = LoadJob(JobFile(), {});
  ASSERT_TRUE(spec.ok());
  const auto made = MakeSubmission(*spec);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  ASSERT_GE((*made)["tables"].size(), 1u);
  for (const auto& table : (*made)["tables"]) {
    EXPECT_EQ(table["name"].get<std::string>().find("tiny"), std::string::npos);
    EXPECT_EQ(table["name"].get<std::string>().find('/'), std::string::npos);
    EXPECT_EQ(table["id"], 0);
  }
}

TEST_F(JobSubmissionTest, WithoutTestDataThereIsNoEvaluationOnIt) {
  const auto spec = LoadJob(JobFile(), {"data.test="});
  ASSERT_TRUE(spec.ok()) << spec.status().ToString();
  const auto made = MakeSubmission(*spec);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  EXPECT_TRUE((*made)["plan"]["test"].is_null());
  EXPECT_EQ((*made)["evaluate_test"], false);
}

TEST_F(JobSubmissionTest, AMissingFileIsNamed) {
  const auto spec = LoadJob(JobFile(), {"data.train=/no/such/file"});
  ASSERT_TRUE(spec.ok()) << spec.status().ToString();
  const auto made = MakeSubmission(*spec);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.status().code(), Code::kNotFound);
  EXPECT_THAT(made.status().message(), HasSubstr("/no/such/file"));
}

TEST_F(JobSubmissionTest, EmptyDataIsNotAMistakeOfTheCommandLine) {
  const auto spec = LoadJob(JobFile(), {"data.train=" + folder_.Write("empty", "")});
  ASSERT_TRUE(spec.ok());
  const auto made = MakeSubmission(*spec);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(made.status().message(), HasSubstr("empty"));
}

TEST_F(JobSubmissionTest, AnUnknownKeyIsAMistakeOfTheFile) {
  const auto spec = LoadJob(JobFile("pases = 3\n"), {});
  ASSERT_FALSE(spec.ok());
  EXPECT_EQ(spec.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(spec.status().message(), HasSubstr("pases"));
  EXPECT_THAT(spec.status().message(), HasSubstr("passes"));
}

TEST_F(JobSubmissionTest, TheSchedulerIsToldWhenToEvaluateAndToStop) {
  const auto spec =
      LoadJob(JobFile("evaluate_every = 2\nearly_stop_patience = 3\nearly_stop_metric = \"auc\"\n"), {});
  ASSERT_TRUE(spec.ok()) << spec.status().ToString();
  const auto made = MakeSubmission(*spec);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  const auto& policy = (*made)["policy"];
  EXPECT_EQ(policy["evaluate_every"], 2);
  EXPECT_EQ(policy["patience"], 3);
  EXPECT_EQ(policy["metric"], "auc");
  EXPECT_EQ(policy["loss"], "logistic");
  auto untested = *spec;
  untested.data.test.clear();
  EXPECT_THAT(MakeSubmission(untested).status().message(), HasSubstr("data.holdout_every"));
}

TEST_F(JobSubmissionTest, EarlyStoppingMustFit) {
  const auto refused = [&](const std::string& more) { return LoadJob(JobFile(more), {}).status().message(); };
  EXPECT_THAT(refused("early_stop_patience = 1\n"), HasSubstr("train.evaluate_every"));
  EXPECT_THAT(refused("early_stop_metric = \"rmse\"\n"),
              HasSubstr("which model.loss 'logistic' does not have"));
  EXPECT_THAT(refused("early_stop_metric = \"luck\"\n"), HasSubstr("early_stop_metric"));
  EXPECT_THAT(refused("early_stop_metric = \"auc\"\n"), HasSubstr("train.evaluate_every"));
  EXPECT_THAT(refused("early_stop_min_delta = 0.1\n"), HasSubstr("train.evaluate_every"));
  EXPECT_THAT(refused("consistency = \"sync\"\ninflight = 8\n"), HasSubstr("train.inflight"));
}

}  // namespace
}  // namespace penstock
