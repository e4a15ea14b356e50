// A libFuzzer target of one reader, which PENSTOCK_FUZZ_READER names.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/reader_driver.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string violated = penstock::DriveReader(PENSTOCK_FUZZ_READER, {data, size});
  if (violated.empty()) return 0;
  std::fprintf(stderr, "%s: %s\n", PENSTOCK_FUZZ_READER, violated.c_str());
  std::abort();
}
