// LibsvmParser: one line of a libsvm file to one sparse example. Pure; no files.
//
// A parser belongs to one thread.
#pragma once

#include <string>

#include "data/dataset.h"
#include "data/record_parser.h"

namespace penstock {

class LibsvmParser final : public RecordParser {
 public:
  explicit LibsvmParser(const DatasetOptions& options);

  void Reserve(size_t bytes, Examples* examples) const override;
  Outcome ParseLine(const char* line, const char* end, Examples* examples) override;

 private:
  bool ParseLabel(const char** at, const char* end, Examples* examples);
  bool ParseFeatures(const char* at, const char* end, Examples* examples);
  bool ParseId(const char** at, const char* end, uint64_t* id);
  // Each composes the error and returns false.
  bool BadId(const char* at, const char* end);
  bool BadOrder(uint64_t id, uint64_t previous);
  bool BadValue(uint64_t id, const char* at, const char* end);

  const DatasetOptions options_;
  const uint64_t id_limit_;
};

}  // namespace penstock
