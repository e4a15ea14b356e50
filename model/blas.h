// Dense linear algebra over OpenBLAS, and the environment that OpenBLAS needs to be fast.
//
// OpenBLAS 0.3.21 does not know recent processors and falls back to kernels that are several times slower;
// which kernels it takes can only be said by OPENBLAS_CORETYPE before the library is loaded. A program that
// computes therefore calls PrepareBlas as the first thing in main, before any thread exists.
#pragma once

#include <cstddef>
#include <string>

namespace penstock {

// Sets OPENBLAS_CORETYPE (from the processor's features) and OPENBLAS_NUM_THREADS (1: a node scales by
// processes) where the user has not, and starts the program again with the same arguments and process id if
// that changed anything. Returns when nothing is left to change, or when the program cannot be started again
// (then it computes correctly, only slower).
void PrepareBlas(char** argv);

// The kernels for this processor: SkylakeX with AVX-512, Zen or Haswell with AVX2 and FMA, empty where
// OpenBLAS's own choice is kept.
std::string BlasCoreType();

// The kernels that the loaded library chose, e.g. "SkylakeX".
std::string LoadedBlasCore();

// c [m, n] = alpha * op(a) op(b) + beta * c; all row-major and without gaps. op(a) is [m, k] and op(b) is [k,
// n]; a transposed operand is stored the other way round.
struct Gemm {
  bool transpose_a = false;
  bool transpose_b = false;
  size_t m = 0, n = 0, k = 0;
  float alpha = 1, beta = 0;
};
void Multiply(const Gemm& shape, const float* a, const float* b, float* c);

}  // namespace penstock
