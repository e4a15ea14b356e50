// The initial value of a row: a pure function of (table seed, table, key, element), the same on every
// machine.
//
// So a row that was never pushed costs no memory, no write and no message anywhere: a pull computes it on the
// spot, and the first push starts from exactly what pulls have seen. Random values come from the
// counter-based generator Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1,
// 2, 3", SC 2011): elements 4b .. 4b+3 of a row are the four words of block b, with counter (key low, key
// high, table, b) and the table's seed as the generator's key. Truncated normals are drawn again by the
// counter (.., b + 2^16 * draw) until each is within two standard deviations. Normal deviates are made of
// them by the method of Box and Muller, with logarithm, sine and cosine computed here by additions,
// multiplications and divisions alone, because those of C libraries differ in the last bit. The file is
// compiled without contraction to fused multiply-add for the same reason.
//
// Pure functions, safe on any thread.
#pragma once

#include <array>
#include <cstdint>

#include "common/base/ids.h"
#include "common/cluster/table_spec.h"

namespace penstock {

// One block of Philox4x32-10.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Writes the `dim` initial values of row `key`.
void InitializeRow(const InitializerSpec& spec, uint64_t seed, TableId table, Key key, uint32_t dim,
                   float* values);

}  // namespace penstock
