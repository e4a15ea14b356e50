// What a worker computes for its examples, without a network: gather, keys, forward and backward, one thread.
// Run: build/release/bin/model_bench
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "data/examples.h"
#include "job/job_spec.h"
#include "model/blas.h"
#include "model/model.h"

namespace penstock {
namespace {

constexpr size_t kExamples = 1 << 16;
constexpr size_t kBuckets = 1 << 20;

// A click log: 13 numbers and 26 categories with one value each, the r-th most frequent about 1/r as often as
// the first, over a million buckets.
Examples ClickLog() {
  std::mt19937_64 random(1);
  Examples e;
  e.dense = true;
  e.dim = 13;
  e.fields = 26;
  for (size_t i = 0; i < kExamples; ++i) {
    for (size_t j = 0; j < e.dim; ++j) e.features.push_back(std::log1p(static_cast<float>(random() % 100)));
    for (size_t f = 0; f < e.fields; ++f) {
      const double rank = std::exp(static_cast<double>(random() >> 11) * 0x1p-53 * std::log(100'000.0));
      e.categories.push_back((static_cast<uint64_t>(rank) * 26 + f) * 0x9e3779b97f4a7c15ULL % kBuckets);
      e.field_offsets.push_back(e.categories.size());
    }
    e.labels.push_back(static_cast<float>(random() % 4 == 0));
  }
  return e;
}

Examples Images() {
  std::mt19937_64 random(1);
  Examples e;
  e.dense = true;
  e.dim = 784;
  e.mean = 0.286f;
  auto bytes = std::make_shared<std::vector<uint8_t>>(10'000 * e.dim);
  for (uint8_t& byte : *bytes) byte = static_cast<uint8_t>(random());
  for (uint32_t i = 0; i < 10'000; ++i) {
    e.records.push_back(i);
    e.labels.push_back(static_cast<float>(random() % 10));
  }
  e.bytes = std::move(bytes);
  return e;
}

void Train(benchmark::State& state, const Examples& examples, const nlohmann::json& data,
           const nlohmann::json& model_keys, size_t batch_size) {
  const auto job = JobFromJson({{"job", {{"name", "bench"}}}, {"data", data}, {"model", model_keys}});
  if (!job.ok()) {
    std::fprintf(stderr, "%s\n", job.status().ToString().c_str());
    std::abort();
  }
  const auto model = CreateModel(*job, {.dense = true,
                                        .features = examples.dim,
                                        .training_examples = examples.size(),
                                        .fields = examples.fields,
                                        .categories = examples.fields > 0 ? kBuckets : 0});
  if (!model.ok()) std::abort();
  std::vector<uint32_t> indices(examples.size());
  std::mt19937_64 random(2);
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<uint32_t>(i);
  std::shuffle(indices.begin(), indices.end(), random);

  Batch batch;
  PreparedBatch prepared;
  TableGradients gradients;
  std::vector<std::vector<float>> pulled;
  size_t at = 0, keys = 0, batches = 0;
  for (auto _ : state) {
    if (at + batch_size > indices.size()) at = 0;
    examples.Gather(std::span(indices).subspan(at, batch_size), &batch);
    at += batch_size;
    (*model)->Prepare(batch, Purpose::kTrain, &prepared);
    pulled.resize(prepared.keys.size());
    TableValues values;
    for (size_t t = 0; t < prepared.keys.size(); ++t) {
      pulled[t].resize(prepared.keys[t].size() * (*model)->Tables()[t].dim, 0.01f);
      values.push_back(pulled[t]);
      keys += prepared.keys[t].size();
    }
    ++batches;
    benchmark::DoNotOptimize((*model)->Compute(batch, prepared, values, &gradients));
  }
  state.counters["examples"] =
      benchmark::Counter(static_cast<double>(batch_size) * state.iterations(), benchmark::Counter::kIsRate);
  state.counters["keys/batch"] = static_cast<double>(keys) / static_cast<double>(batches);
}

const nlohmann::json kClickLog = {{"format", "clicklog"}, {"train", "none"}, {"hash_buckets", kBuckets}};

void LinearClickLog(benchmark::State& state) {
  Train(state, ClickLog(), kClickLog, {{"kind", "linear"}}, 4096);
}
BENCHMARK(LinearClickLog)->Unit(benchmark::kMillisecond);

void FmClickLog(benchmark::State& state) {
  Train(state, ClickLog(), kClickLog, {{"kind", "fm"}, {"factors", 16}}, 4096);
}
BENCHMARK(FmClickLog)->Unit(benchmark::kMillisecond);

void DeepClickLog(benchmark::State& state) {
  Train(state, ClickLog(), kClickLog, {{"kind", "deep"}, {"embedding_dim", 16}, {"hidden", {64, 32}}}, 4096);
}
BENCHMARK(DeepClickLog)->Unit(benchmark::kMillisecond);

void DeepImages(benchmark::State& state) {
  Train(state, Images(), {{"format", "idx"}, {"train", "none"}},
        {{"kind", "deep"}, {"loss", "softmax"}, {"classes", 10}, {"hidden", {128}}}, 64);
}
BENCHMARK(DeepImages)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::PrepareBlas(argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
