// DeepPart: a multi-layer perceptron over OpenBLAS, on dense features and the embeddings of categories.
//
// Layer l maps in_l to out_l floats: z = x W + b, then the activation (not after the last layer, whose z are
// added to the scores). Each layer is one dense table "<job>/layer<l>" (l from 1) of in*out + out floats:
//     W [in, out] row-major, then b [out]
// in rows of 1024 floats; the last row is padded, and the padding's gradient is 0. A table of its own for
// each layer lets its initializer be uniform(-1/sqrt(in), 1/sqrt(in)) for weights and biases (PyTorch's
// nn.Linear), which makes the initial network a pure function of the job's seed with nothing to push.
//
// Data with categorical fields have one table more, "<job>/embeddings": row c is the vector e_c of category c
// (FeatureSchema::CategoryId), dim = embedding_dim, at first normal with a standard deviation of
// 0.05 unless the job says otherwise. The input of layer 1 is then
//     x = [numeric features; bag of field 1; ...; bag of the last field],  bag = sum or mean of e_c
// over the categories c that the example has in the field (0 where it has none); a mean of n passes 1/n of
// its gradient to each.
#pragma once

#include <string>
#include <vector>

#include "common/base/status.h"
#include "model/score_part.h"

namespace penstock {

enum class Activation : uint8_t { kRelu = 0, kTanh = 1 };
std::string_view ToString(Activation);
// The error names the allowed words.
Result<Activation> ParseActivation(std::string_view word);

struct DeepOptions {
  uint32_t features = 0;              // numeric ones
  std::vector<uint32_t> hidden = {};  // widths
  uint32_t outputs = 1;
  Activation activation = Activation::kRelu;
  uint32_t fields = 0;  // categorical ones
  uint32_t embedding_dim = 0;
  bool mean = true;      // of the embeddings of a field; else their sum
  TableSpec table = {};  // seed of all tables; its name is the job's

  uint32_t inputs() const { return features + fields * embedding_dim; }
};

// Forward and backward alone, on parameters held by somebody else. Workspace is kept between calls.
class Mlp {
 public:
  // widths: inputs, hidden layers, outputs: at least two.
  Mlp(std::vector<uint32_t> widths, Activation activation);

  size_t layers() const { return widths_.size() - 1; }
  size_t inputs() const { return widths_.front(); }
  size_t outputs() const { return widths_.back(); }
  Fans FansOf(size_t layer) const { return {widths_[layer], widths_[layer + 1]}; }
  size_t LayerFloats(size_t layer) const { return (widths_[layer] + size_t{1}) * widths_[layer + 1]; }

  // inputs [rows, inputs] -> [rows, outputs], valid until the next call. parameters: one span a layer, at
  // least LayerFloats long.
  std::span<const float> Forward(size_t rows, const float* inputs,
                                 std::span<const std::span<const float>> parameters);
  // After Forward of the same inputs. Writes the gradient of each layer to the first LayerFloats of
  // gradients[layer], and that of the inputs [rows, inputs] to `input_deltas` unless it is null.
  void Backward(size_t rows, const float* inputs, std::span<const std::span<const float>> parameters,
                std::span<const float> deltas, std::span<std::vector<float>> gradients,
                std::vector<float>* input_deltas);

 private:
  void Activate(std::vector<float>* z) const;
  void MultiplyByDerivative(const std::vector<float>& activated, std::vector<float>* delta) const;

  const std::vector<uint32_t> widths_;
  const Activation activation_;
  std::vector<std::vector<float>> outputs_;  // [layers]: [rows, out] after the activation
  std::vector<float> delta_, previous_delta_;
};

class DeepPart final : public ScorePart {
 public:
  static constexpr uint32_t kBlock = 1024;  // floats a row of a dense table

  explicit DeepPart(const DeepOptions& options);

  const std::vector<TableSpec>& Tables() const override { return tables_; }
  bool by_features() const override { return false; }
  Fans FansOf(size_t table) const override { return table < mlp_.layers() ? mlp_.FansOf(table) : Fans{}; }
  void Prepare(const Batch& batch, PreparedBatch* prepared, std::span<std::vector<Key>> keys) const override;
  void AddScores(const Batch& batch, const PreparedBatch& prepared,
                 std::span<const std::span<const float>> values, std::span<float> scores) override;
  void Backward(const Batch& batch, const PreparedBatch& prepared,
                std::span<const std::span<const float>> values, const Deltas& deltas,
                std::span<std::vector<float>> gradients) override;

 private:
  // [rows, inputs] of a batch: its own features where they are all.
  const float* Inputs(const Batch& batch, const PreparedBatch& prepared,
                      std::span<const std::span<const float>> values);
  template <typename Visit>
  void ForEachBag(const Batch& batch, const Visit& visit) const;

  const DeepOptions options_;
  Mlp mlp_;
  std::vector<TableSpec> tables_;  // the layers, then the embeddings
  const float* inputs_ = nullptr;  // of AddScores
  std::vector<float> made_inputs_, input_deltas_;
};

}  // namespace penstock
