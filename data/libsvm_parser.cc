#include "data/libsvm_parser.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "data/field_text.h"
#include "data/reserve.h"

namespace penstock {
namespace {

constexpr uint64_t kMaxId = (uint64_t{1} << 63) - 1;

constexpr CharSet kSpaces(" \t\r");
constexpr CharSet kTokenEnds(" \t\r\n#");

bool IsSpace(char c) { return kSpaces.Has(c); }
// Where a token may end; '\n' is the line's end.
bool EndsToken(char c) { return kTokenEnds.Has(c); }

std::string Quote(const char* at, const char* end) {
  const char* stop = at;
  while (stop < end && !EndsToken(*stop)) ++stop;
  return QuoteField({at, static_cast<size_t>(stop - at)});
}

const char* ParseReal(const char* at, const char* end, double* value) {
  return ParseReal(at, end, kTokenEnds, value);
}

}  // namespace

LibsvmParser::LibsvmParser(const DatasetOptions& options)
    : options_(options), id_limit_(options.features == 0 ? kMaxId : options.features - 1) {}

void LibsvmParser::Reserve(size_t bytes, Examples* examples) const {
  // The shortest nonzero is " 1:1": vectors of a quarter of the text never grow while it is parsed. What is
  // not used of them is not touched either, so it costs address space only.
  ReserveLarge(bytes / 4 + 1, &examples->ids);
  ReserveLarge(bytes / 4 + 1, &examples->values);
}

RecordParser::Outcome LibsvmParser::ParseLine(const char* line, const char* end, Examples* examples) {
  const char* at = line;
  while (IsSpace(*at)) ++at;
  if (*at == '\n' || *at == '#') return Outcome::kEmpty;
  const size_t nonzeros = examples->ids.size(), labels = examples->labels.size();
  const bool minus_ones = examples->minus_ones, zeros = examples->zeros;
  if (ParseLabel(&at, end, examples) && ParseFeatures(at, end, examples)) {
    examples->row_offsets.push_back(examples->ids.size());
    return Outcome::kRecord;
  }
  examples->labels.resize(labels);
  examples->ids.resize(nonzeros);
  examples->values.resize(nonzeros);
  examples->minus_ones = minus_ones;
  examples->zeros = zeros;
  if (const void* nul = std::memchr(line, 0, static_cast<size_t>(end - line))) {
    Fail("a NUL byte at column " + std::to_string(static_cast<const char*>(nul) - line + 1) +
         ": this is no text file");
  }
  return Outcome::kMalformed;
}

bool LibsvmParser::ParseLabel(const char** at, const char* end, Examples* examples) {
  double value = 0;
  const char* stop = ParseReal(*at, end, &value);
  if (stop == nullptr || !EndsToken(*stop)) {
    return Fail("label " + Quote(*at, end) + " is not a number (a line is: label id:value id:value ...)");
  }
  const Status label = AddLabel(value, options_, examples);
  if (!label.ok()) return Fail(label.message());
  *at = stop;
  return true;
}

bool LibsvmParser::ParseFeatures(const char* at, const char* end, Examples* examples) {
  uint64_t next_id = 0;  // one above the previous
  while (true) {
    while (IsSpace(*at)) ++at;
    if (*at == '\n' || *at == '#') return true;
    uint64_t id = 0;
    if (!ParseId(&at, end, &id)) return false;
    if (id < next_id) return BadOrder(id, next_id - 1);
    next_id = id + 1;
    double value = 0;
    const char* stop = ParseReal(at, end, &value);
    const auto narrow = static_cast<float>(value);
    if (stop == nullptr || !EndsToken(*stop) || !std::isfinite(narrow)) return BadValue(id, at, end);
    at = stop;
    examples->ids.push_back(id);
    examples->values.push_back(narrow);
  }
}

// "id:"; leaves *at behind the colon.
bool LibsvmParser::ParseId(const char** at, const char* end, uint64_t* id) {
  uint64_t value = 0;
  const size_t digits = ReadDigits(*at, &value);
  const char* p = *at + digits;
  if (digits == 0 || *p != ':' || value > id_limit_) {
    // More than eight digits are rare.
    const auto [stop, error] = std::from_chars(*at, end, value);
    if (digits == 0 || error != std::errc() || *stop != ':' || value > id_limit_) return BadId(*at, end);
    p = stop;
  }
  *id = value;
  *at = p + 1;
  return true;
}

bool LibsvmParser::BadId(const char* at, const char* end) {
  const char* stop = at;
  while (stop < end && !EndsToken(*stop) && *stop != ':') ++stop;
  if (*stop != ':') return Fail("feature " + Quote(at, end) + " has no colon: features are written id:value");
  std::string message =
      "feature id " + Quote(at, stop) + " is not a whole number from 0 to " + std::to_string(id_limit_);
  if (options_.features != 0) message += " (model.features is " + std::to_string(options_.features) + ")";
  return Fail(std::move(message));
}

bool LibsvmParser::BadOrder(uint64_t id, uint64_t previous) {
  if (id == previous) return Fail("feature id " + std::to_string(id) + " occurs twice");
  return Fail("feature ids must ascend: " + std::to_string(id) + " stands after " + std::to_string(previous));
}

bool LibsvmParser::BadValue(uint64_t id, const char* at, const char* end) {
  double value = 0;
  const char* stop = ParseReal(at, end, &value);
  const bool number = stop != nullptr && EndsToken(*stop);
  return Fail("value " + Quote(at, end) + " of feature " + std::to_string(id) +
              (number ? " is not finite as a 32-bit float" : " is not a number"));
}

}  // namespace penstock
