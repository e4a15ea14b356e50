// Batch: the examples of one minibatch, as a model reads them.
//
// Filled by worker/data (Examples::Gather) and by serving; read by Model. Vectors keep their capacity from
// one minibatch to the next, so a loop that reuses a Batch does not allocate. Owned by one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace penstock {

struct Batch {
  size_t rows = 0;  // examples
  bool dense = false;
  size_t dim = 0;     // dense: floats an example, 0 is allowed; sparse: 0
  size_t fields = 0;  // dense: categorical fields beside them (FeatureSchema), 0: none

  std::vector<float> features;  // dense: [rows, dim], row-major
  std::vector<uint64_t>
      row_offsets;            // sparse: [rows + 1], example i has nonzeros [row_offsets[i], row_offsets[i+1])
  std::vector<uint64_t> ids;  // sparse: [nonzeros], the feature of each
  std::vector<float> values;  // sparse: [nonzeros]

  // Example i has the categories [field_offsets[i*fields+f], field_offsets[i*fields+f+1]) of field f: none,
  // one or, in a field of kind multi, several.
  std::vector<uint64_t> field_offsets;  // [rows*fields + 1]; empty without fields
  std::vector<uint64_t> categories;     // FeatureSchema::CategoryId of each

  std::vector<float> weights;     // [rows]: at least 0, of the examples' losses; empty: all 1
  std::vector<float> labels;      // [rows]: logistic and hinge 0 or 1, softmax the class 0 .. classes-1,
                                  // squared any finite number
  std::vector<uint32_t> indices;  // [rows]: which record of its partition each example is
};

// What a model must know about the data it will see. It is part of a job's plan, so every worker has the
// same.
struct DataShape {
  bool dense = false;
  uint64_t features = 0;  // dense: floats an example; sparse: ids are below it, 0 when that is not known
  uint64_t training_examples = 0;  // N of the objective, the same for the whole job
  double label_mean = 0;           // of the training examples (weighted where they have weights)
  uint64_t fields = 0;             // dense: categorical fields beside the features
  uint64_t categories = 0;         // their ids are below it; 0: any of 63 bits

  // FeatureRows::keys are below it; 0: that is not known.
  uint64_t feature_keys() const {
    return fields == 0 ? features : categories == 0 ? 0 : features + categories;
  }
};

}  // namespace penstock
