// Matrix products against the definition, and the environment that OpenBLAS is given.
#include "model/blas.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <random>
#include <vector>

namespace penstock {
namespace {

TEST(Blas, MultipliesAsDefined) {
  constexpr uint32_t kSeed = 29;
  std::mt19937 random(kSeed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (int variant = 0; variant < 4; ++variant) {
    for (auto [m, n, k] : {std::array<size_t, 3>{1, 1, 1}, {3, 5, 7}, {64, 10, 33}, {0, 4, 4}, {4, 4, 0}}) {
      const Gemm shape{.transpose_a = variant % 2 == 1,
                       .transpose_b = variant / 2 == 1,
                       .m = m,
                       .n = n,
                       .k = k,
                       .alpha = 2,
                       .beta = 3};
      SCOPED_TRACE(testing::Message()
                   << "seed " << kSeed << " variant " << variant << ": " << m << " " << n << " " << k);
      std::vector<float> a(m * k + 1), b(k * n + 1), c(m * n + 1);
      for (auto* matrix : {&a, &b, &c}) {
        for (float& v : *matrix) v = uniform(random);
      }
      std::vector<float> expected = c;
      for (size_t i = 0; i < m; ++i) {
        for (size_t j = 0; j < n; ++j) {
          double sum = 0;
          for (size_t l = 0; l < k; ++l) {
            sum += static_cast<double>(a[shape.transpose_a ? l * m + i : i * k + l]) *
                   b[shape.transpose_b ? j * k + l : l * n + j];
          }
          expected[i * n + j] = static_cast<float>(2 * sum + 3.0 * c[i * n + j]);
        }
      }
      Multiply(shape, a.data(), b.data(), c.data());
      for (size_t i = 0; i < c.size(); ++i) ASSERT_NEAR(c[i], expected[i], 1e-5) << i;
    }
  }
}

// Runs in the process that the next test starts.
TEST(Blas, DISABLED_InThePreparedProcess) {
  char* arguments[] = {nullptr};
  PrepareBlas(arguments);  // has nothing left to do: it must return and not start the program for ever
  EXPECT_STREQ(getenv("OPENBLAS_NUM_THREADS"), "3");  // the user's own setting wins
  if (BlasCoreType().empty()) return;
  EXPECT_STREQ(getenv("OPENBLAS_CORETYPE"), BlasCoreType().c_str());
  EXPECT_EQ(LoadedBlasCore(), BlasCoreType());
}

TEST(Blas, PreparingStartsTheProgramAgainWithTheSameArguments) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    unsetenv("OPENBLAS_CORETYPE");
    setenv("OPENBLAS_NUM_THREADS", "3", 1);
    std::string name = "model_test", filter = "--gtest_filter=Blas.DISABLED_InThePreparedProcess",
                disabled = "--gtest_also_run_disabled_tests";
    char* arguments[] = {name.data(), filter.data(), disabled.data(), nullptr};
    PrepareBlas(arguments);
    _exit(BlasCoreType().empty() ? 0 : 99);  // still here: it was not started again
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace penstock
