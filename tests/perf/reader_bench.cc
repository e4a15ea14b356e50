// How fast one thread reads each format: bytes of text a second, from a file in memory to examples.
// Run: build/release/bin/reader_bench
#include <benchmark/benchmark.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "data/dataset.h"

namespace penstock {
namespace {

constexpr size_t kBytes = 8 << 20;  // of text, as of one partition

template <typename... Arguments>
void Append(std::string* text, const char* format, Arguments... arguments) {
  char buffer[128];
  text->append(buffer, static_cast<size_t>(std::snprintf(buffer, sizeof(buffer), format, arguments...)));
}

// Ids ascend by up to 200, as in text classification; most values are short decimal fractions.
std::string Libsvm(std::mt19937& random, const char* value) {
  std::string line = random() % 2 == 0 ? "+1" : "-1";
  uint64_t id = 0;
  for (int i = 0; i < 40; ++i) {
    id += 1 + random() % 200;
    Append(&line, " %llu:", static_cast<unsigned long long>(id));
    Append(&line, value, (random() % 1'000'000) * 1e-6);
  }
  return line + "\n";
}

// Counts that are mostly small, a tenth of all fields empty, and categories of eight hexadecimal digits.
std::string ClickLog(std::mt19937& random) {
  std::string line = random() % 4 == 0 ? "1" : "0";
  for (int i = 0; i < 13; ++i) {
    line += '\t';
    if (random() % 10 != 0) Append(&line, "%d", static_cast<int>(std::exp2(random() % 1024 / 80.0)) - 1);
  }
  for (int i = 0; i < 26; ++i) {
    line += '\t';
    if (random() % 10 != 0) Append(&line, "%08x", static_cast<unsigned>(random() % 100'000 * 2654435761u));
  }
  return line + "\n";
}

// The columns of kCsvColumns.
std::string Csv(std::mt19937& random) {
  std::string line;
  Append(&line, "%d", static_cast<int>(random() % 2));
  for (int i = 0; i < 8; ++i) Append(&line, ",%.4f", (random() % 20'000 - 10'000.0) * 1e-4);
  for (int i = 0; i < 4; ++i) Append(&line, ",value-%u", static_cast<unsigned>(random() % 1000));
  return line + "\n";
}
const std::vector<std::string> kCsvColumns = {
    "y:label",        "n1:numeric",     "n2:numeric",    "n3:numeric", "n4:numeric",
    "n5:numeric",     "n6:numeric",     "n7:numeric",    "n8:numeric", "c1:categorical",
    "c2:categorical", "c3:categorical", "c4:categorical"};

std::string Ratings(std::mt19937& random) {
  std::string line;
  Append(&line, "%u,%u,%.1f,%u", static_cast<unsigned>(random() % 100'000),
         static_cast<unsigned>(random() % 200'000), (random() % 10 + 1) * 0.5,
         static_cast<unsigned>(1'000'000'000 + random() % 500'000'000));
  return line + "\n";
}

template <typename Line>
void Read(benchmark::State& state, const std::string& format, const Line& make_line) {
  std::mt19937 random(1);
  std::string text;
  while (text.size() < kBytes) text += make_line(random);
  const int fd = memfd_create("reader_bench", MFD_CLOEXEC);
  if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::abort();

  DatasetOptions options;
  options.loss = format == "ratings" ? LossKind::kSquared : LossKind::kLogistic;
  auto schema = FeatureSchema::Of(format, kCsvColumns, 1 << 20);
  if (!schema.ok()) std::abort();
  options.schema = *schema;
  options.header = "no";
  auto dataset = Dataset::Open(format, {"/proc/self/fd/" + std::to_string(fd)}, options);
  if (!dataset.ok()) std::abort();
  auto index = (*dataset)->Index();
  if (!index.ok()) std::abort();
  const PartitionRange range = index->Cut(1)[0];
  for (auto _ : state) {
    const auto examples = (*dataset)->ReadPartition(range);
    if (!examples.ok() || examples->size() != range.records) std::abort();
    benchmark::DoNotOptimize(examples->labels.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
  state.counters["records"] = benchmark::Counter(static_cast<double>(range.records) * state.iterations(),
                                                 benchmark::Counter::kIsRate);
  close(fd);
}

void ReadLibsvm(benchmark::State& state) {
  Read(state, "libsvm", [](std::mt19937& random) { return Libsvm(random, "%.6g"); });
}
BENCHMARK(ReadLibsvm)->Unit(benchmark::kMillisecond);
// As programs write doubles when nobody tells them not to: beyond what the fast path of numbers can take.
void ReadLibsvmLongNumbers(benchmark::State& state) {
  Read(state, "libsvm", [](std::mt19937& random) { return Libsvm(random, "%.17g"); });
}
BENCHMARK(ReadLibsvmLongNumbers)->Unit(benchmark::kMillisecond);
void ReadLibsvmOnes(benchmark::State& state) {
  Read(state, "libsvm", [](std::mt19937& random) { return Libsvm(random, "1"); });
}
BENCHMARK(ReadLibsvmOnes)->Unit(benchmark::kMillisecond);
void ReadClickLog(benchmark::State& state) { Read(state, "clicklog", ClickLog); }
BENCHMARK(ReadClickLog)->Unit(benchmark::kMillisecond);
void ReadCsv(benchmark::State& state) { Read(state, "csv", Csv); }
BENCHMARK(ReadCsv)->Unit(benchmark::kMillisecond);
void ReadRatings(benchmark::State& state) { Read(state, "ratings", Ratings); }
BENCHMARK(ReadRatings)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace penstock
