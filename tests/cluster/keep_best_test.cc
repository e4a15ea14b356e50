// A job that keeps its best pass: a model that overfits ends with the weights that were best on held-out
// data.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/atomic_file.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

using nlohmann::json;

TEST(KeepBest, TheFinalEvaluationsAreOfTheBestPass) {
  CommandCluster cluster({.servers = 2, .workers = 2, .set = {"scheduler.shards=8"}});
  const Status up = cluster.Up();
  ASSERT_TRUE(up.ok()) << up.ToString();
  // 60 examples of 14 features out of 123 are learned by heart in a few passes.
  const std::string all = GenerateLibsvm(1060, 7);
  size_t cut = 0;
  for (int line = 0; line < 60; ++line) cut = all.find('\n', cut) + 1;
  const std::string train = cluster.folder().Write("train.libsvm", all.substr(0, cut));
  const std::string test = cluster.folder().Write("test.libsvm", all.substr(cut));
  const std::string job = cluster.folder().Write(
      "job.toml", "[job]\nname = \"kept\"\n[data]\ntrain = \"" + train + "\"\ntest = \"" + test +
                      "\"\npartitions = 2\n[model]\nkind = \"linear\"\n[optimizer]\nkind = \"adagrad\"\n"
                      "learning_rate = 0.2\n[train]\npasses = 24\nbatch_size = 10\nevaluate_every = 1\n"
                      "keep_best = true\n");
  const std::string report_file = cluster.folder().path() + "/kept.json";
  const CommandResult trained =
      RunPenstock({"train", job, "--data-dir", cluster.data_dir(), "--report", report_file}, 120000);
  ASSERT_EQ(trained.code, 0) << trained.out << trained.err;
  const auto text = ReadWholeFile(report_file);
  ASSERT_TRUE(text.ok()) << text.status().ToString();
  const json report = json::parse(*text);
  const auto& history = report.at("history");
  ASSERT_EQ(history.size(), 24u);
  const auto best = report.at("best_pass").get<size_t>();
  ASSERT_LT(best, 24u) << "the model did not overfit, so the test shows nothing: " << history.dump();
  const double kept = history[best - 1].at("test").at("loss");
  EXPECT_GT(history.back().at("test").at("loss"), kept + 0.01);
  const auto near = [](double a, double b) { return std::abs(a - b) < 1e-6; };
  EXPECT_PRED2(near, report.at("metrics").at("test").at("loss").get<double>(), kept);

  const CommandResult evaluated =
      RunPenstock({"evaluate", "1", "--data", test, "--data-dir", cluster.data_dir(), "-o", "json"}, 30000);
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  EXPECT_PRED2(near, json::parse(evaluated.out).at("data").at("loss").get<double>(), kept);
  EXPECT_EQ(cluster.Down(), 0);
}

TEST(KeepBest, WhatItNeedsIsNamed) {
  const TemporaryFolder folder;
  const std::string data = folder.Write("train.libsvm", GenerateLibsvm(20, 7));
  const std::string job = folder.Write(
      "job.toml", "[job]\nname = \"kept\"\n[data]\ntrain = \"" + data + "\"\n[train]\nkeep_best = true\n");
  const CommandResult without = RunPenstock({"train", job, "--local"});
  EXPECT_EQ(without.code, 2);
  EXPECT_NE(without.err.find("train.keep_best has a meaning only with train.evaluate_every"),
            std::string::npos)
      << without.err;
  const CommandResult no_data = RunPenstock({"train", job, "--local", "--set", "train.evaluate_every=1"});
  EXPECT_EQ(no_data.code, 2);
  EXPECT_NE(no_data.err.find("train.keep_best needs held-out data: set data.test or data.holdout_every"),
            std::string::npos)
      << no_data.err;
}

}  // namespace
}  // namespace penstock
