// The measurements that need no cluster, as small as they go: each checks by itself what it has moved.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/atomic_file.h"
#include "data/data_plan.h"
#include "job/job_spec.h"
#include "tests/unit/tools/temp_folder.h"
#include "tools/bench/log_append.h"
#include "tools/bench/metrics_page.h"
#include "tools/bench/store.h"
#include "tools/bench/training_text.h"

namespace penstock {
namespace {

using testing::HasSubstr;

bool Never() { return false; }

TEST(StoreBench, MovesRowsAndFindsThemAgain) {
  for (const char* optimizer : {"sgd", "adagrad", "lamb"}) {
    SCOPED_TRACE(optimizer);
    const WorkloadOptions options{.work = Work::kPull,
                                  .keys = 100,
                                  .rows = 1000,
                                  .dim = 3,
                                  .optimizer = optimizer,
                                  .batches = 20,
                                  .seconds = 0.01,
                                  .repeats = 2};
    const auto figures = RunStoreBench(options, 8, Never);
    ASSERT_TRUE(figures.ok()) << figures.status().ToString();
    EXPECT_GT(figures->push_rows_per_second.min, 0);
    const auto json = StoreResult(options, 8, *figures, {.tcp_bytes_per_second = 1e9});
    ASSERT_EQ(json.size(), 2u);
    EXPECT_EQ(json[0]["work"], "store pull");
    EXPECT_EQ(json[1]["work"], "store push");
    EXPECT_GT(json[1]["ratio_to_limit"], 0);
  }
  EXPECT_EQ(RunStoreBench({.keys = 10, .rows = 100, .batches = 2, .seconds = 0.01}, 2, [] { return true; })
                .status()
                .code(),
            Code::kCancelled);
}

TEST(LogBench, EveryDeltaIsInTheLog) {
  const TempFolder folder;
  const LogOptions options{.keys = 100, .dim = 8, .mib = 1, .repeats = 2};
  const auto figures = RunLogBench(options, folder.path(), Never);
  ASSERT_TRUE(figures.ok()) << figures.status().ToString();
  EXPECT_GE(figures->deltas * figures->delta_bytes, uint64_t{1} << 20);
  EXPECT_GT(figures->synced_bytes_per_second.min, 0);
  const auto json = LogResult(options, *figures);
  EXPECT_EQ(json["work"], "log");
  EXPECT_GT(json["logged_bytes_per_second"]["median"], 0);
}

TEST(LogBench, NamesWhatIsWrong) {
  EXPECT_TRUE(CheckLogOptions({}).ok());
  EXPECT_THAT(CheckLogOptions({.keys = 0}).message(), HasSubstr("--keys 0"));
  EXPECT_THAT(CheckLogOptions({.keys = 1'000'000, .dim = 64}).message(), HasSubstr("a unit has at most"));
  EXPECT_THAT(CheckLogOptions({.mib = 0}).message(), HasSubstr("--mib 0"));
  EXPECT_THAT(CheckLogOptions({.repeats = 0}).message(), HasSubstr("--repeats"));
}

TEST(TrainingText, IsReadAsItIsMeant) {
  const TempFolder folder;
  for (const std::string format : {"libsvm", "clicklog", "csv", "ratings"}) {
    SCOPED_TRACE(format);
    const std::string path = folder.path() + "/" + format;
    const auto records = WriteTrainingText(path, format, 0, 500, 1);
    ASSERT_TRUE(records.ok()) << records.status().ToString();
    EXPECT_EQ(*records, 500u);
    const std::string first = *ReadWholeFile(path);
    ASSERT_TRUE(WriteTrainingText(path, format, 0, 500, 1).ok());
    EXPECT_EQ(*ReadWholeFile(path), first);
    ASSERT_TRUE(WriteTrainingText(path, format, 0, 500, 2).ok());
    EXPECT_NE(*ReadWholeFile(path), first);
    const std::string job_file = folder.path() + "/job.toml";
    const bool ratings = format == "ratings";
    ASSERT_TRUE(WriteFileAtomically(
                    job_file, "[job]\nname = \"x\"\n[data]\nformat = \"" + format + "\"\ntrain = \"" + path +
                                  "\"\n" +
                                  (format == "csv" ? std::string("columns = ") + kCsvColumns + "\n" : "") +
                                  "[model]\nkind = \"" + (ratings ? "mf" : "linear") + "\"\nloss = \"" +
                                  (ratings ? "squared" : "logistic") + "\"\n")
                    .ok());
    const auto job = LoadJob(job_file, {});
    ASSERT_TRUE(job.ok()) << job.status().ToString();
    const auto plan = MakeJobPlan(*job);
    ASSERT_TRUE(plan.ok()) << plan.status().ToString();
    EXPECT_EQ(plan->train.records, 500u);
  }
  EXPECT_EQ(WriteTrainingText(folder.path() + "/x", "xml", 1, 1, 1).status().code(), Code::kInvalidArgument);
}

TEST(TrainingText, EndsAtTheFirstBound) {
  const TempFolder folder;
  const auto records = WriteTrainingText(folder.path() + "/a", "csv", 1000, 0, 1);
  ASSERT_TRUE(records.ok());
  const size_t bytes = ReadWholeFile(folder.path() + "/a")->size();
  EXPECT_GE(bytes, 1000u);
  EXPECT_LT(bytes, 1200u);
}

TEST(ReadMetric, SaysWhatIsNotThere) {
  const TempFolder folder;
  const std::string file = folder.path() + "/http_address";
  EXPECT_EQ(ReadMetric(file, "x").status().code(), Code::kNotFound);
  ASSERT_TRUE(WriteFileAtomically(file, "somewhere:1\n").ok());
  EXPECT_EQ(ReadMetric(file, "x").status().code(), Code::kUnavailable);
  ASSERT_TRUE(WriteFileAtomically(file, "127.0.0.1:1\n").ok());
  EXPECT_EQ(ReadMetric(file, "x").status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace penstock
