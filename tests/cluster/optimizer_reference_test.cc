// Every optimizer on a running server, with clipping and schedules, through a client, against references in
// float64 over 1,000 steps (optimizer_reference.py).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

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

// One table, what is pushed into it and what it must then have.
struct Case {
  TableSpec table;
  bool own_count = false;  // its schedule goes by each row's own count: pushes carry no step
  uint32_t rows = 0, touched = 0, steps = 0;
  std::vector<uint64_t> keys;
  std::vector<float> grads;
  std::vector<double> want;

  TablePush PushOf(uint32_t step) const {
    const size_t first = size_t{step} * touched, last = first + touched, dim = table.dim;
    const auto at = [](const auto& values, size_t i) { return values.begin() + static_cast<ptrdiff_t>(i); };
    return {table.id, {at(keys, first), at(keys, last)}, {at(grads, first * dim), at(grads, last * dim)}};
  }
};

template <typename T>
void Read(const nlohmann::json& json, const char* name, T* value) {
  if (json.contains(name)) json.at(name).get_to(*value);
}

TableSpec SpecOf(const nlohmann::json& json) {
  TableSpec spec{
      .name = json.at("name"), .dim = json.at("dim"), .optimizer = {}, .durability = Durability::kMemory};
  if (const float initial = json.at("initial"); initial != 0)
    spec.initializer = {.kind = InitializerKind::kConstant, .value = initial};
  const auto &o = json.at("optimizer"), &s = json.at("schedule");
  spec.optimizer.kind = *ParseOptimizerKind(o.at("kind").get<std::string>());
  Read(o, "learning_rate", &spec.optimizer.learning_rate);
  Read(o, "l1", &spec.optimizer.l1);
  Read(o, "l2", &spec.optimizer.l2);
  Read(o, "beta1", &spec.optimizer.beta1);
  Read(o, "beta2", &spec.optimizer.beta2);
  Read(o, "epsilon", &spec.optimizer.epsilon);
  Read(o, "beta", &spec.optimizer.beta);
  Read(o, "initial_accumulator", &spec.optimizer.initial_accumulator);
  Read(o, "momentum", &spec.optimizer.momentum);
  Read(o, "clip_value", &spec.optimizer.clip_value);
  Read(o, "clip_norm", &spec.optimizer.clip_norm);
  spec.schedule.kind = *ParseScheduleKind(s.value("kind", "constant"));
  Read(s, "warmup_steps", &spec.schedule.warmup_steps);
  Read(s, "decay_steps", &spec.schedule.decay_steps);
  Read(s, "decay_rate", &spec.schedule.decay_rate);
  Read(s, "minimum", &spec.schedule.minimum);
  return spec;
}

std::vector<Case> ReadCases(const std::string& folder) {
  std::vector<Case> cases;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    const auto json = nlohmann::json::parse(std::ifstream(entry.path()));
    const std::string stem = folder + "/" + json.at("name").get<std::string>();
    cases.push_back({.table = SpecOf(json),
                     .own_count = json.at("own_count"),
                     .rows = json.at("rows"),
                     .touched = json.at("touched"),
                     .steps = json.at("steps"),
                     .keys = ReadArray<uint64_t>(stem + ".keys"),
                     .grads = ReadArray<float>(stem + ".grads"),
                     .want = ReadArray<double>(stem + ".want")});
  }
  return cases;
}

void ExpectReached(Client& client, const Case& c) {
  TableKeys all{c.table.id, {}};
  for (uint32_t row = 0; row < c.rows; ++row) all.keys.push_back(row);
  const auto pulled = client.Pull({all}).get();
  ASSERT_TRUE(pulled.ok()) << pulled.status().ToString();
  double largest = 0, difference = 0;
  for (size_t i = 0; i < c.want.size(); ++i) {
    largest = std::max(largest, std::abs(c.want[i]));
    difference = std::max(difference, std::abs(c.want[i] - pulled->values[0][i]));
  }
  std::printf("%-20s max difference %.2e of max |reference|\n", c.table.name.c_str(), difference / largest);
  EXPECT_LE(difference, kTolerance * largest) << c.table.name;
}

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
  auto producer = (*client)->NewProducer();
  ASSERT_TRUE(producer.ok()) << producer.status().ToString();
  std::vector<Case> cases = ReadCases(folder);
  std::set<OptimizerKind> optimizers;
  std::set<ScheduleKind> schedules;
  for (Case& c : cases) {
    auto table = (*client)->CreateTable(c.table);
    ASSERT_TRUE(table.ok()) << table.status().ToString();
    c.table = *table;
    ASSERT_EQ(c.steps, 1000u);
    optimizers.insert(c.table.optimizer.kind);
    schedules.insert(c.table.schedule.kind);
  }
  EXPECT_EQ(optimizers.size(), 13u) << "a kind has no reference";
  EXPECT_EQ(schedules.size(), 4u);

  // All tables of a kind of step in one call, as a job with several tables pushes.
  for (uint32_t step = 0; step < 1000; ++step) {
    for (const bool own_count : {false, true}) {
      std::vector<TablePush> pushes;
      for (const Case& c : cases) {
        if (c.own_count == own_count) pushes.push_back(c.PushOf(step));
      }
      const auto done = (*client)->Push(**producer, pushes, {.step = own_count ? 0 : step + 1}).get();
      ASSERT_TRUE(done.ok()) << done.status().ToString();
    }
  }
  for (const Case& c : cases) ExpectReached(**client, c);
  EXPECT_EQ(cases.size(), 48u);
}

}  // namespace
}  // namespace penstock
