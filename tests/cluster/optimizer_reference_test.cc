// Every optimizer on a running server, through a client, against references in float64 over 1,000 steps
// (optimizer_reference.py).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/cluster/test_cluster.h"

namespace penstock {
namespace {

constexpr double kTolerance = 1e-5;  // of the largest reference weight of the table

template <typename T>
std::vector<T> ReadArray(const std::string& path) {
  std::vector<T> values(std::filesystem::file_size(path) / sizeof(T));
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
  return values;
}

// Debian's interpreter is the one that has torch.
constexpr const char* kPython = "/usr/bin/python3";

TEST(OptimizerReference, ThousandStepsThroughARunningServer) {
  if (std::system((std::string(kPython) + " -c 'import torch, numpy' >/dev/null 2>&1").c_str()) != 0) {
    GTEST_SKIP() << kPython << " has no torch (Debian: python3-torch)";
  }
  TestCluster cluster({.servers = 2});
  ASSERT_TRUE(cluster.Start().ok()) << cluster.Output("scheduler") << cluster.Output("server-0");
  const std::string folder = cluster.dir() + "/reference";
  ASSERT_TRUE(std::filesystem::create_directory(folder));
  ASSERT_EQ(std::system((std::string(kPython) +
                         " " PENSTOCK_SOURCE_DIR "/tests/cluster/optimizer_reference.py " + folder)
                            .c_str()),
            0);
  auto client = cluster.Connect();
  ASSERT_TRUE(client.ok()) << client.status().ToString();
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    ++cases;
    const auto json = nlohmann::json::parse(std::ifstream(entry.path()));
    const std::string stem = folder + "/" + json.at("name").get<std::string>();
    const auto keys = ReadArray<uint64_t>(stem + ".keys");
    const auto grads = ReadArray<float>(stem + ".grads");
    const auto want = ReadArray<double>(stem + ".want");
    const uint32_t rows = json.at("rows"), dim = json.at("dim"), touched = json.at("touched"),
                   steps = json.at("steps");
    TableSpec spec;
    spec.name = json.at("name");
    spec.dim = dim;
    spec.durability = Durability::kMemory;
    const float initial = json.at("initial");
    if (initial != 0) spec.initializer = {.kind = InitializerKind::kConstant, .value = initial};
    const auto& o = json.at("optimizer");
    spec.optimizer = {.kind = *ParseOptimizerKind(o.at("kind").get<std::string>()),
                      .learning_rate = o.value("learning_rate", OptimizerSpec{}.learning_rate),
                      .l1 = o.value("l1", 0.0f),
                      .l2 = o.value("l2", 0.0f),
                      .beta1 = o.value("beta1", 0.9f),
                      .beta2 = o.value("beta2", 0.999f),
                      .epsilon = o.value("epsilon", 1e-8f),
                      .beta = o.value("beta", 1.0f),
                      .initial_accumulator = o.value("initial_accumulator", 0.0f)};
    auto table = (*client)->CreateTable(spec);
    ASSERT_TRUE(table.ok()) << table.status().ToString();
    auto producer = (*client)->NewProducer();
    ASSERT_TRUE(producer.ok()) << producer.status().ToString();
    for (uint32_t step = 0; step < steps; ++step) {
      TablePush push{
          table->id,
          {keys.begin() + step * touched, keys.begin() + (step + 1) * touched},
          {grads.begin() + size_t{step} * touched * dim, grads.begin() + size_t{step + 1} * touched * dim}};
      auto done = (*client)->Push(**producer, {std::move(push)}).get();
      ASSERT_TRUE(done.ok()) << done.status().ToString();
    }
    TableKeys all{table->id, {}};
    for (uint32_t row = 0; row < rows; ++row) all.keys.push_back(row);
    auto pulled = (*client)->Pull({all}).get();
    ASSERT_TRUE(pulled.ok()) << pulled.status().ToString();
    double largest = 0, difference = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      largest = std::max(largest, std::abs(want[i]));
      difference = std::max(difference, std::abs(want[i] - pulled->values[0][i]));
    }
    std::printf("%-20s max difference %.2e of max |reference|\n", spec.name.c_str(), difference / largest);
    EXPECT_LE(difference, kTolerance * largest) << spec.name;
  }
  EXPECT_EQ(cases, 18);
}

}  // namespace
}  // namespace penstock
