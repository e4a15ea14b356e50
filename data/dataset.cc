#include "data/dataset.h"

#include <glog/logging.h>

#include <cmath>
#include <cstdio>

#include "common/base/crc32c.h"
#include "data/column_format.h"
#include "data/idx.h"
#include "data/libsvm.h"
#include "data/text_dataset.h"

namespace penstock {
namespace {

constexpr uint64_t kWholeBytes = 64 << 20;
constexpr uint64_t kSampleBytes = 1 << 20;
// A file that is written while it is read is read again so often.
constexpr int kMostReads = 5;

Result<uint32_t> ContentHash(const FileReader& file) {
  std::vector<char> buffer(kSampleBytes);
  uint32_t crc = 0;
  const uint64_t pieces = (std::min(file.size(), kWholeBytes) + kSampleBytes - 1) / kSampleBytes;
  for (uint64_t i = 0; i < pieces; ++i) {
    // Files up to the limit piece by piece; of larger ones, evenly spread pieces from the first to the last
    // byte.
    const uint64_t offset =
        file.size() <= kWholeBytes
            ? i * kSampleBytes
            : static_cast<uint64_t>(static_cast<double>(file.size() - kSampleBytes) *
                                    (static_cast<double>(i) / static_cast<double>(pieces - 1)));
    PENSTOCK_ASSIGN_OR_RETURN(size_t read, file.Read(offset, buffer.size(), buffer.data()));
    crc = Crc32c(crc, buffer.data(), read);
  }
  return crc;
}

Result<std::unique_ptr<Dataset>> OpenFormat(const std::string& format, const std::vector<std::string>& paths,
                                            const DatasetOptions& options) {
  if (format == "idx") return IdxDataset::Open(paths, options);
  if (options.schema) return TextDataset::Open(paths, ColumnFormat::Create(format, options), options);
  return TextDataset::Open(paths, std::make_unique<LibsvmFormat>(options), options);
}

// One file's part of Dataset::Fingerprint.
Result<std::string> FingerprintOf(const FileReader& file) {
  PENSTOCK_ASSIGN_OR_RETURN(const uint32_t crc, ContentHash(file));
  char text[64];
  std::snprintf(text, sizeof(text), "%llu-%08x", static_cast<unsigned long long>(file.size()), crc);
  return std::string(text);
}

Status Changed(const std::string& path, const std::string& how) {
  return FailedPrecondition("'" + path + "' is not what it was when it was opened: " + how);
}

}  // namespace

Result<std::unique_ptr<Dataset>> Dataset::Open(const std::string& format,
                                               const std::vector<std::string>& paths,
                                               const DatasetOptions& options) {
  if (format != "idx" && format != "libsvm" && !options.schema) {
    return InvalidArgument("data format '" + format +
                           "' is none of libsvm, idx and, with a schema, csv, tsv, ratings, clicklog");
  }
  std::vector<std::string> files = paths;
  if (format == "idx") {
    PENSTOCK_ASSIGN_OR_RETURN(files, IdxPaths(paths));
  }
  std::vector<Seen> seen;
  for (const std::string& path : files) {
    PENSTOCK_ASSIGN_OR_RETURN(const FileReader file, FileReader::Open(path));
    seen.push_back({.identity = file.identity(), .fingerprint = ""});
  }
  PENSTOCK_ASSIGN_OR_RETURN(auto dataset, OpenFormat(format, files, options));
  dataset->seen_ = std::move(seen);
  return dataset;
}

Result<FileIdentity> Dataset::CheckSame(size_t file) const {
  std::lock_guard lock(mutex_);
  if (file >= seen_.size()) return FileIdentity{};
  Seen& seen = seen_[file];
  PENSTOCK_ASSIGN_OR_RETURN(const FileReader now, FileReader::Open(paths_[file]));
  if (now.identity() == seen.identity) return now.identity();
  if (now.size() != seen.identity.size) {
    return Changed(paths_[file], "it has " + std::to_string(now.size()) + " bytes, it had " +
                                     std::to_string(seen.identity.size));
  }
  const std::string how =
      now.identity().IsSameFile(seen.identity) ? "it was written to" : "another file has taken its place";
  if (now.size() > kWholeBytes) {
    return Changed(paths_[file], how + ", and files of more than " + std::to_string(kWholeBytes >> 20) +
                                     " MiB are not compared with what they had");
  }
  if (seen.fingerprint.empty()) return Changed(paths_[file], how);
  PENSTOCK_ASSIGN_OR_RETURN(const std::string fingerprint, FingerprintOf(now));
  if (fingerprint != seen.fingerprint) return Changed(paths_[file], how);
  LOG(WARNING) << "'" << paths_[file] << "': " << how << ", its contents are the same";
  seen.identity = now.identity();
  return now.identity();
}

Result<Examples> Dataset::ReadPartition(const PartitionRange& range) const {
  if (range.file >= paths_.size()) {
    return InvalidArgument("a partition of file " + std::to_string(range.file) + " of " +
                           std::to_string(paths_.size()));
  }
  if (in_memory()) return Read(range);
  for (int i = 0; i < kMostReads; ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(const FileIdentity before, CheckSame(range.file));
    auto examples = Read(range);
    // What a file gave that changed meanwhile is neither data nor an error of the data, even if it is written
    // as it was: while it was being written it may have been short.
    PENSTOCK_ASSIGN_OR_RETURN(const FileIdentity after, CheckSame(range.file));
    if (after == before) return examples;
  }
  return Changed(paths_[range.file], "it is written to whenever it is read");
}

Result<std::string> Dataset::Fingerprint() const {
  std::string whole;
  for (size_t i = 0; i < paths_.size(); ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(const FileReader file, FileReader::Open(paths_[i]));
    PENSTOCK_ASSIGN_OR_RETURN(const std::string fingerprint, FingerprintOf(file));
    PENSTOCK_ASSIGN_OR_RETURN(const FileIdentity identity, CheckSame(i));
    if (identity != file.identity() && i < seen_.size()) return Changed(paths_[i], "it was written to");
    whole += (i == 0 ? "" : "+") + fingerprint;
    std::lock_guard lock(mutex_);
    if (i < seen_.size()) seen_[i].fingerprint = fingerprint;
  }
  return whole;
}

namespace {

Result<float> NormalizeLabel(double label, const DatasetOptions& options) {
  auto text = [&] {
    char buffer[32];
    std::snprintf(buffer, sizeof(buffer), "%g", label);
    return "label " + std::string(buffer);
  };
  if (!std::isfinite(label)) return InvalidArgument(text() + " is not finite");
  switch (options.loss) {
    case LossKind::kLogistic:
    case LossKind::kHinge:
      if (label != 1 && label != 0 && label != -1) return InvalidArgument(text() + " is none of -1, 0, +1");
      return label > 0 ? 1.0f : 0.0f;
    case LossKind::kSoftmax:
      if (label < 0 || label >= options.classes || label != std::floor(label)) {
        return InvalidArgument(text() + " is no class: allowed are whole numbers from 0 to " +
                               std::to_string(options.classes - 1));
      }
      return static_cast<float>(label);
    case LossKind::kSquared:
      break;
  }
  if (!std::isfinite(static_cast<float>(label)))
    return InvalidArgument(text() + " is too large for a 32-bit float");
  return static_cast<float>(label);
}

}  // namespace

Status AddLabel(double label, const DatasetOptions& options, Examples* examples) {
  PENSTOCK_ASSIGN_OR_RETURN(const float normalized, NormalizeLabel(label, options));
  if (options.loss == LossKind::kLogistic || options.loss == LossKind::kHinge) {
    examples->minus_ones |= label == -1;
    examples->zeros |= label == 0;
  }
  examples->labels.push_back(normalized);
  return Status::Ok();
}

}  // namespace penstock
