// Training data as text, made up for measurements: lines of each format that is read.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/status.h"

namespace penstock {

// "libsvm", "clicklog", "csv" or "ratings" to the file `path`, until it has so many bytes or so many records,
// whichever is first; 0: no bound. The same for the same seed. Returns the number of records.
//
//   libsvm    40 features of ascending ids and six decimal places
//   clicklog  label, 13 counts, 26 categories of eight hexadecimal digits; a tenth of all is missing, and
//             which category it is follows a Zipf distribution of exponent 1.05 over 100,000 in each field;
//             the first categories decide how likely a click is, so that there is something to learn
//   csv       label, 8 numbers, 4 categories (kCsvColumns)
//   ratings   user, item, rating, timestamp
Result<uint64_t> WriteTrainingText(const std::string& path, const std::string& format, uint64_t bytes,
                                   uint64_t records, uint64_t seed);
// As data.columns of a job has them.
extern const char* const kCsvColumns;

}  // namespace penstock
