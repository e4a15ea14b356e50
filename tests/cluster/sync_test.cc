// Jobs with consistency sync: the weights after 200 optimizer steps or more do not depend on how many workers
// there are nor on processes that are killed, and are those of one process that takes the same steps
// (sync_reference.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/atomic_file.h"
#include "data/data_plan.h"
#include "data/minibatch_plan.h"
#include "tests/cluster/penstock_command.h"
#include "tests/cluster/test_cluster.h"
#include "tests/cluster/training_data.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr uint64_t kSteps = 200;                     // at least
constexpr double kSame = 1e-5;                       // of the largest weight of a table
constexpr double kReference = 1e-4;                  // the same, against float64
constexpr const char* kPython = "/usr/bin/python3";  // Debian's is the one that has torch
constexpr const char* kFashion = "/usr/share/datasets/fashion-mnist/";

using Weights = std::map<std::string, std::vector<float>>;  // by table

template <typename T>
void WriteArray(std::ofstream& out, const std::vector<T>& values) {
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(T)));
}

// The largest difference, of the largest absolute value.
template <typename T>
double Difference(const std::vector<float>& weights, const std::vector<T>& want) {
  EXPECT_EQ(weights.size(), want.size());
  double largest = 0, difference = 0;
  for (size_t i = 0; i < std::min(weights.size(), want.size()); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(want[i])));
    difference = std::max(difference, std::abs(static_cast<double>(want[i]) - weights[i]));
  }
  EXPECT_GT(largest, 0);
  return difference / largest;
}

void ExpectSame(const Weights& weights, const Weights& want, const std::string& what) {
  ASSERT_EQ(weights.size(), want.size());
  for (const auto& [table, values] : want) {
    const double difference = Difference(weights.at(table), values);
    std::printf("%s, table %s: max difference %.1e of max |weight|\n", what.c_str(), table.c_str(),
                difference);
    EXPECT_LE(difference, kSame) << what << ", table " << table;
  }
}

// One run of a job in a cluster of its own, so that the tables have the same ids and initial values.
class SyncRun {
 public:
  // How many workers, and what is to happen to some of them.
  struct Settings {
    int workers = 1;
    std::map<std::string, std::string> faults;  // by worker
    bool restarts = false;                      // of a server and of the scheduler, killed in the middle
  };

  SyncRun(std::string job, const Settings& settings) : job_(std::move(job)), settings_(settings) {}

  void Run() {
    const Status up = cluster_.Start();
    ASSERT_TRUE(up.ok()) << up.ToString();
    auto client = cluster_.Connect();
    ASSERT_TRUE(client.ok()) << client.status().ToString();
    client_ = std::move(*client);
    auto train =
        ChildProgram::Start({.argv = {ProgramFolder() + "/penstock", "train", job_, "--scheduler",
                                      cluster_.scheduler_address(), "--token-file", cluster_.token_file()},
                             .output = cluster_.dir() + "/train.out",
                             .errors = "",
                             .environment = {}});
    ASSERT_TRUE(train.ok());
    // No worker runs yet: these are the initial weights.
    ASSERT_TRUE(WaitFor(30000, [&] { return Admin(*client_).Inspect("job", "1").ok(); })) << Output();
    job_json = *Admin(*client_).Inspect("job", "1");
    ASSERT_NO_FATAL_FAILURE(PullAll(&initial));
    for (int i = 0; i < settings_.workers; ++i) {
      const std::string name = "worker-" + std::to_string(i);
      std::map<std::string, std::string> environment;
      if (const auto fault = settings_.faults.find(name); fault != settings_.faults.end())
        environment["PENSTOCK_FAULT_POINTS"] = fault->second;
      ASSERT_TRUE(cluster_.StartOne(name, environment).ok());
    }
    for (const auto& [name, fault] : settings_.faults) {
      ASSERT_EQ(cluster_.WaitExit(name, 60000), 128 + 9) << name << " lives: " << fault << Output();
      // The first one stays away: its minibatch goes to another.
      if (name != settings_.faults.begin()->first) {
        ASSERT_TRUE(cluster_.StartOne(name).ok());
      }
    }
    if (settings_.restarts) {
      ASSERT_NO_FATAL_FAILURE(KillOthers());
    }
    ASSERT_EQ(train->WaitExit(120000), 0) << Output();
    ASSERT_NO_FATAL_FAILURE(PullAll(&weights));
    EXPECT_EQ((*Admin(*client_).Inspect("job", "1"))["examples"], job_json["examples_total"]);
    EXPECT_GE((*Admin(*client_).Inspect("job", "1"))["round"], kSteps);
    EXPECT_EQ((*Admin(*client_).Inspect("job", "1"))["round"], job_json["rounds"]);
  }

