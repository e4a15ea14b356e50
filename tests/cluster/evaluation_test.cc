// Evaluations: of a partition whose report is long, and of numbers that are scaled.
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

// A rate that is far too high ends the job with the row and the step, in each consistency.
TEST(TrainingThatDiverges, EndsWithTheRowAndWhatHelps) {
  const TemporaryFolder folder;
  std::string rows = "y,income\n";
  for (uint32_t i = 0; i < 400; ++i) rows += std::to_string(i) + "," + std::to_string(20000 + i * 100) + "\n";
  const std::string data = folder.Write("train.csv", rows);
  for (const std::string consistency : {"async", "sync"}) {
    const std::string job = folder.Write(
        "job.toml", "[job]\nname = \"high\"\n[data]\ntrain = \"" + data +
                        "\"\nformat = \"csv\"\ncolumns = [\"y:label\", \"income:numeric\"]\n[model]\nloss = "
                        "\"squared\"\n[optimizer]\nkind = \"sgd\"\nlearning_rate = 10.0\n[train]\npasses = "
                        "50\nbatch_size = "
                        "20\nconsistency = \"" +
                        consistency + "\"\n");
    const CommandResult trained = RunPenstock({"train", job, "--local"}, 60000);
    EXPECT_EQ(trained.code, 1) << consistency << trained.out << trained.err;
    const std::string said = trained.out + trained.err;
    for (const char* part :
         {"table 'high.1/weights'", "key ", "step ", "optimizer.learning_rate", "data.scale"})
      EXPECT_NE(said.find(part), std::string::npos) << part << " is not in: " << said;
  }
}

// What tests a job's weights later scales numbers as its workers did.
TEST(EvaluationOfScaledNumbers, IsThatOfTheJob) {
  CommandCluster cluster({.servers = 1, .workers = 1, .set = {}});
  const Status up = cluster.Up();
  ASSERT_TRUE(up.ok()) << up.ToString();
  const auto rows = [](uint32_t seed) {
    std::string text = "y,income,share\n";
    for (uint32_t i = 0; i < 400; ++i) {
      const uint32_t income = 20000 + (i * 7919 + seed) % 80000;
      text += (income > 60000 ? "1," : "0,") + std::to_string(income) + "," + std::to_string(i % 10 * 0.001) +
              "\n";
    }
    return text;
  };
  const std::string train = cluster.folder().Write("train.csv", rows(1)),
                    test = cluster.folder().Write("test.csv", rows(5));
  const std::string job = cluster.folder().Write(
      "job.toml", "[job]\nname = \"scaled\"\n[data]\ntrain = \"" + train + "\"\ntest = \"" + test +
                      "\"\nformat = \"csv\"\ncolumns = [\"y:label\", \"income:numeric\", \"share:numeric\"]\n"
                      "scale = \"standard\"\n[optimizer]\nlearning_rate = 0.5\n[train]\npasses = 10\n");
  const CommandResult trained =
      RunPenstock({"train", job, "--data-dir", cluster.data_dir(), "--report", cluster.report()}, 60000);
  ASSERT_EQ(trained.code, 0) << trained.out << trained.err;
  const auto metrics = nlohmann::json::parse(*ReadWholeFile(cluster.report())).at("metrics").at("test");
  EXPECT_GT(metrics.at("accuracy"), 0.9) << "plain SGD on an income as it is written learns nothing";
  const CommandResult again =
      RunPenstock({"evaluate", "1", "--data", test, "--data-dir", cluster.data_dir(), "-o", "json"});
  ASSERT_EQ(again.code, 0) << again.err;
  const auto evaluated = nlohmann::json::parse(again.out).at("data");
  EXPECT_NEAR(evaluated.at("loss").get<double>(), metrics.at("loss").get<double>(), 1e-9);
  EXPECT_EQ(evaluated.at("accuracy"), metrics.at("accuracy"));
  // Other data are held to what the job's were.
  const auto evaluate = [&](const std::string& rows_as_written) {
    const std::string other = cluster.folder().Write("other.csv", rows_as_written);
    return RunPenstock({"evaluate", "1", "--data", other, "--data-dir", cluster.data_dir()});
  };
  const CommandResult labels =
      RunPenstock({"evaluate", "1", "--data", test, "--labels", test, "--data-dir", cluster.data_dir()});
  EXPECT_EQ(labels.code, 2) << labels.err;
  EXPECT_NE(labels.err.find("--labels has a meaning only with idx data"), std::string::npos) << labels.err;
  CommandResult refused = evaluate("1,50000,0.1\n-1,20000,0.2\n0,30000,0.3\n");
  EXPECT_NE(refused.code, 0);
  EXPECT_NE(refused.err.find("has labels -1 and 0 beside 1, three values"), std::string::npos) << refused.err;
  refused = evaluate("1,50000,0.1\n0,much,0.2\n");
  EXPECT_NE(refused.code, 0);
  EXPECT_NE(refused.err.find("other.csv:2: "), std::string::npos) << refused.err;
  EXPECT_EQ(cluster.Down(), 0);
}

}  // namespace
}  // namespace penstock
