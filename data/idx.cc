#include "data/idx.h"

#include <algorithm>
#include <cstdio>

#include "data/byte_stream.h"

namespace penstock {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 36;

Status Wrong(const std::string& path, const std::string& what) {
  return InvalidArgument("'" + path + "': " + what);
}

Result<size_t> ReadBytes(ByteStream* file, uint8_t* to, size_t size) {
  return file->Read(reinterpret_cast<char*>(to), size);
}

Result<std::vector<uint32_t>> ReadSizes(ByteStream* file, const std::string& path) {
  uint8_t magic[4];
  PENSTOCK_ASSIGN_OR_RETURN(size_t size, ReadBytes(file, magic, sizeof(magic)));
  if (size < sizeof(magic) || magic[0] != 0 || magic[1] != 0 || magic[2] != 8 || magic[3] < 1 ||
      magic[3] > 4) {
    char found[32] = "nothing";
    if (size == sizeof(magic)) {
      std::snprintf(found, sizeof(found), "%02x %02x %02x %02x", magic[0], magic[1], magic[2], magic[3]);
    }
    return Wrong(path, std::string("no idx file of unsigned bytes: it begins with ") + found +
                           ", allowed is 00 00 08 and 01 to 04");
  }
  std::vector<uint32_t> sizes(magic[3]);
  for (uint32_t& value : sizes) {
    uint8_t b[4];
    PENSTOCK_ASSIGN_OR_RETURN(size_t read, ReadBytes(file, b, sizeof(b)));
    if (read < sizeof(b)) return Wrong(path, "truncated: the file ends within its header");
    value = static_cast<uint32_t>(b[0]) << 24 | static_cast<uint32_t>(b[1]) << 16 |
            static_cast<uint32_t>(b[2]) << 8 | b[3];
  }
  return sizes;
}

Result<uint64_t> FileSize(const std::string& path) {
  PENSTOCK_ASSIGN_OR_RETURN(FileReader file, FileReader::Open(path));
  return file.size();
}

// "…/train-images-idx3-ubyte.gz" -> "…/train-labels-idx1-ubyte.gz"
Result<std::string> LabelsPath(const std::string& images) {
  constexpr std::string_view from = "images-idx3", to = "labels-idx1";
  const size_t at = images.rfind(from);
  if (at == std::string::npos) {
    return InvalidArgument(
        "'" + images +
        "': the labels file cannot be told from this name (it has no 'images-idx3'); name it with "
        "data.train_labels or data.test_labels");
  }
  return std::string(images).replace(at, from.size(), to);
}

}  // namespace

Result<std::vector<std::string>> IdxPaths(std::vector<std::string> paths) {
  if (paths.size() == 1) {
    PENSTOCK_ASSIGN_OR_RETURN(std::string labels, LabelsPath(paths[0]));
    paths.push_back(std::move(labels));
  }
  if (paths.size() == 2) return paths;
  return InvalidArgument("format idx takes an images and a labels file, " + std::to_string(paths.size()) +
                         " files were given");
}

uint64_t IdxArray::record_bytes() const {
  uint64_t product = 1;
  for (size_t i = 1; i < sizes.size(); ++i) product *= sizes[i];
  return product;
}

Result<IdxArray> ReadIdx(const std::string& path) {
  PENSTOCK_ASSIGN_OR_RETURN(const auto file, ByteStream::Open(path));
  IdxArray array;
  PENSTOCK_ASSIGN_OR_RETURN(array.sizes, ReadSizes(file.get(), path));
  uint64_t total = 1;
  for (uint32_t size : array.sizes) {
    if (size != 0 && total > kMaxBytes / size) {
      return Wrong(path, "its header promises more than " + std::to_string(kMaxBytes) + " bytes");
    }
    total *= size;
  }
  // Memory grows with what is really there: a header may promise anything.
  auto bytes = std::make_shared<std::vector<uint8_t>>();
  constexpr size_t kFirstStep = 1 << 20;
  while (bytes->size() < total) {
    const size_t had = bytes->size();
    bytes->resize(std::min<uint64_t>(total, std::max(kFirstStep, 2 * had)));
    PENSTOCK_ASSIGN_OR_RETURN(size_t read, ReadBytes(file.get(), bytes->data() + had, bytes->size() - had));
    if (had + read < bytes->size()) {
      return Wrong(path, "truncated: its header promises " + std::to_string(total) +
                             " bytes of data, it has " + std::to_string(had + read));
    }
  }
  uint8_t extra;
  PENSTOCK_ASSIGN_OR_RETURN(size_t more, ReadBytes(file.get(), &extra, 1));
  if (more != 0)
    return Wrong(path, "data goes on after the " + std::to_string(total) + " bytes its header promises");
  array.bytes = std::move(bytes);
  return array;
}

