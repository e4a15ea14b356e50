// LibsvmFormat: a libsvm text file (dataset.h has the format).
#pragma once

#include <memory>

#include "data/libsvm_parser.h"

namespace penstock {

class LibsvmFormat final : public TextFormat {
 public:
  explicit LibsvmFormat(const DatasetOptions& options) : options_(options) {}

  uint64_t features() const override { return options_.features; }
  bool comments() const override { return true; }
  std::unique_ptr<RecordParser> NewParser() const override {
    return std::make_unique<LibsvmParser>(options_);
  }

 private:
  const DatasetOptions options_;
};

}  // namespace penstock
