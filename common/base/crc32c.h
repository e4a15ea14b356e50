// CRC-32C (Castagnoli), the checksum of every record, delta and file of Penstock.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock {

// Extends `crc` (0 to begin) by `size` bytes. Extend(Extend(0, a), b) == Extend(0, a+b).
uint32_t Crc32c(uint32_t crc, const void* data, size_t size);

}  // namespace penstock