  json job_json;
  Weights initial, weights;

 private:
  std::string Output() const {
    const auto text = ReadWholeFile(cluster_.dir() + "/train.out");
    return (text.ok() ? *text : "") + cluster_.Output("worker-0") + cluster_.Output("scheduler");
  }

  // Servers and scheduler, one after the other, while rounds go on.
  void KillOthers() {
    uint64_t round = 0;
    for (const std::string name : {"server-0", "scheduler", "server-1"}) {
      round += 40;
      ASSERT_TRUE(WaitFor(60000, [&] {
        const auto job = Admin(*client_).Inspect("job", "1");
        return job.ok() && job->value("round", uint64_t{0}) >= round;
      })) << Output();
      ASSERT_EQ((*Admin(*client_).Inspect("job", "1"))["state"], "running") << "it was over too soon";
      cluster_.Kill(name);
      ASSERT_TRUE(cluster_.StartOne(name).ok());
    }
  }

  void PullAll(Weights* out) {
    const std::string prefix = job_json["name"].get<std::string>() + ".1/";
    const json tables = *Admin(*client_).Inspect("tables");
    for (const json& table : tables) {
      const auto spec = client_->OpenTable(table["name"].get<std::string>());
      ASSERT_TRUE(spec.ok()) << spec.status().ToString();
      EXPECT_TRUE(spec->accumulate) << spec->name;
      const bool dense = spec->dense_size > 0;
      TableKeys keys{spec->id, {}};
      for (Key key = 0; key < (dense ? (spec->dense_size + spec->dim - 1) / spec->dim : 124); ++key)
        keys.keys.push_back(key);
      auto pulled = client_->Pull({keys}).get();
      ASSERT_TRUE(pulled.ok()) << pulled.status().ToString();
      auto& values = (*out)[spec->name.substr(prefix.size())];
      values = std::move(pulled->values[0]);
      if (dense) values.resize(spec->dense_size);
    }
  }

  const std::string job_;
  const Settings settings_;
  // Small segments: the log is folded again and again while rounds are open.
  TestCluster cluster_{
      {.servers = 2, .shards = 8, .set = {"server.segment_bytes=1048576", "server.fold_bytes=2097152"}}};
  std::unique_ptr<Client> client_;
};

// The examples of every step, as workers get them.
void WriteBatches(const json& job_json, size_t dim, const std::string& path) {
  const json& spec = job_json["spec"];
  const auto job = JobFromJson(spec["options"]);
  ASSERT_TRUE(job.ok()) << job.status().ToString();
  const auto plan = spec["data_plan"].get<JobPlan>();
  const auto data = OpenJobData(*job, plan, DataRole::kTrain);
  ASSERT_TRUE(data.ok()) << data.status().ToString();
  const uint64_t rounds = RoundsPerPass(plan.train, job->train.batch_size);
  ASSERT_EQ(rounds, job_json["rounds"]);
  ASSERT_EQ(plan.train.partitions.size(), job->train.streams);
  std::vector<Examples> streams;
  std::vector<MinibatchPlan> plans;
  for (uint32_t s = 0; s < job->train.streams; ++s) {
    streams.push_back(*(*data)->ReadPartition(plan.train.partitions[s]));
    plans.push_back(
        MinibatchPlan::OfRounds(rounds, job->train.shuffle, job->train.seed, 0, s, streams.back().size()));
  }
  std::ofstream out(path, std::ios::binary);
  uint64_t examples = 0;
  for (uint64_t k = 0; k < rounds; ++k) {
    std::vector<float> features, labels;
    for (uint32_t s = 0; s < job->train.streams; ++s) {
      Batch batch;
      streams[s].Gather(plans[s].Indices(k), &batch);
      labels.insert(labels.end(), batch.labels.begin(), batch.labels.end());
      const size_t first = features.size();
      features.resize(first + batch.rows * dim);
      if (batch.dense)
        std::copy(batch.features.begin(), batch.features.end(),
                  features.begin() + static_cast<ptrdiff_t>(first));
      for (size_t row = 0; !batch.dense && row < batch.rows; ++row) {
        for (size_t i = batch.row_offsets[row]; i < batch.row_offsets[row + 1]; ++i)
          features[first + row * dim + batch.ids[i]] = batch.values[i];
      }
    }
    EXPECT_LE(labels.size(), job->train.batch_size + job->train.streams);
    examples += labels.size();
    const auto count = static_cast<uint32_t>(labels.size());
    out.write(reinterpret_cast<const char*>(&count), sizeof count);
    WriteArray(out, features);
    WriteArray(out, labels);
  }
  EXPECT_EQ(examples, plan.train.records);
}

