#include "data/column_format.h"

#include "data/column_parser.h"
#include "data/field_text.h"

namespace penstock {

std::unique_ptr<TextFormat> ColumnFormat::Create(const std::string& format, const DatasetOptions& options) {
  return std::make_unique<ColumnFormat>(format, options);
}

ColumnFormat::ColumnFormat(const std::string& format, const DatasetOptions& options)
    : options_(options),
      click_log_(format == "clicklog"),
      ratings_(format == "ratings"),
      quoted_(format == "csv" || ratings_),
      delimiter_(quoted_ ? options.delimiter : '\t') {}

Result<bool> ColumnFormat::HasHeader(std::string_view first) const {
  if (options_.header == "yes") return true;
  std::vector<std::string> fields;
  for (size_t begin = 0; begin <= first.size();) {
    const size_t end = std::min(first.find(delimiter_, begin), first.size());
    std::string_view field = first.substr(begin, end - begin);
    if (quoted_ && field.size() >= 2 && field.front() == '"' && field.back() == '"') {
      field = field.substr(1, field.size() - 2);
    }
    fields.emplace_back(field);
    begin = end + 1;
  }
  const auto& columns = options_.schema->columns();
  if (ratings_) {
    double value = 0;
    return fields.size() > 2 && (fields.size() == 3 || fields.size() == 4) && !fields[2].empty() &&
           ParseRealSlowly(fields[2].data(), fields[2].data() + fields[2].size(), &value) == nullptr;
  }
  if (fields.size() != columns.size()) return false;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (fields[i] != columns[i].name) return false;
  }
  return true;
}

std::unique_ptr<RecordParser> ColumnFormat::NewParser() const {
  return std::make_unique<ColumnParser>(
      options_, ColumnLayout{.delimiter = delimiter_,
                             .quoted = quoted_,
                             .whole_logs = click_log_,
                             .least_fields = options_.schema->columns().size() - (ratings_ ? 1 : 0)});
}

}  // namespace penstock