Result<IdxArray> IdxCache::Get(const std::string& path) {
  PENSTOCK_ASSIGN_OR_RETURN(const FileReader file, FileReader::Open(path));
  const FileIdentity identity = file.identity();
  std::lock_guard lock(mutex_);
  Entry& entry = entries_[path];
  if (auto bytes = entry.bytes.lock(); bytes != nullptr && entry.identity == identity)
    return IdxArray{entry.sizes, bytes};
  PENSTOCK_ASSIGN_OR_RETURN(IdxArray array, ReadIdx(path));
  entry = {identity, array.sizes, array.bytes};
  return array;
}

Result<std::unique_ptr<Dataset>> IdxDataset::Open(std::vector<std::string> paths,
                                                  const DatasetOptions& options) {
  IdxCache own;
  IdxCache& cache = options.idx_cache ? *options.idx_cache : own;
  PENSTOCK_ASSIGN_OR_RETURN(IdxArray images, cache.Get(paths[0]));
  PENSTOCK_ASSIGN_OR_RETURN(IdxArray labels, cache.Get(paths[1]));
  if (labels.sizes.size() != 1) {
    return Wrong(paths[1], "labels must have 1 dimension, this has " + std::to_string(labels.sizes.size()));
  }
  if (images.sizes[0] != labels.sizes[0]) {
    return InvalidArgument("'" + paths[0] + "' has " + std::to_string(images.sizes[0]) + " images, '" +
                           paths[1] + "' has " + std::to_string(labels.sizes[0]) +
                           " labels: they must be as many");
  }
  if (images.record_bytes() == 0) return Wrong(paths[0], "its images have no pixels");
  PENSTOCK_ASSIGN_OR_RETURN(uint64_t image_bytes, FileSize(paths[0]));
  PENSTOCK_ASSIGN_OR_RETURN(uint64_t label_bytes, FileSize(paths[1]));
  return std::unique_ptr<Dataset>(std::make_unique<IdxDataset>(
      std::move(paths), std::move(images), std::move(labels), image_bytes + label_bytes, options));
}

IdxDataset::IdxDataset(std::vector<std::string> paths, IdxArray images, IdxArray labels, uint64_t size_bytes,
                       const DatasetOptions& options)
    : Dataset(std::move(paths)),
      images_(std::move(images)),
      labels_(std::move(labels)),
      size_bytes_(size_bytes),
      options_(options) {}

Result<DataIndex> IdxDataset::Index() const {
  DataIndex index(options_.holdout);
  index.BeginFile(0, images_.sizes[0], /*divisible=*/true);
  for (uint64_t record = 0; record < images_.sizes[0]; ++record) index.AddRecord(record + 1, true);
  return index;
}

Result<Examples> IdxDataset::Read(PartitionRange range) const {
  Examples examples;
  examples.dense = true;
  examples.bytes = images_.bytes;
  examples.first_record = range.begin;
  examples.dim = images_.record_bytes();
  examples.mean = options_.pixel_mean;
  const uint64_t end = std::min<uint64_t>(range.end, images_.sizes[0]);
  for (uint64_t record = range.begin; record < end; ++record) {
    if (!options_.holdout.Takes(record)) continue;
    const Status label = AddLabel((*labels_.bytes)[record], options_, &examples);
    if (label.ok()) {
      examples.records.push_back(static_cast<uint32_t>(record - range.begin));
      continue;
    }
    ++examples.bad_records;
    std::string message = paths_[1] + ": record " + std::to_string(record) + " (from 0): " + label.message();
    if (examples.bad_records > options_.max_bad_records) return InvalidArgument(std::move(message));
    if (examples.bad_messages.size() < Examples::kMessagesKept)
      examples.bad_messages.push_back(std::move(message));
  }
  return examples;
}

}  // namespace penstock
