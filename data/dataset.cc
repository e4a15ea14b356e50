#include "data/dataset.h"

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

// The images and the labels.
Result<std::vector<std::string>> IdxFiles(std::vector<std::string> paths) {
  if (paths.size() == 1) {
    PENSTOCK_ASSIGN_OR_RETURN(std::string labels, LabelsPath(paths[0]));
    paths.push_back(std::move(labels));
  }
  if (paths.size() == 2) return paths;
  return InvalidArgument("format idx takes an images and a labels file, " + std::to_string(paths.size()) +
                         " files were given");
}

Result<std::unique_ptr<Dataset>> OpenFormat(const std::string& format, const std::vector<std::string>& paths,
                                            const DatasetOptions& options) {
  if (format == "idx") return IdxDataset::Open(paths, options);
  if (options.schema) return TextDataset::Open(paths, ColumnFormat::Create(format, options), options);
  return TextDataset::Open(paths, std::make_unique<LibsvmFormat>(options), options);
}

Result<FileIdentity> IdentityOf(const std::string& path) {
  PENSTOCK_ASSIGN_OR_RETURN(const FileReader file, FileReader::Open(path));
  return file.identity();
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
    PENSTOCK_ASSIGN_OR_RETURN(files, IdxFiles(paths));
  }
  std::vector<FileIdentity> identities;
  for (const std::string& file : files) {
    PENSTOCK_ASSIGN_OR_RETURN(const FileIdentity identity, IdentityOf(file));
    identities.push_back(identity);
  }
  PENSTOCK_ASSIGN_OR_RETURN(auto dataset, OpenFormat(format, files, options));
  dataset->identities_ = std::move(identities);
  return dataset;
}

Status Dataset::CheckSame(size_t file) const {
  if (file >= identities_.size()) return Status::Ok();
  PENSTOCK_ASSIGN_OR_RETURN(const FileIdentity now, IdentityOf(paths_[file]));
  const FileIdentity& before = identities_[file];
  if (now == before) return Status::Ok();
  const std::string what = now.size != before.size ? "it has " + std::to_string(now.size) +
                                                         " bytes, it had " + std::to_string(before.size)
                           : now.IsSameFile(before) ? "it was written to"
                                                    : "another file has taken its place";
  return FailedPrecondition("'" + paths_[file] + "' is not what it was when it was opened: " + what);
}

Result<Examples> Dataset::ReadPartition(const PartitionRange& range) const {
  if (in_memory()) return Read(range);
  PENSTOCK_RETURN_IF_ERROR(CheckSame(range.file));
  auto examples = Read(range);
  // What a file gave that changed meanwhile is neither data nor an error of the data.
  PENSTOCK_RETURN_IF_ERROR(CheckSame(range.file));
  return examples;
}

Result<std::string> Dataset::Fingerprint() const {
  std::string fingerprint;
  for (const std::string& path : paths_) {
    PENSTOCK_ASSIGN_OR_RETURN(FileReader file, FileReader::Open(path));
    PENSTOCK_ASSIGN_OR_RETURN(uint32_t crc, ContentHash(file));
    char text[64];
    std::snprintf(text, sizeof(text), "%s%llu-%08x", fingerprint.empty() ? "" : "+",
                  static_cast<unsigned long long>(file.size()), crc);
    fingerprint += text;
  }
  for (size_t i = 0; i < paths_.size(); ++i) PENSTOCK_RETURN_IF_ERROR(CheckSame(i));
  return fingerprint;
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
