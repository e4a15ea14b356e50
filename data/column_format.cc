#include "data/column_format.h"

#include <algorithm>
#include <cctype>

#include "data/column_parser.h"
#include "data/field_text.h"

namespace penstock {
namespace {

// What a column of ratings is, in the order of FeatureSchema::Ratings.
enum class Role : size_t { kUser = 0, kItem = 1, kRating = 2, kTimestamp = 3, kUnknown };

// As files of ratings name their columns: userId, movie_id, Book-Rating, unix timestamp.
Role KnownRole(std::string_view name) {
  std::string lower;
  for (const char c : name) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto has = [&](const char* word) { return lower.find(word) != std::string::npos; };
  if (has("timestamp")) return Role::kTimestamp;
  if (has("rating")) return Role::kRating;
  if (has("user")) return Role::kUser;
  if (has("item") || has("movie")) return Role::kItem;
  return Role::kUnknown;
}

}  // namespace

std::unique_ptr<TextFormat> ColumnFormat::Create(const std::string& format, const DatasetOptions& options) {
  return std::make_unique<ColumnFormat>(format, options);
}

ColumnFormat::ColumnFormat(const std::string& format, const DatasetOptions& options)
    : options_(options),
      click_log_(format == "clicklog"),
      ratings_(format == "ratings"),
      delimiter_(format == "csv" || ratings_ ? options.delimiter : "\t"),
      quoted_((format == "csv" || ratings_) && delimiter_.size() == 1) {}

ColumnFormat::Fields ColumnFormat::SplitFields(std::string_view record) const {
  Fields fields;
  for (size_t at = 0;;) {
    std::string field;
    if (quoted_ && at < record.size() && record[at] == '"') {
      for (++at; at < record.size(); ++at) {
        if (record[at] == '"' && (++at == record.size() || record[at] != '"')) break;
        field += record[at];
      }
    }
    const size_t end = std::min(record.find(delimiter_, at), record.size());
    field += record.substr(at, end - at);
    fields.emplace_back(TrimBlanks(field));
    if (end == record.size()) return fields;
    at = end + delimiter_.size();
  }
}

bool ColumnFormat::HasFieldsEnough(const Fields& fields) const {
  const size_t columns = options_.schema->columns().size();
  return fields.size() == columns || (ratings_ && fields.size() + 1 == columns);
}

// The names of the columns; what is not read may be called anything. Ratings: as the column of the rating is
// usually called.
bool ColumnFormat::AreNames(const Fields& fields) const {
  if (!HasFieldsEnough(fields)) return false;
  if (ratings_) return LooksLikeHeader(fields) && KnownRole(fields[2]) == Role::kRating;
  const auto& columns = options_.schema->columns();
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].kind != ColumnKind::kIgnore && fields[i] != columns[i].name) return false;
  }
  return true;
}

// Not a number anywhere, which a record has for its label at least.
bool ColumnFormat::LooksLikeHeader(const Fields& fields) const {
  const size_t label = *options_.schema->ColumnOf(ColumnKind::kLabel);
  return label < fields.size() && !fields[label].empty() && std::ranges::none_of(fields, IsNumber);
}

bool ColumnFormat::LooksLikeRecord(const Fields& fields) const {
  const auto& columns = options_.schema->columns();
  if (!HasFieldsEnough(fields)) return false;
  for (size_t i = 0; i < fields.size(); ++i) {
    const ColumnKind kind = columns[i].kind;
    if (kind == ColumnKind::kLabel && !IsNumber(fields[i])) return false;
    const bool number = kind == ColumnKind::kNumeric || kind == ColumnKind::kWeight;
    if (number && !fields[i].empty() && !IsNumber(fields[i])) return false;
  }
  return true;
}

std::string ColumnFormat::OtherOrder(const Fields& fields) const {
  const auto& columns = options_.schema->columns();
  for (size_t i = 0; i < fields.size(); ++i) {
    if (ratings_) {
      const Role role = KnownRole(fields[i]);
      if (role == Role::kUnknown || role == static_cast<Role>(i)) continue;
      return "field " + std::to_string(i + 1) + " of the header is " + QuoteField(fields[i]) +
             ", ratings are user, item, rating and perhaps timestamp in this order: data.format 'csv' with "
             "data.columns reads any";
    }
    if (i < columns.size() && fields[i] == columns[i].name) continue;
    for (size_t j = 0; j < columns.size(); ++j) {
      if (columns[j].kind == ColumnKind::kIgnore || fields[i] != columns[j].name) continue;
      return "field " + std::to_string(i + 1) + " of the header is " + QuoteField(fields[i]) +
             ", which data.columns declares as column " + std::to_string(j + 1) +
             ": columns are declared in the order of the header";
    }
  }
  return "";
}

std::string ColumnFormat::OtherNames(const Fields& fields) const {
  const auto& columns = options_.schema->columns();
  if (!HasFieldsEnough(fields)) {
    return "the header has " + std::to_string(fields.size()) + " fields, " +
           (ratings_ ? "ratings have 3 or 4" : "data.columns has " + std::to_string(columns.size()));
  }
  for (size_t i = 0; i < fields.size() && !ratings_; ++i) {
    if (columns[i].kind == ColumnKind::kIgnore || fields[i] == columns[i].name) continue;
    return "field " + std::to_string(i + 1) + " of the header is " + QuoteField(fields[i]) +
           ", data.columns has " + QuoteField(columns[i].name) + " there";
  }
  return "";
}

Result<bool> ColumnFormat::HasHeader(std::string_view first) const {
  auto judged = JudgeHeader(first);
  if (judged.ok() || !options_.planned) return judged;
  return options_.header == "yes" || (options_.header == "auto" && ratings_);
}

Result<bool> ColumnFormat::JudgeHeader(std::string_view first) const {
  const Fields fields = SplitFields(first);
  const bool names = AreNames(fields), like_header = LooksLikeHeader(fields);
  if (options_.header == "no") {
    if (!names || !like_header) return false;
    return InvalidArgument("this is a header, and data.header is 'no': set it to 'auto' or 'yes'");
  }
  if (names && OtherOrder(fields).empty()) return true;
  if (options_.header == "auto" && !like_header) return false;
  if (!names && LooksLikeRecord(fields)) {
    return InvalidArgument(
        "this looks like a record, and data.header is 'yes', which passes over it: set data.header to 'no' "
        "or 'auto', or name data.columns as the header does");
  }
  if (const std::string order = OtherOrder(fields); !order.empty()) return InvalidArgument(order);
  const std::string other = OtherNames(fields);
  if (other.empty() || (options_.header == "yes" && HasFieldsEnough(fields))) return true;
  return InvalidArgument(other +
                         (options_.header == "yes"
                              ? std::string()
                              : ": name the columns as the header does, or set data.header to 'yes' (a "
                                "header, whatever its names) or 'no' (a record)"));
}

std::unique_ptr<RecordParser> ColumnFormat::NewParser() const {
  return std::make_unique<ColumnParser>(
      options_, ColumnLayout{.delimiter = delimiter_,
                             .quoted = quoted_,
                             .whole_logs = click_log_,
                             .least_fields = options_.schema->columns().size() - (ratings_ ? 1 : 0)});
}

}  // namespace penstock
