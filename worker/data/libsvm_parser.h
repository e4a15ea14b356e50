// LibsvmParser: one line of a libsvm file to one sparse example. Pure; no files.
//
// Reals of up to 15 significant digits without exponent take a fast path whose result is the correctly
// rounded double, then rounded to float; everything else goes through std::from_chars. A parser belongs to
// one thread.
#pragma once

#include <string>

#include "worker/data/dataset.h"

namespace penstock {

class LibsvmParser {
 public:
  explicit LibsvmParser(const DatasetOptions& options);

  enum class Outcome { kRecord, kEmpty, kMalformed };
  // Parses [line, end), where *end must be readable and be '\n'. A record is appended to `examples`;
  // otherwise it is left as it was, and for kMalformed error() says what is wrong and what is allowed.
  Outcome ParseLine(const char* line, const char* end, Examples* examples);
  const std::string& error() const { return error_; }

 private:
  bool ParseLabel(const char** at, const char* end, float* label);
  bool ParseFeatures(const char* at, const char* end, Examples* examples);
  bool ParseId(const char** at, const char* end, uint64_t* id);
  // Each composes error_ and returns false.
  bool BadId(const char* at, const char* end);
  bool BadOrder(uint64_t id, uint64_t previous);
  bool BadValue(uint64_t id, const char* at, const char* end);
  bool Fail(std::string message);

  const DatasetOptions options_;
  const uint64_t id_limit_;
  std::string error_;
};

}  // namespace penstock
