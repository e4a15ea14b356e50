// The jobs in conf/jobs reach their figures, in one process with two imitated workers and delayed pushes.
//
// a9a and MovieLens are looked for in $PENSTOCK_DATA and in ../shared/data beside the sources; Fashion-MNIST
// where its Debian package puts it. Without the data a test is skipped and says what it looked for.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "tests/unit/data/local_trainer.h"

namespace penstock {
namespace {

constexpr uint32_t kWorkers = 2, kDelay = 4;

std::string DataFolder() {
  const char* given = std::getenv("PENSTOCK_DATA");
  return given != nullptr ? given : PENSTOCK_SOURCE_DIR "/../shared/data";
}

Result<JobSpec> LoadHouseJob(const std::string& name, std::vector<std::string> overrides = {}) {
  return LoadJob(PENSTOCK_SOURCE_DIR "/conf/jobs/" + name + ".toml", overrides);
}

std::string Ratings() { return DataFolder() + "/ml-latest-small/ratings.csv"; }

std::vector<std::string> A9aFiles() {
  return {"data.train=" + DataFolder() + "/a9a/a9a", "data.test=" + DataFolder() + "/a9a/a9a.t"};
}

#define SKIP_WITHOUT(path)            \
  if (!std::filesystem::exists(path)) \
  GTEST_SKIP() << "no " << (path) << " (set PENSTOCK_DATA to the folder of the data sets)"

std::unique_ptr<LocalTrainer> Train(const JobSpec& job) {
  auto trainer = LocalTrainer::Create(job, kWorkers, kDelay);
  EXPECT_TRUE(trainer.ok()) << trainer.status().ToString();
  for (uint32_t pass = 0; pass < job.train.passes; ++pass) {
    const auto loss = (*trainer)->Pass(pass);
    EXPECT_TRUE(loss.ok()) << loss.status().ToString();
  }
  return std::move(*trainer);
}

TEST(JobFiles, A9aLogisticComesWithinATenthOfAPercentOfTheOptimum) {
  SKIP_WITHOUT(DataFolder() + "/a9a/a9a");
  for (uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    auto job = LoadHouseJob("a9a_logistic", A9aFiles());
    ASSERT_TRUE(job.ok()) << job.status().ToString();
    job->train.seed = seed;
    const auto trainer = Train(*job);
    const auto results = trainer->Evaluate(DataRole::kTrain)->Results(trainer->objective());
    EXPECT_GE(results["objective"].get<double>(), 10529.5626 - 0.01);
    EXPECT_LE(results["objective"].get<double>(), 10529.5626 * 1.001);
    const auto test = trainer->Evaluate(DataRole::kTest)->Results(trainer->objective());
    EXPECT_NEAR(test["accuracy"].get<double>(), 0.849886, 2e-3);
    EXPECT_NEAR(test["auc"].get<double>(), 0.90222, 1e-3);
  }
}

TEST(JobFiles, A9aLogisticComesAsCloseByScaledL2) {
  SKIP_WITHOUT(DataFolder() + "/a9a/a9a");
  auto overrides = A9aFiles();
  overrides.insert(overrides.end(), {"model.l2_all=false", "model.l2_scaled=true"});
  const auto job = LoadHouseJob("a9a_logistic", overrides);
  ASSERT_TRUE(job.ok()) << job.status().ToString();
  const auto trainer = Train(*job);
  const auto results = trainer->Evaluate(DataRole::kTrain)->Results(trainer->objective());
  EXPECT_GE(results["objective"].get<double>(), 10529.5626 - 0.01);
  EXPECT_LE(results["objective"].get<double>(), 10529.5626 * 1.001);
}

TEST(JobFiles, A9aFtrlGeneralisesInFivePasses) {
  SKIP_WITHOUT(DataFolder() + "/a9a/a9a");
  for (uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    auto job = LoadHouseJob("a9a_ftrl", A9aFiles());
    ASSERT_TRUE(job.ok()) << job.status().ToString();
    ASSERT_LE(job->train.passes, 5u);
    job->train.seed = seed;
    const auto trainer = Train(*job);
    const auto test = trainer->Evaluate(DataRole::kTest)->Results(trainer->objective());
    EXPECT_LE(test["loss"].get<double>(), 0.3275);
    EXPECT_GE(test["accuracy"].get<double>(), 0.848);
  }
}

// The median over seeds of a metric of the held-out data.
double MedianOverSeeds(const std::string& name, const std::vector<std::string>& overrides,
                       const std::string& metric) {
  std::vector<double> values;
  for (const uint64_t seed : {1, 2, 3}) {
    auto job = LoadHouseJob(name, overrides);
    EXPECT_TRUE(job.ok()) << job.status().ToString();
    job->train.seed = seed;
    const auto trainer = Train(*job);
    const auto test = trainer->Evaluate(DataRole::kTest)->Results(trainer->objective());
    values.push_back(test[metric].get<double>());
    std::printf("%s, seed %u: %s %.4f\n", name.c_str(), static_cast<unsigned>(seed), metric.c_str(),
                values.back());
  }
  std::sort(values.begin(), values.end());
  return values[1];
}

TEST(JobFiles, A9aFactorizationMachine) {
  SKIP_WITHOUT(DataFolder() + "/a9a/a9a");
  EXPECT_LE(MedianOverSeeds("a9a_fm", A9aFiles(), "loss"), 0.325);
}

TEST(JobFiles, MovieLensMatrixFactorization) {
  SKIP_WITHOUT(Ratings());
  EXPECT_LE(MedianOverSeeds("movielens_mf", {"data.train=" + Ratings()}, "rmse"), 0.845);
}

TEST(JobFiles, MovieLensDeep) {
  SKIP_WITHOUT(Ratings());
  EXPECT_LE(MedianOverSeeds("movielens_deep", {"data.train=" + Ratings()}, "rmse"), 0.875);
}

TEST(JobFiles, FashionMnistLearnsInTwoPasses) {
  const auto job = LoadHouseJob("fashion_mnist_mlp", {"train.passes=2"});
  ASSERT_TRUE(job.ok()) << job.status().ToString();
  SKIP_WITHOUT(job->data.train);
  const auto trainer = Train(*job);
  const auto test = trainer->Evaluate(DataRole::kTest)->Results(trainer->objective());
  EXPECT_GE(test["accuracy"].get<double>(), 0.80);
  EXPECT_FALSE(test.contains("objective"));
}

// The slow one (a minute): run with --gtest_also_run_disabled_tests.
TEST(JobFiles, DISABLED_FashionMnistReachesItsFigure) {
  const auto job = LoadHouseJob("fashion_mnist_mlp");
  ASSERT_TRUE(job.ok()) << job.status().ToString();
  SKIP_WITHOUT(job->data.train);
  const auto trainer = Train(*job);
  const auto test = trainer->Evaluate(DataRole::kTest)->Results(trainer->objective());
  EXPECT_GE(test["accuracy"].get<double>(), 0.87);
}

}  // namespace
}  // namespace penstock
