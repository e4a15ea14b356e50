// DriveReader: gives arbitrary bytes to a reader of training data, as one file on disk would, and checks what
// must hold whatever they are.
//
// Shared by the libFuzzer targets (reader_fuzz.cc, built by tools/fuzz) and by the short deterministic form
// in the unit tests.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace penstock {

// The formats that can be driven; each has seeds in tests/fuzz/corpus/<name>.
const std::vector<std::string>& FuzzedReaders();

// The first byte of `input` chooses among a few sets of options, the rest is the file (idx: its first byte
// says how many bytes of the rest are the labels file). Returns what was violated, empty if nothing:
// partitions have every record once however the file is cut, every array has its shape, every number is
// finite, no more is skipped than was counted.
std::string DriveReader(const std::string& reader, std::span<const uint8_t> input);

}  // namespace penstock
