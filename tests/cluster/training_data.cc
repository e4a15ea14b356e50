#include "tests/cluster/training_data.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>

namespace penstock {
namespace {

constexpr uint32_t kFeatures = 123;
constexpr size_t kOnes = 14;

uint64_t CountLines(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return static_cast<uint64_t>(
      std::count(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>(), '\n'));
}

}  // namespace

std::string GenerateLibsvm(uint64_t records, uint64_t seed) {
  std::mt19937_64 hidden(1), random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> weights(kFeatures + 1);
  for (double& weight : weights) weight = normal(hidden);
  std::string text;
  for (uint64_t i = 0; i < records; ++i) {
    std::set<uint32_t> ids;
    while (ids.size() < kOnes) ids.insert(1 + random() % kFeatures);
    double margin = normal(random);
    for (uint32_t id : ids) margin += weights[id];
    text += margin > 0 ? "+1" : "-1";
    for (uint32_t id : ids) text += " " + std::to_string(id) + ":1";
    text += "\n";
  }
  return text;
}

TrainingData A9aOrGenerated(const TemporaryFolder& folder) {
  const char* given = std::getenv("PENSTOCK_DATA");
  const std::string data = given != nullptr ? given : PENSTOCK_SOURCE_DIR "/../shared/data";
  TrainingData found{.train = data + "/a9a/a9a", .test = data + "/a9a/a9a.t", .records = 0, .a9a = true};
  if (!std::filesystem::exists(found.train) || !std::filesystem::exists(found.test)) {
    found = {.train = folder.Write("train.libsvm", GenerateLibsvm(30000, 2)),
             .test = folder.Write("test.libsvm", GenerateLibsvm(5000, 3)),
             .records = 0,
             .a9a = false};
  }
  found.records = CountLines(found.train);
  return found;
}

}  // namespace penstock
