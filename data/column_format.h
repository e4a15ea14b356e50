// ColumnFormat: text whose records are fields, one for each column of a FeatureSchema.
//
//   csv       fields separated by data.delimiter; where that is one character, a field in double quotes may
//             hold delimiters, line ends and, doubled, quotes (RFC 4180)
//   tsv       fields separated by tabs, no quoting
//   ratings   csv of user, item, rating and perhaps timestamp
//   clicklog  tsv of a label, 13 whole numbers x, which become sign(x) * log(1 + |x|), and 26 categories
//
// A first record that looks like a header and is taken for data, or the other way round, is refused, and so
// is a header whose columns are declared in another order: the job would learn from something else than was
// meant. Of a job that runs it is not refused any more: earlier versions took what stands there.
//
// A record has as many fields as there are columns. Lines may end with "\r\n"; blank ones are no records.
// docs/data.md has what is said of malformed records.
#pragma once

#include <memory>
#include <string>
#include <vector>

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
  char quoted_delimiter() const override { return quoted_ ? delimiter_[0] : 0; }
  bool may_have_header() const override { return !click_log_; }
  Result<bool> HasHeader(std::string_view first) const override;
  std::unique_ptr<RecordParser> NewParser() const override;

 private:
  using Fields = std::vector<std::string>;
  Result<bool> JudgeHeader(std::string_view first) const;
  Fields SplitFields(std::string_view record) const;
  bool HasFieldsEnough(const Fields& fields) const;
  bool AreNames(const Fields& fields) const;
  bool LooksLikeHeader(const Fields& fields) const;
  bool LooksLikeRecord(const Fields& fields) const;
  // How a header's names contradict the columns; "" where they do not.
  std::string OtherOrder(const Fields& fields) const;
  std::string OtherNames(const Fields& fields) const;

  const DatasetOptions options_;
  const bool click_log_, ratings_;
  const std::string delimiter_;
  const bool quoted_;
};

}  // namespace penstock
