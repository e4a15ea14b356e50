#include "model/blas.h"

#include <cblas.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <cstring>

namespace penstock {
namespace {

// True if the variable had to be set.
bool SetUnlessGiven(const char* name, const std::string& value) {
  if (value.empty() || std::getenv(name) != nullptr) return false;
  return setenv(name, value.c_str(), 0) == 0;
}

}  // namespace

std::string BlasCoreType() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")) {
    return "SkylakeX";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return __builtin_cpu_is("amd") ? "Zen" : "Haswell";
  }
#endif
  return "";
}

void PrepareBlas(char** argv) {
  const bool core = SetUnlessGiven("OPENBLAS_CORETYPE", BlasCoreType());
  const bool threads = SetUnlessGiven("OPENBLAS_NUM_THREADS", "1");
  if (!core && !threads) return;
  // The real path rather than /proc/self/exe, which would become the program's name in ps; but a program that
  // was replaced on disk since it started has only the latter.
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);
  if (size > 0) {
    path[size] = 0;
    execv(path, argv);
  }
  execv("/proc/self/exe", argv);
  if (threads) openblas_set_num_threads(1);
}

std::string LoadedBlasCore() { return openblas_get_corename(); }

void Multiply(const Gemm& s, const float* a, const float* b, float* c) {
  if (s.m == 0 || s.n == 0) return;
  const auto m = static_cast<blasint>(s.m), n = static_cast<blasint>(s.n), k = static_cast<blasint>(s.k);
  cblas_sgemm(CblasRowMajor, s.transpose_a ? CblasTrans : CblasNoTrans,
              s.transpose_b ? CblasTrans : CblasNoTrans, m, n, k, s.alpha, a, s.transpose_a ? m : k, b,
              s.transpose_b ? k : n, s.beta, c, n);
}

}  // namespace penstock
