// Regularizer: l1 * |w| + l2/2 * ||w||^2 of an objective, as its share of a minibatch's gradient.
//
// The exact share of a minibatch is 1/N of the regulariser's gradient, N being the training examples, in
// every row. What is stepped for a row that has feature f, r_f times that, is a choice (RegularizerRule):
//   touched      r_f = 1 for the features of the minibatch, else 0: rare features are regularised less than
//                the objective says
//   all          r_f = 1 for all features: exact
//   scaled       r_f = n/n_f for the features of the minibatch, n being the minibatches so far and n_f those
//                of them that had f, both with this one: a pass that has f in n_f of its n = N/B minibatches
//                steps its row n_f times by N/(B*n_f) of the share, as much in all as with `all`. (In the
//                first passes n/n_f is an estimate.)
//   by example   r_f = N/B * c_f, c_f being the examples of the minibatch (of B) that have f: the objective
//                then has l1 * |w_f| + l2/2 * ||w_f||^2 once for every example that has f, as matrix
//                factorization is usually written (Koren, Bell and Volinsky 2009)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock {

enum class RegularizerRule : uint8_t { kTouched = 0, kAll = 1, kScaled = 2, kByExample = 3 };

struct Regularizer {
  double l1 = 0;
  double l2 = 0;
  uint64_t examples = 1;  // N of the objective: a gradient is an estimate of its N-th part

  bool any() const { return l1 != 0 || l2 != 0; }
  // Adds r * (l2/N * w + l1/N * sign(w)) for each row of weights [rows, dim]; scales: r [rows], or empty:
  // all 1.
  void AddGradient(std::span<const float> weights, size_t dim, std::span<const float> scales,
                   std::span<float> gradient) const {
    if (!any()) return;
    const auto n = static_cast<double>(examples);
    const auto l2_share = static_cast<float>(l2 / n), l1_share = static_cast<float>(l1 / n);
    for (size_t row = 0, i = 0; i < weights.size(); ++row) {
      const float scale = scales.empty() ? 1 : scales[row];
      for (const size_t end = i + dim; i < end; ++i) {
        const float w = weights[i];
        gradient[i] += scale * (l2_share * w + (w > 0 ? l1_share : w < 0 ? -l1_share : 0));
      }
    }
  }
};

}  // namespace penstock
