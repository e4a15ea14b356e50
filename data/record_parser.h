// RecordParser: one record of a text file to one example. Pure; no files. A parser belongs to one thread.
//
// TextFormat: what TextDataset must know of a format to cut a file into records and to get a parser for them.
// Immutable.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/base/status.h"
#include "data/examples.h"
#include "data/field_text.h"

namespace penstock {

class RecordParser {
 public:
  enum class Outcome { kRecord, kEmpty, kMalformed };

  virtual ~RecordParser() = default;
  // Makes room in `examples` for what about `bytes` of text may hold.
  virtual void Reserve(size_t bytes, Examples* examples) const = 0;
  // Parses [line, end), where *end must be '\n' and kTextSlack bytes behind it be readable. A record is
  // appended to `examples`; otherwise it is left as it was, and for kMalformed error() says what is wrong and
  // what is allowed.
  virtual Outcome ParseLine(const char* line, const char* end, Examples* examples) = 0;
  const std::string& error() const { return error_; }

 protected:
  // Composes the error; returns false for the parsers' convenience.
  bool Fail(std::string message) {
    error_ = std::move(message);
    return false;
  }

 private:
  std::string error_;
};

class TextFormat {
 public:
  virtual ~TextFormat() = default;
  virtual bool dense() const { return false; }
  virtual uint64_t features() const = 0;         // Dataset::features
  virtual uint64_t fields() const { return 0; }  // Dataset::fields
  // RecordEnd: what separates the fields of a format whose fields may be quoted; 0: a record is a line.
  virtual char quoted_delimiter() const { return 0; }
  // A line that begins with '#' is none of the records.
  virtual bool comments() const { return false; }
  // Whether a file may begin with a header, so that its first record must be shown to HasHeader.
  virtual bool may_have_header() const { return false; }
  // Whether `first`, the first record of a file without its line end, is a header. InvalidArgument says why
  // a file with this first record cannot be read.
  virtual Result<bool> HasHeader(std::string_view first) const { return false; }
  virtual std::unique_ptr<RecordParser> NewParser() const = 0;
};

}  // namespace penstock
