// Small models and random batches for the tests of models.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "model/deep.h"
#include "model/factors.h"
#include "model/linear.h"
#include "model/model.h"

namespace penstock {

inline constexpr uint32_t kSeed = 17;

inline TableSpec Named(const char* name) {
  TableSpec table;
  table.name = name;
  table.seed = 1;
  return table;
}

template <typename... Part>
Model Sum(const ModelOptions& options, Part... part) {
  std::vector<std::unique_ptr<ScorePart>> parts;
  (parts.push_back(std::make_unique<Part>(std::move(part))), ...);
  return Model(options, std::move(parts));
}

struct LinearCase {
  LossKind loss = LossKind::kLogistic;
  uint32_t classes = 2;
  bool bias = true;
  double l1 = 0, l2 = 0;
  bool l2_all = false;
};

inline Model Linear(const LinearCase& c, uint64_t features, uint64_t examples) {
  const ModelOptions options{.loss = c.loss,
                             .classes = c.classes,
                             .rule = c.l2_all ? RegularizerRule::kAll : RegularizerRule::kTouched,
                             .features = features};
  return Sum(options, LinearPart({.outputs = options.outputs(),
                                  .bias = c.bias,
                                  .regularizer = {.l1 = c.l1, .l2 = c.l2, .examples = examples},
                                  .features = features,
                                  .table = Named("job/weights")}));
}

inline Model Deep(std::vector<uint32_t> widths, Activation activation, LossKind loss) {
  const ModelOptions options{.loss = loss, .classes = widths.back()};
  return Sum(options, DeepPart({.features = widths.front(),
                                .hidden = {widths.begin() + 1, widths.end() - 1},
                                .outputs = widths.back(),
                                .activation = activation,
                                .table = Named("job")}));
}

class ModelTest : public testing::Test {
 protected:
  float Uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(random_); }

  float RandomLabel(LossKind loss, uint32_t classes) {
    if (loss == LossKind::kSquared) return Uniform(-2, 2);
    return static_cast<float>(random_() % (loss == LossKind::kSoftmax ? classes : 2));
  }

  Batch RandomBatch(bool dense, size_t rows, uint32_t features, LossKind loss, uint32_t classes) {
    Batch batch;
    batch.rows = rows;
    batch.dense = dense;
    batch.dim = dense ? features : 0;
    batch.row_offsets.push_back(0);
    for (size_t row = 0; row < rows; ++row) {
      batch.labels.push_back(RandomLabel(loss, classes));
      for (uint32_t f = 0; f < features; ++f) {
        if (dense) {
          batch.features.push_back(Uniform(-1, 1));
        } else if (random_() % 3 == 0) {
          batch.ids.push_back(f);
          batch.values.push_back(Uniform(-1, 1));
        }
      }
      batch.row_offsets.push_back(batch.ids.size());
    }
    return batch;
  }

  std::vector<std::vector<float>> RandomValues(const Model& model, const PreparedBatch& prepared) {
    std::vector<std::vector<float>> values;
    for (size_t t = 0; t < prepared.keys.size(); ++t) {
      values.emplace_back(prepared.keys[t].size() * model.Tables()[t].dim);
      for (float& v : values.back()) v = Uniform(-0.5f, 0.5f);
    }
    return values;
  }

  static TableValues Spans(const std::vector<std::vector<float>>& values) {
    return TableValues(values.begin(), values.end());
  }

  // Numeric columns and fields with no, one or several categories below 12.
  Batch RandomColumns(size_t rows, size_t dim, size_t fields, LossKind loss) {
    Batch batch = RandomBatch(true, rows, static_cast<uint32_t>(dim), loss, 2);
    batch.fields = fields;
    batch.field_offsets.push_back(0);
    for (size_t bag = 0; bag < rows * fields; ++bag) {
      for (size_t i = random_() % 4; i > 0; --i) batch.categories.push_back(random_() % 12);
      batch.field_offsets.push_back(batch.categories.size());
    }
    for (size_t row = 0; row < rows; ++row) batch.weights.push_back(Uniform(0, 3));
    return batch;
  }

  std::mt19937 random_{kSeed};
};

}  // namespace penstock
