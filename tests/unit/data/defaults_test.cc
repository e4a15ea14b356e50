// What a job that sets nothing but its data reaches on a click log: the defaults of each model kind converge.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/common/temp_dir.h"
#include "tests/unit/data/local_trainer.h"

namespace penstock {
namespace {

constexpr int kCounts = 13, kCategories = 26;

// Clicks by a logistic model of counts and of categories that are as unevenly frequent as those of real logs,
// from 3 to 10,000 of a field. A quarter are clicks; the constant guess has a log loss of 0.54, the model
// that they were drawn from 0.37.
class ClickMaker {
 public:
  ClickMaker() {
    for (double& weight : counts_) weight = 0.25 * Normal();
    for (double& size : sizes_) size = std::pow(10, 0.5 + 3.5 * Uniform());
  }

  // Returns the share of clicks.
  double Write(const std::string& path, int records) {
    std::ofstream out(path);
    int clicks = 0;
    for (int i = 0; i < records; ++i) {
      const std::string line = Line();
      clicks += line.front() == '1';
      out << line << "\n";
    }
    return static_cast<double>(clicks) / records;
  }

 private:
  double Uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }
  double Normal() {
    double sum = 0;  // of twelve, whose variance is 1
    for (int i = 0; i < 12; ++i) sum += Uniform();
    return sum - 6;
  }
  std::string Line() {
    double score = -1.6;
    std::string fields;
    for (const double weight : counts_) {
      fields += '\t';
      if (Uniform() < 0.15) continue;
      const double count = std::floor(std::exp(1.5 + 1.5 * Normal()));
      fields += std::to_string(static_cast<int>(count));
      score += weight * (std::log1p(count) - 1.6);
    }
    for (int i = 0; i < kCategories; ++i) {
      const auto category = static_cast<uint64_t>(std::pow(sizes_[i], Uniform()));
      const uint64_t hash = Mix64(category * kCategories + i);
      std::mt19937_64 of_category(hash);
      double effect = -6;
      for (int k = 0; k < 12; ++k) effect += static_cast<double>(of_category() >> 11) * 0x1p-53;
      score += 0.35 * effect;
      char text[16];
      std::snprintf(text, sizeof text, "\t%08x", static_cast<unsigned>(hash));
      fields += text;
    }
    return (Uniform() < 1 / (1 + std::exp(-score)) ? "1" : "0") + fields;
  }

  std::mt19937_64 random_{7};
  std::array<double, kCounts> counts_;
  std::array<double, kCategories> sizes_;
};

TEST(Defaults, ConvergeOnAClickLog) {
  const TempDir folder;
  ClickMaker clicks;
  clicks.Write(folder.path() + "/train.txt", 7000);
  const double share = clicks.Write(folder.path() + "/test.txt", 2000);
  const double guess = -(share * std::log(share) + (1 - share) * std::log(1 - share));  // that alone
  std::ofstream(folder.path() + "/job.toml") << "[job]\nname = \"clicks\"\n[data]\nformat = \"clicklog\"\n"
                                             << "train = \"" << folder.path() << "/train.txt\"\n"
                                             << "test = \"" << folder.path() << "/test.txt\"\n";
  for (const std::string kind : {"linear", "fm"}) {
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      const auto job =
          LoadJob(folder.path() + "/job.toml", {"model.kind=" + kind, "train.seed=" + std::to_string(seed)});
      ASSERT_TRUE(job.ok()) << job.status().ToString();
      auto trainer = LocalTrainer::Create(*job, /*workers=*/2, /*delay=*/4);
      ASSERT_TRUE(trainer.ok()) << trainer.status().ToString();
      for (uint32_t pass = 0; pass < job->train.passes; ++pass) ASSERT_TRUE((*trainer)->Pass(pass).ok());
      const auto test = (*trainer)->Evaluate(DataRole::kTest)->Results((*trainer)->objective());
      EXPECT_LE(test["loss"].get<double>(), std::min(0.56, guess - 0.02))
          << kind << ", seed " << seed << ": " << test.dump();
    }
  }
}

}  // namespace
}  // namespace penstock
