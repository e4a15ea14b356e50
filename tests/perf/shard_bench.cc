// How fast one thread looks rows up, gathers and pushes them, steps them and builds deltas of them.
// Run: build/release/bin/shard_bench --benchmark_counters_tabular=true
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/base/hash.h"
#include "server/shard/optimizer_kernels.h"
#include "server/shard/shard.h"

namespace penstock {
namespace {

constexpr size_t kBatch = 10'000;
constexpr TableId kTable = 1;

// A benchmark that measures a refusal would be worse than none.
void Check(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::abort();
}

TableSpec Spec(uint32_t dim, OptimizerKind kind) {
  TableSpec spec;
  spec.id = kTable;
  spec.name = "bench";
  spec.dim = dim;
  spec.optimizer.kind = kind;
  return spec;
}

// A table of rows 0 .. rows-1 with an AdaGrad slot a value; the last one asked for is kept, because filling
// takes longer than measuring.
const RowTable& FilledTable(size_t rows, uint32_t dim) {
  static std::unique_ptr<RowTable> table;
  if (table == nullptr || table->size() != rows || table->dim() != dim) {
    table.reset();
    table = std::make_unique<RowTable>(kTable, dim, dim);
    Check(table->Reserve(rows));
    for (Key key = 0; key < rows; ++key) table->Values(table->Insert(key))[0] = 1;
  }
  return *table;
}

// 64 batches of random keys, used in turn.
std::vector<std::vector<Key>> RandomBatches(size_t rows, size_t batch = kBatch) {
  std::mt19937_64 random(1);
  std::vector<std::vector<Key>> batches(64, std::vector<Key>(batch));
  for (auto& keys : batches) {
    for (Key& key : keys) key = random() % rows;
  }
  return batches;
}

void CountRows(benchmark::State& state, double rows_each) {
  state.counters["rows"] = benchmark::Counter(rows_each * state.iterations(), benchmark::Counter::kIsRate);
}

void Lookup(benchmark::State& state) {
  const RowTable& table = FilledTable(state.range(0), 16);
  const auto batches = RandomBatches(table.size());
  std::vector<RowNumber> found(kBatch);
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(table.FindBatch(batches[i++ % batches.size()], found.data()));
  CountRows(state, kBatch);
  state.counters["overhead"] = table.ResidentBytes() / (table.size() * table.row_floats() * 4.0);
}
BENCHMARK(Lookup)->Arg(1'000'000)->Arg(10'000'000);

void LookupAndGather(benchmark::State& state) {
  const RowTable& table = FilledTable(state.range(0), static_cast<uint32_t>(state.range(1)));
  const auto batches = RandomBatches(table.size());
  std::vector<float> out(kBatch * table.dim());
  const size_t bytes = table.dim() * sizeof(float);
  size_t i = 0;
  for (auto _ : state) {
    table.VisitBatch(batches[i++ % batches.size()], [&](size_t k, RowHeader* row) {
      std::memcpy(out.data() + k * table.dim(), RowTable::Values(row), bytes);
    });
    benchmark::ClobberMemory();
  }
  CountRows(state, kBatch);
}
BENCHMARK(LookupAndGather)->Args({10'000'000, 16})->Args({1'000'000, 16})->Args({2'000'000, 64});

void PullMissing(benchmark::State& state) {
  TableSpec spec = Spec(16, OptimizerKind::kAdd);
  spec.initializer.kind = static_cast<InitializerKind>(state.range(0));
  if (spec.initializer.kind == InitializerKind::kUniform) spec.initializer.high = 1;
  if (spec.initializer.kind == InitializerKind::kNormal) spec.initializer.stddev = 1;
  Shard shard({});
  Check(shard.CreateTable(spec));
  const auto batches = RandomBatches(1'000'000);
  std::vector<float> out(kBatch * 16);
  size_t i = 0;
  for (auto _ : state)
    benchmark::DoNotOptimize(shard.PullRows(kTable, batches[i++ % batches.size()], out.data(), nullptr).ok());
  CountRows(state, kBatch);
}
BENCHMARK(PullMissing)->ArgName("initializer")->DenseRange(0, 3);

// Steps a batch of rows that fits the cache, as the push of one batch does.
void Kernel(benchmark::State& state) {
  const TableSpec spec =
      Spec(static_cast<uint32_t>(state.range(1)), static_cast<OptimizerKind>(state.range(0)));
  Optimizer optimizer(spec.optimizer);
  const size_t rows = 65'536 / spec.dim, floats = spec.row_floats();
  std::vector<float> state_floats(rows * floats, 0.5f), gradients(rows * spec.dim, 0.01f);
  uint32_t push = 0;
  for (auto _ : state) {
    ++push;
    for (size_t r = 0; r < rows; ++r) {
      float* row = state_floats.data() + r * floats;
      optimizer.Apply(push % 4000 + 1, /*step=*/0, gradients.data() + r * spec.dim, spec.dim, row,
                      row + spec.dim);
    }
  }
  state.counters["params"] = benchmark::Counter(static_cast<double>(rows * spec.dim) * state.iterations(),
                                                benchmark::Counter::kIsRate);
  state.SetLabel(std::string(ToString(spec.optimizer.kind)));
}
BENCHMARK(Kernel)
    ->ArgNames({"kind", "dim"})
    ->ArgsProduct({benchmark::CreateDenseRange(0, 12, 1), {1, 16, 64, 1024}});

void CountNonFiniteValues(benchmark::State& state) {
  const std::vector<float> values(kBatch * 16, 1);
  for (auto _ : state) benchmark::DoNotOptimize(CountNonFinite(values.data(), values.size()));
  state.SetBytesProcessed(state.iterations() * values.size() * sizeof(float));
}
BENCHMARK(CountNonFiniteValues);

// Pushes of known rows over a whole shard, and a delta of what they changed after every `batches` of them.
void Push(benchmark::State& state) {
  const size_t rows = state.range(0), dim = state.range(1), batches_a_delta = state.range(2);
  Shard shard({});
  Check(shard.CreateTable(Spec(dim, OptimizerKind::kAdagrad)));
  Check(shard.BeginEpoch(1, 1));
  std::vector<float> values(kBatch * dim, 0.01f);
  std::vector<Key> keys(kBatch);
  Sequence sequence = 0;
  auto push = [&](std::span<const Key> unit) {
    ++sequence;
    Check(shard.PushUnit({.producer = 1, .sequence = sequence, .low = sequence}, kTable, unit, values.data())
              .status());
  };
  for (Key key = 0; key < rows; key += kBatch) {
    for (size_t i = 0; i < kBatch; ++i) keys[i] = key + i;
    push(keys);
  }
  Check(shard.BuildDelta().status());
  const auto batches = RandomBatches(rows);
  size_t i = 0;
  for (auto _ : state) {
    push(batches[i++ % batches.size()]);
    if (batches_a_delta > 0 && i % batches_a_delta == 0) benchmark::DoNotOptimize(shard.BuildDelta().ok());
  }
  CountRows(state, kBatch);
}
BENCHMARK(Push)
    ->ArgNames({"rows", "dim", "batches/delta"})
    ->ArgsProduct({{1'000'000}, {1, 16, 64}, {0, 4}})
    ->Args({10'000'000, 16, 0});

// A server core's work: pulls of batches over many shards, and SGD pushes of those that were pulled two
// batches before.
void Step(benchmark::State& state) {
  constexpr size_t kShards = 128, kBuffers = 3;
  const size_t rows = state.range(0), dim = state.range(1);
  std::vector<std::unique_ptr<Shard>> shards;
  Sequence sequence = 0;
  const std::vector<float> values(kBatch * dim, 0.01f);
  auto push = [&](const std::vector<std::vector<Key>>& units, const float* from) {
    ++sequence;
    for (size_t s = 0; s < kShards; ++s) {
      const UnitContext unit{.producer = 1, .sequence = sequence, .low = sequence};
      Check(shards[s]->PushUnit(unit, kTable, units[s], from).status());
      from += units[s].size() * dim;
    }
  };
  auto split = [&](std::span<const Key> keys) {
    std::vector<std::vector<Key>> units(kShards);
    for (const Key key : keys) units[ShardOf(RowHash(key, kTable), kShards)].push_back(key);
    return units;
  };
  for (size_t s = 0; s < kShards; ++s) {
    shards.push_back(std::make_unique<Shard>(ShardOptions{}));
    Check(shards[s]->CreateTable(Spec(dim, OptimizerKind::kSgd)));
    Check(shards[s]->BeginEpoch(1, 1));
  }
  std::vector<Key> keys(kBatch);
  for (Key key = 0; key < rows; key += kBatch) {
    for (size_t i = 0; i < kBatch; ++i) keys[i] = key + i;
    push(split(keys), values.data());
  }
  for (const auto& shard : shards) Check(shard->BuildDelta().status());
  std::vector<std::vector<std::vector<Key>>> batches;
  for (const auto& batch : RandomBatches(rows)) batches.push_back(split(batch));
  std::vector<std::vector<float>> buffers(kBuffers, std::vector<float>(kBatch * dim));
  std::vector<uint32_t> cold;
  size_t i = kBuffers;
  for (auto _ : state) {
    float* out = buffers[i % kBuffers].data();
    const auto& pulled = batches[i % batches.size()];
    for (size_t s = 0; s < kShards; ++s) {
      Check(shards[s]->PullRows(kTable, pulled[s], out, &cold));
      out += pulled[s].size() * dim;
    }
    push(batches[(i - 2) % batches.size()], buffers[(i - 2) % kBuffers].data());
    ++i;
  }
  CountRows(state, kBatch);
}
BENCHMARK(Step)->ArgNames({"rows", "dim"})->ArgsProduct({{1'000'000}, {1, 16, 64}});

void BuildDelta(benchmark::State& state) {
  const size_t dim = state.range(0), rows = 100'000;
  Shard shard({});
  Check(shard.CreateTable(Spec(dim, OptimizerKind::kAdagrad)));
  Check(shard.BeginEpoch(1, 1));
  std::vector<Key> keys(10'000);
  const std::vector<float> values(keys.size() * dim, 0.01f);
  Sequence sequence = 0;
  size_t bytes = 0;
  for (auto _ : state) {
    state.PauseTiming();
    for (Key key = 0; key < rows; key += keys.size()) {
      for (size_t i = 0; i < keys.size(); ++i) keys[i] = key + i;
      ++sequence;
      Check(
          shard.PushUnit({.producer = 1, .sequence = sequence, .low = sequence}, kTable, keys, values.data())
              .status());
    }
    state.ResumeTiming();
    const auto built = shard.BuildDelta();
    bytes += built->words.asBytes().size();
  }
  CountRows(state, rows);
  state.SetBytesProcessed(bytes);
}
BENCHMARK(BuildDelta)->ArgName("dim")->Arg(1)->Arg(16)->Arg(64);

}  // namespace
}  // namespace penstock
