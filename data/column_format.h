// ColumnFormat: text whose records are fields, one for each column of a FeatureSchema.
//
//   csv       fields separated by data.delimiter; a field in double quotes may hold delimiters, line ends
//   and,
//             doubled, quotes (RFC 4180)
//   tsv       fields separated by tabs, no quoting
//   ratings   csv of user, item, rating and perhaps timestamp
//   clicklog  tsv of a label, 13 whole numbers x, which become sign(x) * log(1 + |x|), and 26 categories
//
// A record has as many fields as there are columns. Lines may end with "\r\n"; blank ones are no records.
// docs/data.md has what is said of malformed records.
#pragma once

#include <memory>

#include "data/dataset.h"
#include "data/record_parser.h"

namespace penstock {

class ColumnFormat final : public TextFormat {
 public:
  // format: csv, tsv, ratings or clicklog; options.schema must be set.
  static std::unique_ptr<TextFormat> Create(const std::string& format, const DatasetOptions& options);
  ColumnFormat(const std::string& format, const DatasetOptions& options);

  bool dense() const override { return true; }
  uint64_t features() const override { return options_.schema->dim(); }
  uint64_t fields() const override { return options_.schema->fields(); }
  char quoted_delimiter() const override { return quoted_ ? delimiter_ : 0; }
  bool may_have_header() const override { return !click_log_ && options_.header != "no"; }
  Result<bool> HasHeader(std::string_view first) const override;
  std::unique_ptr<RecordParser> NewParser() const override;

 private:
  const DatasetOptions options_;
  const bool click_log_, ratings_, quoted_;
  const char delimiter_;
};

}  // namespace penstock
