#include "data/column_parser.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "data/record_end.h"
#include "data/reserve.h"

namespace penstock {
namespace {

constexpr uint64_t kOnes = 0x0101010101010101ULL;

// The first such character in [at, end), or end; `delimiters` has it in each byte. Looks at eight bytes at a
// time, so kTextSlack bytes must be readable behind `end`.
const char* FindCharacter(const char* at, const char* end, uint64_t delimiters) {
  static_assert(std::endian::native == std::endian::little && kTextSlack >= 8);
  for (; at < end; at += 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    word ^= delimiters;
    const uint64_t found = (word - kOnes) & ~word & (kOnes << 7);
    if (found != 0) return std::min(at + std::countr_zero(found) / 8, end);
  }
  return end;
}

// log(1 + x) of the small whole numbers, which are most.
constexpr size_t kSmall = 4096;
const std::array<float, kSmall>& SmallLogs() {
  static const std::array<float, kSmall>& table = *[] {
    auto* logs = new std::array<float, kSmall>;
    for (size_t i = 0; i < kSmall; ++i) (*logs)[i] = static_cast<float>(std::log1p(static_cast<double>(i)));
    return logs;
  }();
  return table;
}

}  // namespace

ColumnParser::ColumnParser(const DatasetOptions& options, ColumnLayout layout)
    : options_(options),
      layout_(layout),
      first_(layout.delimiter[0]),
      single_(layout.delimiter.size() == 1),
      delimiters_(kOnes * static_cast<unsigned char>(first_)),
      small_logs_(SmallLogs().data()),
      number_ends_(std::string{first_, '\r', '\n', ' ', '"'}) {
  const FeatureSchema& schema = *options_.schema;
  for (size_t i = 0; i < schema.columns().size(); ++i) {
    const ColumnSpec& spec = schema.columns()[i];
    Column column{spec.kind, schema.slot(i), spec.missing.has_value(), 0, 0, nullptr};
    if (spec.kind == ColumnKind::kNumeric && !schema.scales().empty())
      column.scale = &schema.scales()[schema.slot(i)];
    if (spec.missing && spec.kind == ColumnKind::kCategorical) {
      column.missing_id = schema.CategoryId(column.field, *spec.missing);
    } else if (spec.missing) {
      column.missing_number = std::strtof(spec.missing->c_str(), nullptr);
      if (column.scale != nullptr)
        column.missing_number = static_cast<float>(column.scale->Of(column.missing_number));
    }
    columns_.push_back(column);
  }
}

void ColumnParser::Reserve(size_t bytes, Examples* examples) const {
  examples->dense = true;
  examples->dim = options_.schema->dim();
  examples->fields = options_.schema->fields();
  const size_t records = bytes / (2 * columns_.size()) + 1;  // of empty fields; untouched memory is free
  ReserveLarge(records, &examples->labels);
  ReserveLarge(records * examples->dim, &examples->features);
  ReserveLarge(records * examples->fields + 1, &examples->field_offsets);
  ReserveLarge(records * examples->fields, &examples->categories);
}

RecordParser::Outcome ColumnParser::ParseLine(const char* line, const char* end, Examples* examples) {
  if (IsBlank(line)) return Outcome::kEmpty;
  const size_t features = examples->features.size(), offsets = examples->field_offsets.size(),
               categories = examples->categories.size(), labels = examples->labels.size(),
               weights = examples->weights.size();
  const bool minus_ones = examples->minus_ones, zeros = examples->zeros;
  if (end > line && end[-1] == '\r') --end;
  quotes_ = layout_.quoted && std::memchr(line, '"', static_cast<size_t>(end - line)) != nullptr;
  if (ParseFields(line, end, examples)) return Outcome::kRecord;
  examples->features.resize(features);
  examples->field_offsets.resize(offsets);
  examples->categories.resize(categories);
  examples->labels.resize(labels);
  examples->weights.resize(weights);
  examples->minus_ones = minus_ones;
  examples->zeros = zeros;
  return Outcome::kMalformed;
}

bool ColumnParser::ParseFields(const char* at, const char* end, Examples* examples) {
  for (number_ = 0; number_ < columns_.size(); ++number_) {
    const Column& column = columns_[number_];
    std::string_view field;
    double value = 0;
    const char* stop = nullptr;
    if (column.kind == ColumnKind::kNumeric && (stop = PlainNumber(at, end, &value)) != nullptr) {
      if (!AddNumber(column, value, {at, static_cast<size_t>(stop - at)}, examples)) return false;
      at = stop;
    } else if (!NextField(&at, end, &field) || !Take(column, field, examples)) {
      return false;
    }
    if (at < end) {
      at += layout_.delimiter.size();
      continue;
    }
    if (number_ + 1 >= layout_.least_fields) return true;
    return Fail("the record ends after " + std::to_string(number_ + 1) + " fields, it must have " +
                std::to_string(columns_.size()));
  }
  return Fail("the record goes on after " + std::to_string(columns_.size()) +
              " fields, which are all it may have");
}

inline const char* ColumnParser::FindDelimiter(const char* at, const char* end) const {
  at = FindCharacter(at, end, delimiters_);
  while (!single_ && at < end && !AtDelimiter(at, end)) at = FindCharacter(at + 1, end, delimiters_);
  return at;
}

bool ColumnParser::NextField(const char** at, const char* end, std::string_view* field) {
  if (quotes_ && *at < end && **at == '"') return NextQuoted(at, end, field);
  const char* const stop = FindDelimiter(*at, end);
  *field = {*at, static_cast<size_t>(stop - *at)};
  *at = stop;
  if (quotes_ && field->find('"') != std::string_view::npos) {
    return FailField("a quote within " + QuoteField(*field) +
                     ": the whole field must be in quotes, and a quote in it doubled");
  }
  return true;
}

bool ColumnParser::NextQuoted(const char** at, const char* end, std::string_view* field) {
  const char* const begin = *at + 1;
  const char* stop = begin;
  bool doubled = false;
  while (true) {
    stop = static_cast<const char*>(std::memchr(stop, '"', static_cast<size_t>(end - stop)));
    if (stop == nullptr) return FailField("its quote is not closed");
    if (stop + 1 >= end || stop[1] != '"') break;
    doubled = true;
    stop += 2;
  }
  if (stop + 1 < end && stop[1] != first_) {
    return FailField("text goes on behind the closing quote");
  }
  *field = {begin, static_cast<size_t>(stop - begin)};
  *at = stop + 1;
  if (!doubled) return true;
  unquoted_.clear();
  for (size_t i = 0; i < field->size(); ++i) {
    unquoted_ += (*field)[i];
    if ((*field)[i] == '"') ++i;
  }
  const size_t size = unquoted_.size();
  unquoted_.append(kTextSlack, '\0');
  *field = {unquoted_.data(), size};
  return true;
}

bool ColumnParser::Take(const Column& column, std::string_view field, Examples* examples) {
  switch (column.kind) {
    case ColumnKind::kNumeric:
      return TakeNumber(column, field, examples);
    case ColumnKind::kCategorical:
      if (!field.empty()) {
        examples->categories.push_back(options_.schema->CategoryId(column.field, field));
      } else if (column.has_missing) {
        examples->categories.push_back(column.missing_id);
      }
      examples->field_offsets.push_back(examples->categories.size());
      return true;
    case ColumnKind::kMulti:
      TakeMulti(column, field, examples);
      return true;
    case ColumnKind::kLabel:
      return TakeLabel(field, examples);
    case ColumnKind::kWeight:
      return TakeWeight(column, field, examples);
    case ColumnKind::kTimestamp:
      return TakeTimestamp(field);
    case ColumnKind::kIgnore:
      return true;
  }
  return true;
}

void ColumnParser::TakeMulti(const Column& column, std::string_view field, Examples* examples) {
  while (!field.empty()) {
    const size_t end = std::min(field.find(options_.separator), field.size());
    if (end > 0) {
      examples->categories.push_back(options_.schema->CategoryId(column.field, field.substr(0, end)));
    }
    field.remove_prefix(std::min(end + 1, field.size()));
  }
  examples->field_offsets.push_back(examples->categories.size());
}

const char* ColumnParser::PlainNumber(const char* at, const char* end, double* value) const {
  if (!IsDigit(*at) && *at != '-') return nullptr;
  const char* const stop = ParseReal(at, end, number_ends_, value);
  return stop != nullptr && (stop == end || AtDelimiter(stop, end)) ? stop : nullptr;
}

bool ColumnParser::Number(std::string_view field, double* value) const {
  field = TrimBlanks(field);
  const char* const end = field.data() + field.size();
  return !field.empty() && ParseReal(field.data(), end, number_ends_, value) == end;
}

bool ColumnParser::TakeNumber(const Column& column, std::string_view field, Examples* examples) {
  if (field.empty()) {
    if (!column.has_missing) return FailField("it is empty, and no value is declared for missing ones");
    examples->features.push_back(column.missing_number);
    return true;
  }
  double value = 0;
  if (!Number(field, &value)) return FailField(QuoteField(field) + " is not a number");
  return AddNumber(column, value, field, examples);
}

bool ColumnParser::AddNumber(const Column& column, double value, std::string_view field, Examples* examples) {
  const double magnitude = std::abs(value);
  if (layout_.whole_logs && magnitude < kSmall) {
    const auto whole = static_cast<uint32_t>(magnitude);
    if (whole == magnitude) {
      examples->features.push_back(value < 0 ? -small_logs_[whole] : small_logs_[whole]);
      return true;
    }
  }
  if (!std::isfinite(static_cast<float>(value))) {
    return FailField(QuoteField(field) + " is not finite as a 32-bit float");
  }
  if (column.scale != nullptr) {
    // Of the float, as the moments are: doubles that are written alike would differ from their own mean.
    const auto scaled = static_cast<float>(column.scale->Of(static_cast<float>(value)));
    if (!std::isfinite(scaled)) {
      return FailField(QuoteField(field) + " is not finite as a 32-bit float when it is scaled (data.scale)");
    }
    examples->features.push_back(scaled);
    return true;
  }
  if (!layout_.whole_logs) {
    examples->features.push_back(static_cast<float>(value));
    return true;
  }
  if (value != std::trunc(value)) return FailField(QuoteField(field) + " is not a whole number");
  const auto log = static_cast<float>(std::log1p(magnitude));
  examples->features.push_back(value < 0 ? -log : log);
  return true;
}

bool ColumnParser::TakeLabel(std::string_view field, Examples* examples) {
  double value = 0;
  if (!Number(field, &value)) return FailField("label " + QuoteField(field) + " is not a number");
  const Status label = AddLabel(value, options_, examples);
  return label.ok() || FailField(label.message());
}

bool ColumnParser::TakeWeight(const Column& column, std::string_view field, Examples* examples) {
  double value = column.missing_number;
  const bool given = !field.empty() || !column.has_missing;
  if (given && !Number(field, &value)) return FailField("weight " + QuoteField(field) + " is not a number");
  if (!(value >= 0) || !std::isfinite(static_cast<float>(value))) {
    return FailField("weight " + QuoteField(field) + " must be a number from 0 that is finite");
  }
  examples->weights.push_back(static_cast<float>(value));
  return true;
}

bool ColumnParser::TakeTimestamp(std::string_view field) {
  double value = 0;
  if (field.empty() || Number(field, &value)) return true;
  return FailField("timestamp " + QuoteField(field) + " is not a number");
}

bool ColumnParser::FailField(const std::string& what) {
  return Fail("column '" + options_.schema->columns()[number_].name + "' (field " +
              std::to_string(number_ + 1) + "): " + what);
}

}  // namespace penstock
