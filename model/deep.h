// DeepModel: a multi-layer perceptron on dense features over OpenBLAS.
//
// Layer l maps in_l to out_l floats: z = x W + b, then the activation (not after the last layer, whose z are
// the scores of loss.h). Each layer is one dense table "<job>/layer<l>" (l from 1) of in*out + out floats:
//     W [in, out] row-major, then b [out]
// in rows of 1024 floats; the last row is padded, and the padding's gradient is 0. A table of its own for
// each layer lets its initializer be uniform(-1/sqrt(in), 1/sqrt(in)) for weights and biases (PyTorch's
// nn.Linear), which makes the initial network a pure function of the job's seed with nothing to push.
// Gradients are means over the minibatch.
#pragma once

#include <string>
#include <vector>

#include "model/model.h"

namespace penstock {

enum class Activation : uint8_t { kRelu = 0, kTanh = 1 };
std::string_view ToString(Activation);
// The error names the allowed words.
Result<Activation> ParseActivation(std::string_view word);

struct DeepOptions {
  std::vector<uint32_t> widths = {};  // inputs, hidden layers, outputs: at least two
  Activation activation = Activation::kRelu;
  LossKind loss = LossKind::kSoftmax;
  TableSpec table = {};  // seed of all layers; its name is the job's
};

// Forward and backward alone, on parameters held by somebody else. Workspace is kept between calls.
class Mlp {
 public:
  Mlp(std::vector<uint32_t> widths, Activation activation, LossKind loss);

  size_t layers() const { return widths_.size() - 1; }
  size_t inputs() const { return widths_.front(); }
  size_t outputs() const { return widths_.back(); }
  Fans FansOf(size_t layer) const { return {widths_[layer], widths_[layer + 1]}; }
  size_t LayerFloats(size_t layer) const { return (widths_[layer] + size_t{1}) * widths_[layer + 1]; }

  // features [rows, inputs] -> scores [rows, outputs], valid until the next call. parameters: one span a
  // layer, at least LayerFloats long.
  std::span<const float> Forward(size_t rows, const float* features, const TableValues& parameters);
  // Sum of the losses; writes the mean gradient of each layer to the first LayerFloats of gradients[layer].
  double ForwardBackward(size_t rows, const float* features, std::span<const float> labels,
                         const TableValues& parameters, TableGradients* gradients);

 private:
  void Activate(std::vector<float>* z) const;
  void MultiplyByDerivative(const std::vector<float>& activated, std::vector<float>* delta) const;

  const std::vector<uint32_t> widths_;
  const Activation activation_;
  const LossKind loss_;
  std::vector<std::vector<float>> outputs_;  // [layers]: [rows, out] after the activation
  std::vector<float> delta_, previous_delta_;
};

class DeepModel final : public Model {
 public:
  static constexpr uint32_t kBlock = 1024;  // floats a row of a dense table

  explicit DeepModel(const DeepOptions& options);

  LossKind loss() const override { return loss_; }
  size_t outputs() const override { return mlp_.outputs(); }
  void Prepare(const Batch& batch, Purpose purpose, PreparedBatch* prepared) const override;
  double Compute(const Batch& batch, const PreparedBatch& prepared, const TableValues& values,
                 TableGradients* gradients) override;
  std::span<const float> Score(const Batch& batch, const PreparedBatch& prepared,
                               const TableValues& values) override;
  Objective objective() const override { return {loss_, 0, 0, false}; }
  uint64_t RegularizedRows(size_t table) const override { return 0; }
  Fans FansOf(size_t table) const override { return mlp_.FansOf(table); }

 private:
  const float* DenseFeatures(const Batch& batch);  // sparse batches are spread out

  Mlp mlp_;
  const LossKind loss_;
  std::vector<float> spread_;
};

}  // namespace penstock