class SyncTest : public ::testing::Test {
 protected:
  // The same job with 1, 2 and 4 workers, with killed ones, and by PyTorch.
  void Check(const std::string& job, json reference, size_t dim) {
    SyncRun one(job, {.workers = 1, .faults = {}});
    ASSERT_NO_FATAL_FAILURE(one.Run());
    for (const int workers : {2, 4}) {
      SyncRun more(job, {.workers = workers, .faults = {}});
      ASSERT_NO_FATAL_FAILURE(more.Run());
      ExpectSame(more.weights, one.weights, std::to_string(workers) + " workers");
      EXPECT_EQ(more.initial, one.initial);
    }
    SyncRun killed(job,
                   {.workers = 3,
                    .faults = {{"worker-0", "worker.step=kill@30"}, {"worker-1", "worker.commit=kill@5"}}});
    ASSERT_NO_FATAL_FAILURE(killed.Run());
    ExpectSame(killed.weights, one.weights, "workers killed");
    SyncRun restarted(job, {.workers = 2, .faults = {}, .restarts = true});
    ASSERT_NO_FATAL_FAILURE(restarted.Run());
    ExpectSame(restarted.weights, one.weights, "servers and scheduler killed");
    if (std::system((std::string(kPython) + " -c 'import torch, numpy' >/dev/null 2>&1").c_str()) != 0)
      GTEST_SKIP() << kPython << " has no torch (Debian: python3-torch)";
    ASSERT_NO_FATAL_FAILURE(CheckReference(one, std::move(reference), dim));
  }

  void CheckReference(const SyncRun& run, json reference, size_t dim) {
    const std::string& folder = folder_.path();
    ASSERT_NO_FATAL_FAILURE(WriteBatches(run.job_json, dim, folder + "/batches.bin"));
    reference["dim"] = dim;
    reference["steps"] = run.job_json["rounds"];
    for (const auto& [table, values] : run.initial) {
      reference["tables"].push_back(table);
      std::ofstream out(folder + "/weights-" + table + ".bin", std::ios::binary);
      WriteArray(out, values);
    }
    std::ofstream(folder + "/job.json") << reference.dump();
    ASSERT_EQ(std::system((std::string(kPython) +
                           " " PENSTOCK_SOURCE_DIR "/tests/cluster/sync_reference.py " + folder)
                              .c_str()),
              0);
    for (const auto& [table, values] : run.weights) {
      const std::string path = folder + "/want-" + table + ".bin";
      std::vector<double> want(std::filesystem::file_size(path) / sizeof(double));
      std::ifstream(path, std::ios::binary)
          .read(reinterpret_cast<char*>(want.data()),
                static_cast<std::streamsize>(want.size() * sizeof(double)));
      const double difference = Difference(values, want);
      std::printf("PyTorch, table %s: max difference %.1e of max |weight|\n", table.c_str(), difference);
      EXPECT_LE(difference, kReference) << table;
    }
  }

  TemporaryFolder folder_;
};

TEST_F(SyncTest, LinearOnSparseData) {
  const TrainingData data = A9aOrGenerated(folder_);
  // With an accumulator of 0 the first step would be lr * sign(g), also where g is nothing but rounding.
  constexpr double kL2 = 1.0, kRate = 0.15, kEpsilon = 1e-10, kAccumulator = 0.01;
  const std::string job = folder_.Write(
      "job.toml",
      "[job]\nname = \"linear\"\n[data]\ntrain = \"" + data.train +
          "\"\n[model]\nkind = \"linear\"\nbias = false\nfeatures = 124\nl2 = 1.0\nl2_all = true\n"
          "[optimizer]\nkind = \"adagrad\"\nlearning_rate = 0.15\nepsilon = 1e-10\ninitial_accumulator = "
          "0.01\n[train]\n"
          "consistency = \"sync\"\nevaluate = false\nbatch_size = " +
          std::to_string((data.records + kSteps - 1) / kSteps) + "\n");
  Check(job,
        {{"optimizer", "adagrad"},
         {"learning_rate", kRate},
         {"epsilon", kEpsilon},
         {"initial_accumulator", kAccumulator},
         {"l2", kL2 / static_cast<double>(data.records)}},
        124);
}

