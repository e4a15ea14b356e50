// ColumnParser: one record of fields to one example of floats and categories (column_format.h). Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/field_text.h"
#include "data/record_parser.h"

namespace penstock {

struct ColumnLayout {
  std::string delimiter = ",";
  bool quoted = true;       // only with a delimiter of one character
  bool whole_logs = false;  // numeric fields are whole numbers x, taken as sign(x) * log(1 + |x|)
  size_t least_fields = 0;  // the columns behind these may be left away
};

class ColumnParser final : public RecordParser {
 public:
  ColumnParser(const DatasetOptions& options, ColumnLayout layout);
  void Reserve(size_t bytes, Examples* examples) const override;
  Outcome ParseLine(const char* line, const char* end, Examples* examples) override;

 private:
  struct Column {
    ColumnKind kind;
    size_t field;               // of categories
    bool has_missing;           // a value stands for an empty one
    float missing_number;       // numeric, weight
    uint64_t missing_id;        // categorical
    const NumericScale* scale;  // numeric; nullptr: none
  };
  bool ParseFields(const char* at, const char* end, Examples* examples);
  // The field at *at, which is moved to its delimiter or to `end`.
  bool NextField(const char** at, const char* end, std::string_view* field);
  bool NextQuoted(const char** at, const char* end, std::string_view* field);
  // The number at `at` if it is a whole field without quotes and blanks, and the end of the field; else
  // nullptr.
  const char* PlainNumber(const char* at, const char* end, double* value) const;
  bool Take(const Column& column, std::string_view field, Examples* examples);
  bool TakeNumber(const Column& column, std::string_view field, Examples* examples);
  bool AddNumber(const Column& column, double value, std::string_view field, Examples* examples);
  bool TakeLabel(std::string_view field, Examples* examples);
  bool TakeWeight(const Column& column, std::string_view field, Examples* examples);
  bool TakeTimestamp(std::string_view field);
  void TakeMulti(const Column& column, std::string_view field, Examples* examples);
  bool Number(std::string_view field, double* value) const;
  // "column 'age' (field 2): " and what is wrong; returns false.
  bool FailField(const std::string& what);

  const DatasetOptions options_;
  const ColumnLayout layout_;
  bool AtDelimiter(const char* at, const char* end) const {
    return *at == first_ &&
           (single_ || std::string_view(at, static_cast<size_t>(end - at)).starts_with(layout_.delimiter));
  }
  const char* FindDelimiter(const char* at, const char* end) const;

  const char first_;  // of the delimiter
  const bool single_;
  const uint64_t delimiters_;  // first_ in each byte
  const float* const small_logs_;
  CharSet number_ends_;
  std::vector<Column> columns_;
  size_t number_ = 0;    // of the column that is parsed
  bool quotes_ = false;  // the record has some
  std::string unquoted_;
};

}  // namespace penstock
