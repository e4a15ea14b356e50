// Evaluations of partitions with so many different scores that what a worker reports of one is long.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/atomic_file.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

TEST(EvaluationOfOnePartition, IsTaken) {
  const TemporaryFolder folder;
  const std::string data = folder.Write("train.libsvm", GenerateLibsvm(30000, 11));
  const std::string job =
      folder.Write("job.toml", "[job]\nname = \"whole\"\n[data]\ntrain = \"" + data +
                                   "\"\npartitions = 1\n[model]\nkind = \"linear\"\n[optimizer]\nkind = "
                                   "\"adagrad\"\nlearning_rate = 0.5\n[train]\nbatch_size = 100\n");
  const std::string report_file = folder.path() + "/report.json";
  const CommandResult trained = RunPenstock({"train", job, "--local", "--report", report_file}, 60000);
  ASSERT_EQ(trained.code, 0) << trained.out << trained.err;
  const auto text = ReadWholeFile(report_file);
  ASSERT_TRUE(text.ok()) << text.status().ToString();
  const auto metrics = nlohmann::json::parse(*text).at("metrics").at("train");
  EXPECT_EQ(metrics.at("examples"), 30000);
  EXPECT_GT(metrics.at("auc"), 0.6);
}

}  // namespace
}  // namespace penstock
