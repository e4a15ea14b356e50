#include "tests/fuzz/reader_driver.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/dataset.h"

namespace penstock {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

// A file that lives in memory and has a name as long as this object lives.
class MemoryFile {
 public:
  explicit MemoryFile(std::span<const uint8_t> contents) : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
    for (size_t done = 0; fd_ >= 0 && done < contents.size();) {
      const ssize_t n = write(fd_, contents.data() + done, contents.size() - done);
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() {
    if (fd_ >= 0) close(fd_);
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  const int fd_;
};

// What all records of a data set add up to, in the order that they are read in.
struct Sum {
  uint64_t good = 0, bad = 0;
  uint64_t features = 0;
  std::vector<float> labels = {};
  bool operator==(const Sum&) const = default;
};

std::string CheckBatch(const Batch& batch, bool dense) {
  if (batch.labels.size() != batch.rows) return "a batch has not one label a row";
  auto finite = [](const std::vector<float>& numbers) {
    return std::all_of(numbers.begin(), numbers.end(), [](float v) { return std::isfinite(v); });
  };
  if (!finite(batch.labels)) return "a label is not finite";
  if (!batch.weights.empty() && (batch.weights.size() != batch.rows || !finite(batch.weights))) {
    return "the weights are not one finite number a row";
  }
  if (dense) {
    if (batch.features.size() != batch.rows * batch.dim) return "a batch has not its features";
    if (!finite(batch.features)) return "a feature is not finite";
    if (batch.fields == 0) return "";
    if (batch.field_offsets.size() != batch.rows * batch.fields + 1) return "a batch has not its fields";
    if (batch.field_offsets.back() != batch.categories.size()) return "fields do not end with the categories";
    return std::is_sorted(batch.field_offsets.begin(), batch.field_offsets.end()) ? "" : "field offsets fall";
  }
  if (batch.row_offsets.size() != batch.rows + 1) return "a batch has not its row offsets";
  if (batch.row_offsets.back() != batch.ids.size()) return "row offsets do not end where the ids do";
  if (!std::is_sorted(batch.row_offsets.begin(), batch.row_offsets.end())) return "row offsets fall";
  if (batch.ids.size() != batch.values.size()) return "there are not as many ids as values";
  return finite(batch.values) ? "" : "a value is not finite";
}

// Reads everything in n partitions; returns what is violated.
std::string ReadAll(const Dataset& dataset, const DataIndex& index, uint32_t n, Sum* sum) {
  uint64_t counted = 0;
  for (const PartitionRange& range : index.Cut(n)) {
    const auto examples = dataset.ReadPartition(range);
    if (!examples.ok()) return "a partition cannot be read: " + examples.status().ToString();
    if (examples->size() + examples->bad_records != range.records) {
      return "a partition has " + std::to_string(examples->size()) + " good and " +
             std::to_string(examples->bad_records) + " bad records, its index counts " +
             std::to_string(range.records);
    }
    counted += range.records;
    std::vector<uint32_t> all(examples->size());
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint32_t>(i);
    Batch batch;
    examples->Gather(all, &batch);
    if (std::string violated = CheckBatch(batch, examples->dense); !violated.empty()) return violated;
    sum->good += examples->size();
    sum->bad += examples->bad_records;
    sum->features += batch.features.size() + batch.ids.size() + batch.categories.size();
    sum->labels.insert(sum->labels.end(), batch.labels.begin(), batch.labels.end());
  }
  return counted == index.records() ? "" : "the partitions have not the records of the index";
}

DatasetOptions OptionsOf(const std::string& reader, uint8_t choice) {
  DatasetOptions options{.max_bad_records = kNoLimit};
  const LossKind losses[] = {LossKind::kLogistic, LossKind::kSquared, LossKind::kSoftmax};
  options.loss = losses[choice % 3];
  options.classes = 10;
  if (choice % 2 == 1) options.features = 1000;
  if (choice % 5 == 4) options.holdout = {.every = 3, .offset = 1, .test = choice % 2 == 0};
  const char* const headers[] = {"auto", "yes", "no"};
  options.header = headers[choice / 4 % 3];
  if (choice >= 128) options.delimiter = choice >= 192 ? "::" : ";";
  auto schema = FeatureSchema::Of(
      reader, {"y:label", "a:numeric:1", "b:categorical", "c:multi", "w:weight:1", "t:timestamp", "i:ignore"},
      choice % 2 == 0 ? 0 : 100);
  if (schema.ok()) options.schema = *schema;
  if (options.schema && reader != "clicklog" && choice % 7 == 3) {
    const NumericScale scale{.logarithm = choice % 2 == 0, .mean = 1, .factor = 1e30};
    options.schema->set_scales(std::vector<NumericScale>(options.schema->dim(), scale));
  }
  return options;
}

}  // namespace

const std::vector<std::string>& FuzzedReaders() {
  static const std::vector<std::string> readers = {"csv", "tsv", "ratings", "clicklog", "libsvm", "idx"};
  return readers;
}

std::string DriveReader(const std::string& reader, std::span<const uint8_t> input) {
  if (input.empty()) return "";
  const DatasetOptions options = OptionsOf(reader, input[0]);
  input = input.subspan(1);
  size_t second = 0;  // bytes of the second file
  if (reader == "idx") {
    if (input.empty()) return "";
    second = std::min<size_t>(input[0], input.size() - 1);
    input = input.subspan(1);
  }
  const MemoryFile first_file(input.subspan(second)), second_file(input.first(second));
  std::vector<std::string> paths{first_file.path()};
  if (reader == "idx") paths.push_back(second_file.path());
  const auto dataset = Dataset::Open(reader, paths, options);
  if (!dataset.ok()) return dataset.status().message().empty() ? "a refusal without a message" : "";
  const auto index = (*dataset)->Index();
  if (!index.ok()) return index.status().message().empty() ? "a refusal without a message" : "";
  Sum whole, cut;
  if (std::string violated = ReadAll(**dataset, *index, 1, &whole); !violated.empty()) return violated;
  if (std::string violated = ReadAll(**dataset, *index, 7, &cut); !violated.empty()) return violated;
  return whole == cut ? "" : "the records depend on where the file is cut";
}

}  // namespace penstock
