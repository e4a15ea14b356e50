// The annotated jobs in conf/jobs run, as they are but for the number of passes, by `penstock train` in a
// cluster.
//
// Every file has a case here that says where its data are and what it must reach. Without the data its test
// is skipped and says what it looked for; a file without a case fails.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/cluster/penstock_command.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr const char* kJobs = PENSTOCK_SOURCE_DIR "/conf/jobs";

struct Case {
  std::vector<std::string> files;     // what must be there
  std::vector<std::string> settings;  // where the data are, passes
  // Of the held-out data after so few passes: the metric must be above `worst`, or below when `lower`.
  const char* metric = "accuracy";
  double worst = 0;
  bool lower = false;
};

std::string DataFolder() {
  const char* given = std::getenv("PENSTOCK_DATA");
  return given != nullptr ? given : PENSTOCK_SOURCE_DIR "/../shared/data";
}

std::map<std::string, Case> Cases() {
  const std::string a9a = DataFolder() + "/a9a/a9a", ratings = DataFolder() + "/ml-latest-small/ratings.csv",
                    images = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz";
  // 76 % of a9a are of one class, a tenth of the images; the ratings have a standard deviation of 1.04.
  const auto of_a9a = [&](const char* passes) {
    return Case{
        {a9a, a9a + ".t"}, {"data.train=" + a9a, "data.test=" + a9a + ".t", passes}, "accuracy", 0.83};
  };
  const auto of_ratings = [&](const char* passes, double worst) {
    return Case{{ratings}, {"data.train=" + ratings, passes}, "rmse", worst, true};
  };
  return {
      {"a9a_fm", of_a9a("train.passes=2")},
      {"a9a_ftrl", of_a9a("train.passes=2")},
      {"a9a_logistic", of_a9a("train.passes=3")},
      {"fashion_mnist_adamw", {{images}, {"train.passes=1", "train.batch_size=512"}, "accuracy", 0.7}},
      {"fashion_mnist_mlp", {{images}, {"train.passes=1"}, "accuracy", 0.7}},
      {"movielens_deep", of_ratings("train.passes=2", 0.95)},
      {"movielens_mf", of_ratings("train.passes=2", 0.95)},
  };
}

std::vector<std::string> JobNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kJobs))
    names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

class ConfJobs : public testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() {
    cluster_ = std::make_unique<CommandCluster>(
        CommandCluster::Options{.servers = 2, .workers = 2, .set = {"scheduler.shards=8"}});
    const Status up = cluster_->Up();
    ASSERT_TRUE(up.ok()) << up.ToString();
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(cluster_->Down(), 0) << cluster_->Output();
    cluster_.reset();
  }
  static std::unique_ptr<CommandCluster> cluster_;
};

std::unique_ptr<CommandCluster> ConfJobs::cluster_;

TEST_P(ConfJobs, Runs) {
  const auto cases = Cases();
  const auto found = cases.find(GetParam());
  ASSERT_NE(found, cases.end()) << "conf/jobs/" << GetParam() << ".toml has no case in this test";
  const Case& its = found->second;
  for (const std::string& file : its.files) {
    if (!std::filesystem::exists(file))
      GTEST_SKIP() << "no " << file << " (PENSTOCK_DATA says where the data sets are)";
  }
  auto train = cluster_->Train(std::string(kJobs) + "/" + GetParam() + ".toml", its.settings);
  ASSERT_TRUE(train.ok()) << train.status().ToString();
  ASSERT_EQ(train->WaitExit(120000), 0) << cluster_->TrainOutput();
  const json report = json::parse(std::ifstream(cluster_->report()));
  EXPECT_EQ(report.at("status"), "done");
  const double reached = report.at("metrics").at("test").at(its.metric);
  std::printf("%s: %s %.4f in %.1f s\n", GetParam().c_str(), its.metric, reached,
              report.at("seconds").get<double>());
  if (its.lower) {
    EXPECT_LT(reached, its.worst) << its.metric;
  } else {
    EXPECT_GT(reached, its.worst) << its.metric;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ConfJobs, testing::ValuesIn(JobNames()),
                         [](const auto& info) { return info.param; });

// A case that outlived its file would go unnoticed.
TEST(ConfJobsList, EveryCaseHasAFile) {
  for (const auto& [name, its] : Cases())
    EXPECT_TRUE(std::filesystem::exists(std::string(kJobs) + "/" + name + ".toml")) << name;
}

}  // namespace
}  // namespace penstock