// Three tables, one of them of the optimizer add, whose counts are sums over the rounds as well.
TEST_F(SyncTest, FactorizationMachineWithScaledRegularisers) {
  const TrainingData data = A9aOrGenerated(folder_);
  const std::string job = folder_.Write(
      "job.toml", "[job]\nname = \"fm\"\n[data]\ntrain = \"" + data.train +
                      "\"\n[model]\nkind = \"fm\"\nfeatures = 124\nfactors = 4\nl2 = 1.0\nfactor_l2 = 20.0\n"
                      "l2_scaled = true\n[optimizer]\nkind = \"adagrad\"\nlearning_rate = 0.1\n"
                      "initial_accumulator = 0.01\n[train]\nconsistency = \"sync\"\nevaluate = false\n"
                      "batch_size = " +
                      std::to_string((data.records + kSteps - 1) / kSteps) + "\n");
  SyncRun one(job, {.workers = 1, .faults = {}}), two(job, {.workers = 2, .faults = {}});
  ASSERT_NO_FATAL_FAILURE(one.Run());
  ASSERT_NO_FATAL_FAILURE(two.Run());
  ExpectSame(two.weights, one.weights, "2 workers");
  const auto& counts = one.weights.at("counts");
  EXPECT_LE(*std::max_element(counts.begin(), counts.end()), one.job_json["rounds"].get<double>() * 1.001);
  EXPECT_GE(*std::max_element(counts.begin(), counts.end()), one.job_json["rounds"].get<double>() * 0.5);
  EXPECT_NE(one.weights.at("factors"), one.initial.at("factors"));
}

// The first images of a file, unpacked.
std::string CutIdx(const TemporaryFolder& folder, const std::string& name, size_t header, size_t bytes,
                   uint32_t count) {
  const std::string path = folder.path() + "/" + name;
  const std::string command = "zcat " + std::string(kFashion) + name + ".gz 2>/dev/null | head -c " +
                              std::to_string(header + bytes * count) + " > " + path;
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(4);
  for (const int shift : {24, 16, 8, 0}) file.put(static_cast<char>(count >> shift));
  return path;
}

TEST_F(SyncTest, DeepOnImages) {
  if (!std::filesystem::exists(std::string(kFashion) + "train-images-idx3-ubyte.gz"))
    GTEST_SKIP() << "no Fashion-MNIST in " << kFashion << " (Debian: dataset-fashion-mnist)";
  constexpr uint32_t kBatch = 64;
  const std::string images = CutIdx(folder_, "train-images-idx3-ubyte", 16, 784, kSteps * kBatch);
  CutIdx(folder_, "train-labels-idx1-ubyte", 8, 1, kSteps * kBatch);
  const std::string job = folder_.Write(
      "job.toml",
      "[job]\nname = \"deep\"\n[data]\nformat = \"idx\"\npixel_mean = 0.286\ntrain = \"" + images +
          "\"\n[model]\nkind = \"deep\"\nloss = \"softmax\"\nhidden = [128]\nclasses = 10\n[optimizer]\n"
          "kind = \"sgd\"\nlearning_rate = 0.1\n[schedule]\nkind = \"cosine\"\nwarmup_steps = 20\n"
          "decay_steps = 160\n[tables.layer2.optimizer]\nlearning_rate = 0.05\n[train]\n"
          "consistency = \"sync\"\nevaluate = false\nbatch_size = 64\n");
  Check(job,
        {{"optimizer", "sgd"},
         {"learning_rates", {{"layer1", 0.1}, {"layer2", 0.05}}},
         {"warmup_steps", 20},
         {"decay_steps", 160},
         {"widths", {784, 128, 10}}},
        784);
}

}  // namespace
}  // namespace penstock
