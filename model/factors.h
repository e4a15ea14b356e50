// FactorPart: the interactions of pairs of features through factors: the second-order term of a factorization
// machine (Rendle, "Factorization Machines", ICDM 2010). Matrix factorization is the same on two fields.
//
// One table "<job>/factors": row f is the vector v_f of feature f (feature_rows.h), dim = factors, at first
// normal with a standard deviation of `stddev` unless the job says otherwise: at 0 all gradients would be 0.
// With x_f the features of an example, in time linear in their number,
//     s = sum over pairs f < g of <v_f, v_g> x_f x_g
//       = 1/2 * sum_k [ (sum_f v_fk x_f)^2 - sum_f v_fk^2 x_f^2 ]
//     ds/dv_fk = x_f * (sum_g v_gk x_g - v_fk x_f)
// With user u and item i alone it is <v_u, v_i>. The objective has l2/2 * ||v||^2 by the rule of
// regularizer.h. Scores have one output.
#pragma once

#include "model/regularizer.h"
#include "model/score_part.h"

namespace penstock {

struct FactorOptions {
  uint32_t factors = 8;
  float stddev = 0.05f;  // many pairs with unknown features would be noise with this much: 0.01 in machines
  Regularizer regularizer = {};
  TableSpec table = {};  // name and seed; the part sets dim and initializer
};

class FactorPart final : public ScorePart {
 public:
  explicit FactorPart(const FactorOptions& options);

  const std::vector<TableSpec>& Tables() const override { return tables_; }
  bool by_features() const override { return true; }
  void Prepare(const Batch& batch, PreparedBatch* prepared, std::span<std::vector<Key>> keys) const override;
  void AddScores(const Batch& batch, const PreparedBatch& prepared,
                 std::span<const std::span<const float>> values, std::span<float> scores) override;
  void Backward(const Batch& batch, const PreparedBatch& prepared,
                std::span<const std::span<const float>> values, const Deltas& deltas,
                std::span<std::vector<float>> gradients) override;

 private:
  const FactorOptions options_;
  std::vector<TableSpec> tables_;
  std::vector<float> sums_;  // [rows, factors]: sum_f v_f x_f
};

}  // namespace penstock
