// What a person sees of a running job, and of a finished one.
#include "tools/cli/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "data/data_plan.h"
#include "job/job_spec.h"
#include "model/metrics.h"
#include "tools/cli/job_metrics.h"

namespace penstock {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

json Running() {
  return {{"id", 3},
          {"name", "a9a"},
          {"state", "running"},
          {"phase", "train"},
          {"pass", 2},
          {"passes", 30},
          {"partitions_done", 5},
          {"partitions", 8},
          {"examples", 123456},
          {"examples_total", 976830},
          {"loss", 0.33124},
          {"seconds", 2.0},
          {"examples_per_second", 61728.0},
          {"bad_records", 0},
          {"error", ""}};
}

TEST(Progress, PlainLine) {
  EXPECT_EQ(PlainLine(ReadProgress(Running()), 60123.4),
            "a9a (job 3): pass 2 of 30, partition 5 of 8, 123,456 of 976,830 examples (12 %), 60,123/s, loss "
            "0.3312, 15 s left");
}

TEST(Progress, NothingIsMadeUpBeforeTheFirstExample) {
  json job = Running();
  job["examples"] = 0;
  EXPECT_EQ(PlainLine(ReadProgress(job), 0),
            "a9a (job 3): pass 2 of 30, partition 5 of 8, 0 of 976,830 examples (0 %)");
}

TEST(Progress, MalformedRecordsAreMentioned) {
  json job = Running();
  job["bad_records"] = 2;
  EXPECT_THAT(PlainLine(ReadProgress(job), 100), HasSubstr(", 2 malformed records skipped"));
}

TEST(Progress, Evaluation) {
  json job = Running();
  job["phase"] = "evaluate_test";
  EXPECT_EQ(PlainLine(ReadProgress(job), 1),
            "a9a (job 3): evaluating on held-out data after pass 2 of 30, partition 5 of 8");
  job["passes"] = 0;
  EXPECT_EQ(PlainLine(ReadProgress(job), 1), "a9a (job 3): evaluating on held-out data, partition 5 of 8");
}

TEST(Progress, Paused) {
  json job = Running();
  job["state"] = "paused";
  EXPECT_THAT(PlainLine(ReadProgress(job), 100), HasSubstr("a9a (job 3): paused, pass 2 of 30, "));
  EXPECT_THAT(PlainLine(ReadProgress(job), 100), Not(HasSubstr("left")));
  EXPECT_THAT(BarLine(ReadProgress(job), 100, 200), HasSubstr("  paused  pass 2/30"));
  EXPECT_FALSE(ReadProgress(job).ended());
  EXPECT_THAT(BarLine(ReadProgress(job), 1, 200), Not(HasSubstr("left")));
}

TEST(Progress, AJobThatStandsStillSaysWhyInThePlaceOfARate) {
  json job = Running();
  StandMeter stand;
  stand.Add(1000, ReadProgress(job));
  stand.Add(9000, ReadProgress(job));
  EXPECT_EQ(stand.Why(9000, ReadProgress(job)), "") << "nothing is wrong";
  job["problems"] = {"jobs wait: there is no worker", "worker-1 is dead"};
  EXPECT_EQ(stand.Why(3500, ReadProgress(job)), "");
  const std::string why = stand.Why(9000, ReadProgress(job));
  EXPECT_EQ(why, "stands still for 8 s: jobs wait: there is no worker; worker-1 is dead");
  EXPECT_EQ(PlainLine(ReadProgress(job), 70, why),
            "a9a (job 3): pass 2 of 30, partition 5 of 8, 123,456 of 976,830 examples (12 %), " + why);
  EXPECT_THAT(BarLine(ReadProgress(job), 70, 200, why),
              AllOf(HasSubstr("5/8 parts  stands still"), Not(HasSubstr("ex/s")), Not(HasSubstr("left"))));
  job["phase"] = "evaluate_test";
  EXPECT_THAT(PlainLine(ReadProgress(job), 70, why), HasSubstr("partition 5 of 8, stands still for 8 s"));
  job["phase"] = "train";
  job["examples"] = 123500;
  stand.Add(9500, ReadProgress(job));
  EXPECT_EQ(stand.Why(9600, ReadProgress(job)), "");
  job["state"] = "paused";
  EXPECT_EQ(stand.Why(90000, ReadProgress(job)), "");
}

TEST(Progress, BarFitsTheTerminal) {
  json job = Running();
  job["examples"] = 488415;
  const std::string line = BarLine(ReadProgress(job), 60000, 200);
  EXPECT_EQ(line, "[##########..........]  50 %  pass 2/30  5/8 parts  60,000 ex/s  loss 0.3312  9 s left");
  // The bar gives way first, then the end of the words.
  EXPECT_EQ(BarLine(ReadProgress(job), 60000, 79),
            "[######.......]  50 %  pass 2/30  5/8 parts  60,000 ex/s  loss 0.3312  9 s left");
  EXPECT_EQ(BarLine(ReadProgress(job), 60000, 40), "[##...]  50 %  pass 2/30  5/8 parts  60,");
}

TEST(Progress, MissingAndWrongMembersDoNoHarm) {
  const JobProgress p = ReadProgress({{"id", "three"}, {"loss", nullptr}, {"name", 5}});
  EXPECT_EQ(p.id, 0u);
  EXPECT_EQ(p.name, "");
  EXPECT_FALSE(p.ended());
  EXPECT_TRUE(ReadProgress({{"state", "cancelled"}}).ended());
}

TEST(RateMeter, IsOverTheLastSeconds) {
  RateMeter meter;
  EXPECT_EQ(meter.PerSecond(), std::nullopt);
  meter.Add(0, 0);
  EXPECT_EQ(meter.PerSecond(), std::nullopt);
  meter.Add(1000, 500);
  EXPECT_EQ(meter.PerSecond(), 500);
  for (uint64_t s = 2; s <= 40; ++s) meter.Add(s * 1000, 500 + (s - 1) * 2000);
  EXPECT_NEAR(*meter.PerSecond(), 2000, 1);
  const double before = *meter.PerSecond();
  for (uint64_t ms = 40000; ms <= 60000; ms += 500) meter.Add(ms, 500 + uint64_t{39} * 2000);
  EXPECT_EQ(meter.PerSecond(), before) << "it stands still";
  meter.Add(61000, 80000);
  EXPECT_EQ(meter.PerSecond(), std::nullopt) << "and goes on: the time between does not count";
  meter.Add(62000, 81000);
  EXPECT_EQ(meter.PerSecond(), 1000);
  meter.Add(63000, 10);  // begun again
  EXPECT_EQ(meter.PerSecond(), std::nullopt);
}

json EvaluatedJob() {
  Evaluation first, second;
  const std::vector<float> labels = {1, 0};
  const std::vector<float> scores = {2, -1};
  first.Add(LossKind::kLogistic, labels, {}, 1, scores.data());
  second.Add(LossKind::kLogistic, labels, {}, 1, scores.data());
  JobSpec spec;
  spec.name = "j";
  spec.data.train = "/data";
  JobPlan data;
  data.train.fingerprint = "f";
  data.train.records = 4;
  data.train.partitions = {{.end = 1, .records = 1}, {.begin = 1, .end = 2, .first_record = 1, .records = 1}};
  const json plan = data;
  json job = {{"id", 1},        {"name", "j"},   {"state", "done"},
              {"seconds", 2.5}, {"examples", 8}, {"examples_per_second", 3.2},
              {"servers", 2},   {"workers", 1}};
  job["spec"] = {{"options", JobToJson(spec)}, {"data_plan", plan}};
  job["evaluations"] = {{"train", json::array({first.ToJson().dump(), second.ToJson().dump()})},
                        {"test", json::array()}};
  return job;
}

TEST(JobMetrics, PartsAreMerged) {
  const auto metrics = JobMetrics(EvaluatedJob());
  ASSERT_TRUE(metrics.ok()) << metrics.status().ToString();
  ASSERT_TRUE(metrics->contains("train"));
  EXPECT_FALSE(metrics->contains("test"));
  EXPECT_EQ((*metrics)["train"]["examples"], 4);
  EXPECT_DOUBLE_EQ((*metrics)["train"]["accuracy"], 1.0);
  EXPECT_NEAR((*metrics)["train"]["loss"].get<double>(), (0.126928 + 0.313262) / 2, 1e-5);
  EXPECT_THAT(MetricsText(*metrics), HasSubstr("training data: loss 0.2200"));
  const json far = {{"data", {{"examples", 4}, {"loss", 1e-9}, {"rmse", 1234.5}, {"objective", 3.75e74}}}};
  EXPECT_EQ(MetricsText(far),
            "the given data: loss 1e-09, rmse 1234.5000, objective 3.75e+74 (4 examples)\n");
}

TEST(JobMetrics, HugeValuesArePrintedAsTheReportHasThem) {
  const json metrics = {{"train", {{"objective", 3.75e74}, {"examples", 4}}}};
  EXPECT_EQ(MetricsText(metrics), "training data: objective 3.75e+74 (4 examples)\n");
}

TEST(JobMetrics, OptionsThatAreNotAtTheirDefaults) {
  json job = EvaluatedJob();
  job["spec"]["options"]["train"]["passes"] = 4711;
  EXPECT_THAT(OptionsText(job), HasSubstr("\n  train.passes = 4711\n"));
  EXPECT_THAT(OptionsText(job), Not(HasSubstr("train.batch_size")));
  EXPECT_EQ(OptionsText(json::object()), "");
}

// Whatever was left open is not said to be set: neither what the model's kind decides nor the optimizer's.
TEST(JobMetrics, DefaultsOfKindsAreNotListed) {
  struct Case {
    std::string model, optimizer;
    std::vector<std::string> set;
  };
  const std::string unset = JobSpec().table.optimizer.kind;
  for (const Case& its : std::vector<Case>{{"linear", unset, {}},
                                           {"fm", unset, {}},
                                           {"deep", unset, {}},
                                           {"linear", "sgd", {"  optimizer.kind = \"sgd\"\n"}},
                                           {"linear", "adagrad", {"  optimizer.kind = \"adagrad\"\n"}},
                                           {"deep", "momentum", {"  optimizer.kind = \"momentum\"\n"}}}) {
    SCOPED_TRACE(its.model + ", " + its.optimizer);
    for (const float rate : {0.0f, 0.25f}) {
      JobSpec spec;
      spec.model.kind = its.model;
      spec.table.optimizer.kind = its.optimizer;
      spec.table.optimizer.numbers.learning_rate = rate;
      spec.table.optimizer.Resolve(its.model);
      std::vector<std::string> lines = its.set;
      if (its.model != JobSpec().model.kind)
        lines.insert(lines.begin(), "  model.kind = \"" + its.model + "\"\n");
      if (rate != 0) lines.push_back("  optimizer.learning_rate = 0.25\n");
      const json job = {{"spec", {{"options", JobToJson(spec)}}}};
      EXPECT_EQ(OptionsText(job),
                lines.empty() ? "" : "options that are not at their defaults:\n" + StrJoin(lines, ""));
    }
  }
  EXPECT_EQ(OptionsText({{"spec", {{"options", {{"optimizer", {{"kind", 5}}}}}}}}),
            "options that are not at their defaults:\n  optimizer.kind = 5\n");
}

TEST(JobMetrics, ReportHasTheFixedMembers) {
  json job = EvaluatedJob();
  job["bad_records"] = 7;
  const json report = JobReport(job, *JobMetrics(job));
  EXPECT_EQ(report["skipped_records"], 7);
  EXPECT_EQ(report["options"], job["spec"]["options"]);
  EXPECT_EQ(report["job"], "j");
  EXPECT_EQ(report["status"], "done");
  EXPECT_EQ(report["servers"], 2);
  EXPECT_EQ(report["workers"], 1);
  EXPECT_EQ(report["examples"], 8);
  EXPECT_DOUBLE_EQ(report["seconds"], 2.5);
  EXPECT_DOUBLE_EQ(report["examples_per_second"], 3.2);
  EXPECT_TRUE(report["metrics"]["train"].contains("loss"));
  EXPECT_TRUE(report["history"].empty());
  EXPECT_TRUE(report["best_pass"].is_null());
  EXPECT_EQ(report["stopped"], "");
  EXPECT_EQ(report["skipped_held_out_records"], 0);
  EXPECT_EQ(report.size(), 14u);
}

TEST(JobMetrics, TheHistoryIsInTheReportAndALineEach) {
  json job = EvaluatedJob();
  const json entry = {
      {"pass", 3}, {"train", {{"loss", 0.5}}}, {"test", {{"loss", 0.25}, {"accuracy", 0.75}}}};
  job["history"] = {entry};
  job["best_pass"] = 3;
  job["stopped"] = "stopped early: because";
  const json report = JobReport(job, *JobMetrics(job));
  EXPECT_EQ(report["history"][0], entry);
  EXPECT_EQ(report["best_pass"], 3);
  EXPECT_EQ(report["stopped"], "stopped early: because");
  EXPECT_EQ(HistoryLine(entry),
            "pass 3: training data: loss 0.500000; held-out data: loss 0.250000, accuracy 0.750000");
  EXPECT_EQ(HistoryLine({{"pass", 1}, {"train", {{"loss", 0.5}}}, {"test", nullptr}}),
            "pass 1: training data: loss 0.500000");
}

TEST(JobMetrics, AJobWithoutEvaluationsHasNone) {
  json job = EvaluatedJob();
  job.erase("evaluations");
  const auto metrics = JobMetrics(job);
  ASSERT_TRUE(metrics.ok());
  EXPECT_TRUE(metrics->empty());
}

TEST(JobMetrics, ADamagedPartIsAnError) {
  json job = EvaluatedJob();
  job["evaluations"]["train"][1] = "{";
  EXPECT_FALSE(JobMetrics(job).ok());
}

}  // namespace
}  // namespace penstock
