// How fast one thread puts a push on the wire and takes it off again, and converts what travels as bf16.
// Run: build/release/bin/codec_bench
#include <benchmark/benchmark.h>
#include <capnp/message.h>
#include <capnp/orphan.h>
#include <capnp/serialize.h>

#include <cstdlib>
#include <vector>

#include "common/base/bf16.h"
#include "common/base/crc32c.h"
#include "common/base/ids.h"
#include "proto/data.capnp.h"

namespace penstock {
namespace {

constexpr size_t kRows = 10'000;
constexpr uint32_t kGroups = 64;

// The push of a batch to one endpoint: groups of one table, keys and values by reference.
struct PushBatch {
  explicit PushBatch(size_t dim) : keys(kRows, 1), values(kRows * dim, 0.01f) {}

  void Write(capnp::MessageBuilder& message) const {
    auto request = message.initRoot<proto::PushRequest>();
    request.setProducer(1);
    request.setSequence(2);
    auto table = request.initTables(1)[0];
    table.setTable(1);
    auto groups = table.initGroups(kGroups);
    for (uint32_t g = 0; g < kGroups; ++g) {
      groups[g].setShard(g);
      groups[g].setEpoch(1);
      groups[g].setCount((g + 1) * kRows / kGroups - g * kRows / kGroups);
    }
    const auto orphanage = capnp::Orphanage::getForMessageContaining(request);
    table.adoptKeys(orphanage.referenceExternalData(Bytes(keys)));
    table.adoptValues(orphanage.referenceExternalData(Bytes(values)));
  }
  template <typename T>
  static kj::ArrayPtr<const kj::byte> Bytes(const std::vector<T>& v) {
    return kj::arrayPtr(reinterpret_cast<const kj::byte*>(v.data()), v.size() * sizeof(T));
  }
  size_t bytes() const { return keys.size() * sizeof(Key) + values.size() * sizeof(float); }

  std::vector<Key> keys;
  std::vector<float> values;
};

void EncodePush(benchmark::State& state) {
  const PushBatch batch(state.range(0));
  for (auto _ : state) {
    capnp::MallocMessageBuilder message;
    batch.Write(message);
    benchmark::DoNotOptimize(message.getSegmentsForOutput().size());
  }
  state.counters["calls"] =
      benchmark::Counter(static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}
BENCHMARK(EncodePush)->ArgName("dim")->Arg(1)->Arg(16)->Arg(64);

void DecodePush(benchmark::State& state) {
  const PushBatch batch(state.range(0));
  capnp::MallocMessageBuilder message;
  batch.Write(message);
  const auto words = capnp::messageToFlatArray(message);
  for (auto _ : state) {
    capnp::FlatArrayMessageReader reader(words, {.traversalLimitInWords = SIZE_MAX});
    const auto table = reader.getRoot<proto::PushRequest>().getTables()[0];
    uint64_t rows = 0;
    for (const auto group : table.getGroups()) rows += group.getCount() + group.getShard();
    if (table.getValues().size() != batch.values.size() * sizeof(float)) std::abort();
    benchmark::DoNotOptimize(rows);
  }
  state.counters["calls"] =
      benchmark::Counter(static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}
BENCHMARK(DecodePush)->ArgName("dim")->Arg(1)->Arg(16)->Arg(64);

void FloatsToBf16(benchmark::State& state) {
  const std::vector<float> values(kRows * 16, 0.01f);
  std::vector<uint16_t> narrow(values.size());
  for (auto _ : state) {
    ToBf16(values, narrow.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * values.size() * sizeof(float)));
}
BENCHMARK(FloatsToBf16);

void FloatsFromBf16(benchmark::State& state) {
  const std::vector<uint16_t> narrow(kRows * 16, 0x3f80);
  std::vector<float> values(narrow.size());
  for (auto _ : state) {
    FromBf16(narrow, values.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * values.size() * sizeof(float)));
}
BENCHMARK(FloatsFromBf16);

void Checksum(benchmark::State& state) {
  const std::vector<char> bytes(1 << 20, 'x');
  for (auto _ : state) benchmark::DoNotOptimize(Crc32c(0, bytes.data(), bytes.size()));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes.size()));
}
BENCHMARK(Checksum);

}  // namespace
}  // namespace penstock
