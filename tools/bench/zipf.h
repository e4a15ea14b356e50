// ZipfSampler: ranks 1 .. n, rank k with probability in proportion to k^-exponent, in constant time and
// memory.
//
// Rejection-inversion: Hörmann and Derflinger, "Rejection-Inversion to Generate Variates from Monotone
// Discrete Distributions", ACM TOMACS 6(3), 1996.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace penstock {

class ZipfSampler {
 public:
  // n >= 1, exponent > 0.
  ZipfSampler(uint64_t n, double exponent)
      : n_(static_cast<double>(n)),
        exponent_(exponent),
        low_(Integral(1.5) - 1),
        high_(Integral(n_ + 0.5)),
        squeeze_(2 - Inverse(Integral(2.5) - Weight(2))) {}

  // `next_uniform`: a new double in [0, 1) each time.
  template <typename NextUniform>
  uint64_t Draw(NextUniform&& next_uniform) const {
    for (;;) {
      const double u = high_ + next_uniform() * (low_ - high_);
      const double x = Inverse(u);
      const double k = std::clamp(std::floor(x + 0.5), 1.0, n_);
      if (k - x <= squeeze_ || u >= Integral(k + 0.5) - Weight(k)) return static_cast<uint64_t>(k);
    }
  }

 private:
  double Weight(double x) const { return std::exp(-exponent_ * std::log(x)); }
  // Of the weight, from 1 to x, but for a constant; also where the exponent is 1.
  double Integral(double x) const {
    const double log = std::log(x), t = (1 - exponent_) * log;
    return (std::fabs(t) > 1e-8 ? std::expm1(t) / t : 1 + t / 2) * log;
  }
  double Inverse(double y) const {
    const double t = std::max(-1.0, y * (1 - exponent_));
    return std::exp((std::fabs(t) > 1e-8 ? std::log1p(t) / t : 1 - t / 2) * y);
  }

  double n_, exponent_, low_, high_, squeeze_;
};

}  // namespace penstock
