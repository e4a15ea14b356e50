// The losses that every built-in model ends in, with their gradients.
//
// s is an example's scores [outputs], y its label (Batch::labels), l its loss:
//   logistic  outputs 1, y in {0, 1}: l = log(1 + exp(s)) - y*s      dl/ds = sigmoid(s) - y
//   softmax   y a class:              l = log(sum_j exp(s_j)) - s_y  dl/ds_j = exp(s_j)/sum - [j == y]
//   squared   outputs 1, y a number:  l = (s - y)^2 / 2              dl/ds = s - y
//   hinge     outputs 1, y in {0, 1}: l = max(0, 1 - z*s), z = 2y - 1
//                                                                    dl/ds = -z where z*s < 1, else 0
// With y in {-1, +1} the logistic loss is log(1 + exp(-y*s)), the same number.
#pragma once

#include <cstddef>
#include <span>

#include "job/loss_kind.h"

namespace penstock {

// Sum of weight * l of scores [rows, outputs] with labels [rows] and weights [rows] (empty: all 1). Where
// `deltas` is not null it gets scale * weight * dl/ds, same shape as the scores (it may be the same memory).
double LossAndDeltas(LossKind kind, std::span<const float> labels, std::span<const float> weights,
                     size_t outputs, const float* scores, float scale, float* deltas);

// log(1 + exp(s)) without overflow.
double Softplus(double s);
float Sigmoid(float s);

}  // namespace penstock
