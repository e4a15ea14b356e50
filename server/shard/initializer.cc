// Philox blocks turned into uniform and normal floats; normal ones several blocks at a time, without
// branches.
#include "server/shard/initializer.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "common/base/target_clones.h"

namespace penstock {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;

inline std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{kMultiplier0} * counter[0];
    const uint64_t product1 = uint64_t{kMultiplier1} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

// The counter of a row's block: 65536 values a row are 16384 blocks, so the upper half is free to say which
// draw it is.
inline std::array<uint32_t, 4> Counter(Key key, TableId table, uint32_t block, uint32_t draw) {
  return {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32), table, block | draw << 16};
}

// ln(x) of a positive normal double, to about 1e-14: x = m * 2^e with m in [1/sqrt2, sqrt2), ln(m) = 2
// artanh((m-1)/(m+1)).
inline double Log(double x) {
  constexpr double kLn2 = 0.693147180559945309417232121458;
  constexpr uint64_t kBias = 1024;  // keeps what is shifted from being negative
  const auto bits = std::bit_cast<uint64_t>(x);
  // Moves the exponent's step from 1 to 1/sqrt2.
  const uint64_t biased = (bits - 0x3fe6a09e667f3bcdULL + (kBias << 52)) >> 52;
  const double m = std::bit_cast<double>(bits - ((biased - kBias) << 52));
  const double s = (m - 1) / (m + 1);
  const double q = s * s;
  const double series =
      1 +
      q * (1.0 / 3 +
           q * (1.0 / 5 + q * (1.0 / 7 + q * (1.0 / 9 + q * (1.0 / 11 + q * (1.0 / 13 + q * (1.0 / 15)))))));
  const auto exponent = static_cast<int32_t>(biased) - static_cast<int32_t>(kBias);
  return static_cast<double>(exponent) * kLn2 + 2 * s * series;
}

// sin and cos of turns * 2 pi for turns in [0, 1): a quarter turn at a time, Taylor on [0, pi/2] to about
// 1e-11.
inline void SinCos(double turns, double* sine, double* cosine) {
  const double quarters = turns * 4;
  const int quadrant = static_cast<int>(quarters);
  const double a = (quarters - quadrant) * 1.57079632679489661923132169164;
  const double q = a * a;
  const double s =
      a *
      (1 -
       q / 6 * (1 - q / 20 * (1 - q / 42 * (1 - q / 72 * (1 - q / 110 * (1 - q / 156 * (1 - q / 210)))))));
  const double c =
      1 - q / 2 *
              (1 - q / 12 *
                       (1 - q / 30 *
                                (1 - q / 56 * (1 - q / 90 * (1 - q / 132 * (1 - q / 182 * (1 - q / 240)))))));
  const bool odd = (quadrant & 1) != 0;
  const double y = odd ? c : s, x = odd ? s : c;
  *sine = quadrant >= 2 ? -y : y;
  *cosine = quadrant == 1 || quadrant == 2 ? -x : x;
}

// [low, high): the rounding of the sum may reach high, which is then the float below it.
void UniformBlock(const InitializerSpec& spec, const std::array<uint32_t, 4>& words, float* out) {
  const double width = static_cast<double>(spec.high) - spec.low;
  for (int i = 0; i < 4; ++i) {
    const auto value = static_cast<float>(spec.low + width * (static_cast<double>(words[i]) * 0x1p-32));
    out[i] = value < spec.high || spec.high == spec.low ? value : std::nextafter(spec.high, spec.low);
  }
}

// Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010,
// equation 16.
InitializerSpec XavierBounds(const InitializerSpec& spec) {
  const auto bound = static_cast<float>(std::sqrt(6.0 / (static_cast<double>(spec.fan_in) + spec.fan_out)));
  return {.kind = InitializerKind::kUniform, .low = -bound, .high = bound};
}

// So many blocks of a row at a time; each gives two pairs of deviates, and a processor computes all pairs at
// once.
constexpr uint32_t kBlocks = 4;
constexpr uint32_t kPairs = 2 * kBlocks;

// Standard normal deviates of kBlocks blocks, element i of which is Of(i).
struct Deviates {
  double cosines[kPairs], sines[kPairs];

