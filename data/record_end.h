// Where records of text end: at a line's end, and in quoted formats not within quotes.
//
// Pure. The same function finds the cuts between partitions and the records of a partition, so both agree,
// also on damaged files.
#pragma once

#include <cstddef>
#include <cstring>

namespace penstock {

// A quoted field that is not closed within this many bytes from the begin of its record was not meant to go
// on: the record then ends at the end of its first line, and its parser refuses it.
inline constexpr size_t kMaxQuotedRecord = 1 << 20;

// The '\n' that ends the record that begins at `at`. nullptr: more than [at, end) must be seen first, which
// is never the answer when `complete`, that is, when the file ends at `end`; then end[-1] must be '\n'.
// quoted_delimiter: 0 where a record is a line; else what separates fields, of which those that begin with
// '"' may hold line ends (RFC 4180).
const char* QuotedRecordEnd(const char* at, const char* end, bool complete, char quoted_delimiter);

// Whether the record that begins here has nothing but blanks, and so is none.
inline bool IsBlank(const char* record) {
  while (*record == ' ' || *record == '\t' || *record == '\r') ++record;
  return *record == '\n';
}

inline const char* RecordEnd(const char* at, const char* end, bool complete, char quoted_delimiter) {
  if (quoted_delimiter != 0) return QuotedRecordEnd(at, end, complete, quoted_delimiter);
  return static_cast<const char*>(std::memchr(at, '\n', static_cast<size_t>(end - at)));
}

}  // namespace penstock
