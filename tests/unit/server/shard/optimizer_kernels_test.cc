// The kernels compute the same bits on every processor and with every compiler: against checksums of what
// they computed once. A sanitized build, which has no clones, and any other build check each other so.
#include "server/shard/optimizer_kernels.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "common/base/crc32c.h"

namespace penstock {
namespace {

// What a kernel works on. Numbers are drawn from the generator's bits alone, as distributions of the standard
// library differ.
struct Rows {
  uint32_t dim = 0;
  std::vector<float> g, w, a, b;
  double sum = 0;

  explicit Rows(uint32_t dim) : dim(dim), g(dim), w(dim), a(dim), b(dim) {
    Draw(w, 1);
    Draw(a, 0);
    Draw(b, 0);
  }
  void Draw(std::vector<float>& to, float below_zero) {
    for (float& x : to) x = static_cast<float>(random_() >> 8) * 0x1p-23f - below_zero;
  }
  uint32_t Checksum(uint32_t crc) const {
    for (const auto* v : {&w, &a, &b}) crc = Crc32c(crc, v->data(), v->size() * sizeof(float));
    return Crc32c(crc, &sum, sizeof(sum));
  }

 private:
  std::mt19937 random_{7};
};

using Kernel = std::function<void(Rows&)>;

// Every length of a vector's tail, over several steps.
uint32_t ChecksumOf(const Kernel& kernel) {
  uint32_t crc = 0;
  for (uint32_t dim = 0; dim <= 70; ++dim) {
    Rows rows(dim);
    for (int step = 0; step < 10; ++step) {
      rows.Draw(rows.g, 1);
      kernel(rows);
      crc = rows.Checksum(crc);
    }
  }
  return crc;
}

constexpr MomentumFactors kMomentum{.learning_rate = 0.01f, .l2 = 0.1f, .momentum = 0.9f};
constexpr AdamFactors kAdam{.l2 = 0.1f,
                            .decay = 0.003f,
                            .epsilon = 1e-8f,
                            .one_minus_beta1 = 0.1f,
                            .beta2 = 0.999f,
                            .one_minus_beta2 = 0.001f,
                            .step = 0.0123f,
                            .inverse_root = 1.7f};

struct Golden {
  Kernel kernel;
  uint32_t checksum;
};

const std::map<std::string, Golden>& Goldens() {
  static const std::map<std::string, Golden> goldens = {
      {"add", {[](Rows& r) { AddKernel(r.g.data(), r.dim, r.w.data()); }, 0xc944945c}},
      {"sgd", {[](Rows& r) { SgdKernel(r.g.data(), r.dim, 0.01f, 0.1f, r.w.data()); }, 0x7537d994}},
      {"adagrad",
       {[](Rows& r) { AdagradKernel(r.g.data(), r.dim, 0.01f, 0.1f, 1e-8f, r.w.data(), r.a.data()); },
        0xea341070}},
      {"momentum",
       {[](Rows& r) { MomentumKernel(r.g.data(), r.dim, kMomentum, r.w.data(), r.a.data()); }, 0x1f99fc07}},
      {"nesterov",
       {[](Rows& r) { NesterovKernel(r.g.data(), r.dim, kMomentum, r.w.data(), r.a.data()); }, 0xf9666c69}},
      {"rmsprop",
       {[](Rows& r) {
          RmspropKernel(r.g.data(), r.dim, {0.01f, 0.1f, 0.99f, 0.01f, 1e-8f}, r.w.data(), r.a.data());
        },
        0xd3775f27}},
      {"adam",
       {[](Rows& r) { AdamKernel(r.g.data(), r.dim, kAdam, r.w.data(), r.a.data(), r.b.data()); },
        0xfdcde57b}},
      {"lamb",
       {[](Rows& r) {
          std::vector<float> u(r.dim);
          LambKernel(r.g.data(), r.dim, kAdam, r.w.data(), r.a.data(), r.b.data(), u.data());
          r.w = u;
        },
        0xe007e6ec}},
      {"adam_row",
       {[](Rows& r) {
          AdamRowKernel(r.g.data(), r.dim, {0.1f, 0.1f, 0.0123f}, r.w.data(), r.a.data());
        },
        0xe51c4474}},
      {"ftrl",
       {[](Rows& r) {
          FtrlKernel(r.g.data(), r.dim, {0.1f, 0.2f, 1.0f, 10.0f}, r.w.data(), r.a.data(), r.b.data());
        },
        0x7d4bd319}},
      {"clamp", {[](Rows& r) { ClampKernel(r.g.data(), r.dim, 0.3f, r.w.data()); }, 0x3707043c}},
      {"scale", {[](Rows& r) { ScaleKernel(r.g.data(), r.dim, 0.3f, r.w.data()); }, 0xf127fb1f}},
      {"sum_squares", {[](Rows& r) { r.sum = SumSquares(r.g.data(), r.dim); }, 0xa7132757}},
      {"decayed_sum_squares",
       {[](Rows& r) { r.sum = DecayedSumSquares(r.g.data(), r.w.data(), 0.1f, r.dim); }, 0x7b6ceed}},
  };
  return goldens;
}

TEST(OptimizerKernels, ComputeTheSameBitsEverywhere) {
  for (const auto& [name, golden] : Goldens()) EXPECT_EQ(ChecksumOf(golden.kernel), golden.checksum) << name;
}

}  // namespace
}  // namespace penstock