  double Of(uint32_t i) const {
    const uint32_t pair = i / 4 + i % 4 / 2 * kBlocks;
    return i % 2 == 0 ? cosines[pair] : sines[pair];
  }
};

// Blocks first, first + 1, ... of a row; `draw` as in Counter.
PENSTOCK_TARGET_CLONES void StandardNormals(Key key, TableId table, uint32_t first, uint32_t draw,
                                            const std::array<uint32_t, 2>& generator, Deviates* out) {
  uint32_t radii[kPairs], turns[kPairs];
  for (uint32_t b = 0; b < kBlocks; ++b) {
    const auto words = Philox(Counter(key, table, first + b, draw), generator);
    radii[b] = words[0], turns[b] = words[1];
    radii[b + kBlocks] = words[2], turns[b + kBlocks] = words[3];
  }
  for (uint32_t p = 0; p < kPairs; ++p) {
    // (0, 1], so that the logarithm is finite.
    const double radius = std::sqrt(-2 * Log((static_cast<double>(radii[p]) + 1) * 0x1p-32));
    double sine, cosine;
    SinCos(static_cast<double>(turns[p]) * 0x1p-32, &sine, &cosine);
    out->cosines[p] = radius * cosine;
    out->sines[p] = radius * sine;
  }
}

constexpr double kTruncation = 2;  // standard deviations

// Each element is that of the first draw in which it is within the bounds: for all to fail 2^16 times has a
// chance of 0.046^65536, and gives the mean.
void TruncatedNormals(Key key, TableId table, uint32_t first, const std::array<uint32_t, 2>& generator,
                      Deviates* out) {
  *out = {};
  uint32_t missing = (1u << 2 * kPairs) - 1;  // a bit for each of them
  const auto take = [&](uint32_t bit, double drawn, double* to) {
    if ((missing >> bit & 1) == 0 || std::fabs(drawn) > kTruncation) return;
    *to = drawn;
    missing &= ~(1u << bit);
  };
  for (uint32_t draw = 0; missing != 0 && draw < 1u << 16; ++draw) {
    Deviates drawn;
    StandardNormals(key, table, first, draw, generator, &drawn);
    for (uint32_t p = 0; p < kPairs; ++p) {
      take(2 * p, drawn.cosines[p], &out->cosines[p]);
      take(2 * p + 1, drawn.sines[p], &out->sines[p]);
    }
  }
}

}  // namespace

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  return Philox(counter, key);
}

void InitializeRow(const InitializerSpec& spec, uint64_t seed, TableId table, Key key, uint32_t dim,
                   float* values) {
  switch (spec.kind) {
    case InitializerKind::kZeros:
      std::fill_n(values, dim, 0.0f);
      return;
    case InitializerKind::kConstant:
      std::fill_n(values, dim, spec.value);
      return;
    case InitializerKind::kXavier:
      return InitializeRow(XavierBounds(spec), seed, table, key, dim, values);
    case InitializerKind::kUniform:
    case InitializerKind::kNormal:
    case InitializerKind::kTruncatedNormal:
      break;
  }
  const std::array<uint32_t, 2> generator_key = {static_cast<uint32_t>(seed),
                                                 static_cast<uint32_t>(seed >> 32)};
  if (spec.kind == InitializerKind::kUniform) {
    for (uint32_t first = 0; first < dim; first += 4) {
      float block[4];
      UniformBlock(spec, Philox(Counter(key, table, first / 4, 0), generator_key), block);
      std::copy_n(block, std::min(4u, dim - first), values + first);
    }
    return;
  }
  Deviates deviates;
  for (uint32_t i = 0; i < dim; ++i) {
    if (i % (4 * kBlocks) == 0) {
      if (spec.kind == InitializerKind::kNormal) {
        StandardNormals(key, table, i / 4, 0, generator_key, &deviates);
      } else {
        TruncatedNormals(key, table, i / 4, generator_key, &deviates);
      }
    }
    values[i] = static_cast<float>(spec.mean + spec.stddev * deviates.Of(i % (4 * kBlocks)));
  }
}

}  // namespace penstock
