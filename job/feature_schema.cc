#include "job/feature_schema.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

namespace penstock {
namespace {

constexpr std::string_view kKinds[] = {"numeric", "categorical", "multi", "label",
                                       "weight",  "timestamp",   "ignore"};
constexpr char kNameEnd = 0x1f;
constexpr uint64_t kFnvStart = 0xcbf29ce484222325ULL;

bool IsFiniteNumber(std::string_view text) {
  float value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
}

Status CheckMissing(const ColumnSpec& column, const std::string& where) {
  if (!column.missing) return Status::Ok();
  const bool number = column.kind == ColumnKind::kNumeric || column.kind == ColumnKind::kWeight;
  if (!number && column.kind != ColumnKind::kCategorical) {
    return InvalidArgument(where + "only numeric, categorical and weight may say what a missing value is");
  }
  if (number && !IsFiniteNumber(*column.missing)) {
    return InvalidArgument(where + "'" + *column.missing + "' is not a finite number");
  }
  return Status::Ok();
}

Status CheckColumns(const std::vector<ColumnSpec>& columns) {
  std::set<std::string_view> names;
  size_t counts[std::size(kKinds)] = {};
  for (const ColumnSpec& column : columns) {
    ++counts[static_cast<size_t>(column.kind)];
    if (!names.insert(column.name).second) {
      return InvalidArgument("column '" + column.name + "' is declared twice");
    }
  }
  auto count = [&](ColumnKind kind) { return counts[static_cast<size_t>(kind)]; };
  if (count(ColumnKind::kLabel) == 0) return InvalidArgument("no column is the label");
  for (ColumnKind kind : {ColumnKind::kLabel, ColumnKind::kWeight, ColumnKind::kTimestamp}) {
    if (count(kind) > 1) {
      return InvalidArgument(std::to_string(count(kind)) + " columns are the " + std::string(ToString(kind)) +
                             ", allowed is one");
    }
  }
  if (count(ColumnKind::kNumeric) + count(ColumnKind::kCategorical) + count(ColumnKind::kMulti) == 0) {
    return InvalidArgument("no column is numeric, categorical or multi");
  }
  return Status::Ok();
}

}  // namespace

double NumericScale::Of(double x) const {
  if (logarithm) x = std::copysign(std::log1p(std::abs(x)), x);
  return (x - mean) * factor;
}

std::string_view ToString(ColumnKind kind) { return kKinds[static_cast<size_t>(kind)]; }

Result<ColumnSpec> ParseColumn(std::string_view declaration) {
  const std::string where = "column '" + std::string(declaration) + "': ";
  const size_t colon = declaration.find(':');
  if (colon == 0 || colon == std::string_view::npos) {
    return InvalidArgument(where + "it must be name:kind or name:kind:missing");
  }
  const size_t second = std::min(declaration.find(':', colon + 1), declaration.size());
  const std::string_view word = declaration.substr(colon + 1, second - colon - 1);
  const auto kind = std::find(std::begin(kKinds), std::end(kKinds), word);
  if (kind == std::end(kKinds)) {
    return InvalidArgument(where + "kind '" + std::string(word) +
                           "' is none of numeric, categorical, multi, label, weight, timestamp, ignore");
  }
  ColumnSpec column{.name = std::string(declaration.substr(0, colon)),
                    .kind = static_cast<ColumnKind>(kind - std::begin(kKinds))};
  if (second < declaration.size()) column.missing = std::string(declaration.substr(second + 1));
  PENSTOCK_RETURN_IF_ERROR(CheckMissing(column, where));
  return column;
}

FeatureSchema::FeatureSchema(std::vector<ColumnSpec> columns, uint64_t hash_buckets)
    : columns_(std::move(columns)), hash_buckets_(hash_buckets) {
  for (const ColumnSpec& column : columns_) {
    size_t slot = 0;
    if (column.kind == ColumnKind::kNumeric) slot = dim_++;
    if (column.is_field()) {
      slot = field_states_.size();
      field_states_.push_back(Fnv1a(Fnv1a(kFnvStart, column.name), {&kNameEnd, 1}));
    }
    slots_.push_back(slot);
  }
}

Result<FeatureSchema> FeatureSchema::Create(std::vector<ColumnSpec> columns, uint64_t hash_buckets) {
  PENSTOCK_RETURN_IF_ERROR(CheckColumns(columns));
  return FeatureSchema(std::move(columns), hash_buckets);
}

Result<FeatureSchema> FeatureSchema::Parse(const std::vector<std::string>& declarations,
                                           uint64_t hash_buckets) {
  std::vector<ColumnSpec> columns;
  for (const std::string& declaration : declarations) {
    PENSTOCK_ASSIGN_OR_RETURN(ColumnSpec column, ParseColumn(declaration));
    columns.push_back(std::move(column));
  }
  return Create(std::move(columns), hash_buckets);
}

FeatureSchema FeatureSchema::Ratings(uint64_t hash_buckets) {
  return FeatureSchema({{.name = "user", .kind = ColumnKind::kCategorical},
                        {.name = "item", .kind = ColumnKind::kCategorical},
                        {.name = "rating", .kind = ColumnKind::kLabel},
                        {.name = "timestamp", .kind = ColumnKind::kTimestamp}},
                       hash_buckets);
}

FeatureSchema FeatureSchema::ClickLog(uint64_t hash_buckets) {
  std::vector<ColumnSpec> columns{{.name = "label", .kind = ColumnKind::kLabel}};
  for (int i = 1; i <= 13; ++i) {
    columns.push_back({.name = "i" + std::to_string(i), .kind = ColumnKind::kNumeric, .missing = "0"});
  }
  for (int i = 1; i <= 26; ++i) {
    columns.push_back({.name = "c" + std::to_string(i), .kind = ColumnKind::kCategorical});
  }
  return FeatureSchema(std::move(columns), hash_buckets);
}

Result<std::optional<FeatureSchema>> FeatureSchema::Of(std::string_view format,
                                                       const std::vector<std::string>& declarations,
                                                       uint64_t hash_buckets) {
  if (format == "ratings") return std::optional(Ratings(hash_buckets));
  if (format == "clicklog") return std::optional(ClickLog(hash_buckets));
  if (format != "csv" && format != "tsv") return std::optional<FeatureSchema>();
  PENSTOCK_ASSIGN_OR_RETURN(FeatureSchema schema, Parse(declarations, hash_buckets));
  return std::optional(std::move(schema));
}

std::optional<size_t> FeatureSchema::ColumnOf(ColumnKind kind) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].kind == kind) return i;
  }
  return std::nullopt;
}

}  // namespace penstock
