#include "data/record_end.h"

#include <algorithm>

namespace penstock {
namespace {

const char* Find(const char* at, const char* end, char c) {
  return static_cast<const char*>(std::memchr(at, c, static_cast<size_t>(end - at)));
}

}  // namespace

const char* QuotedRecordEnd(const char* at, const char* end, bool complete, char delimiter) {
  const char* const line_end = Find(at, end, '\n');
  if (line_end != nullptr && Find(at, line_end, '"') == nullptr) return line_end;
  const bool all_seen = complete || static_cast<size_t>(end - at) >= kMaxQuotedRecord;
  const char* const limit = static_cast<size_t>(end - at) > kMaxQuotedRecord ? at + kMaxQuotedRecord : end;
  for (const char* p = at; p < limit;) {  // one field each
    if (*p == '"') {
      do {
        p = Find(p + 1, limit, '"');
        if (p == nullptr) return all_seen ? line_end : nullptr;
        ++p;  // a second quote stands for one within the field
      } while (p < limit && *p == '"');
    }
    while (p < limit && *p != delimiter && *p != '\n') ++p;
    if (p == limit) break;
    if (*p == '\n') return p;
    ++p;
  }
  return all_seen ? line_end : nullptr;
}

}  // namespace penstock
