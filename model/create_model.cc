// CreateModel: the parts of the model that a job asks for, sized for its data.
#include "job/job_spec.h"
#include "model/deep.h"
#include "model/factors.h"
#include "model/linear.h"
#include "model/model.h"

namespace penstock {
namespace {

constexpr uint64_t kMaxDeepInputs = 1 << 20;

using Parts = std::vector<std::unique_ptr<ScorePart>>;

TableSpec BaseTable(const JobSpec& job, const std::string& what) {
  TableSpec table;
  table.name = job.name + what;
  table.accumulate = job.train.sync();
  table.seed = job.train.seed;
  return table;
}

Status CheckFeatures(const JobSpec& job, const DataShape& shape) {
  if (job.model.features == 0 || job.model.features == shape.features) return Status::Ok();
  return InvalidArgument("model.features is " + std::to_string(job.model.features) + ", the data have " +
                         std::to_string(shape.features));
}

RegularizerRule RuleOf(const JobModel& model) {
  return model.l2_all          ? RegularizerRule::kAll
         : model.l2_scaled     ? RegularizerRule::kScaled
         : model.l2_by_example ? RegularizerRule::kByExample
                               : RegularizerRule::kTouched;
}

Result<DeepOptions> DeepOptionsOf(const JobSpec& job, const DataShape& shape, uint32_t outputs) {
  const JobModel& m = job.model;
  const uint64_t inputs = shape.features + shape.fields * m.embedding_dim;
  if (inputs == 0) {
    return InvalidArgument(
        "model.kind 'deep' on sparse data needs model.features (ids are 0 to features - 1)");
  }
  if (inputs > kMaxDeepInputs) {
    return InvalidArgument("model.kind 'deep' takes at most " + std::to_string(kMaxDeepInputs) +
                           " inputs, the data make " + std::to_string(inputs) + " (" +
                           std::to_string(shape.features) + " features, " + std::to_string(shape.fields) +
                           " fields of model.embedding_dim)");
  }
  DeepOptions options{.features = static_cast<uint32_t>(shape.features),
                      .outputs = outputs,
                      .fields = static_cast<uint32_t>(shape.fields),
                      .embedding_dim = m.embedding_dim,
                      .mean = m.pooling == "mean",
                      .table = BaseTable(job, "")};
  for (const int64_t width : m.hidden) options.hidden.push_back(static_cast<uint32_t>(width));
  PENSTOCK_ASSIGN_OR_RETURN(options.activation, ParseActivation(m.activation));
  return options;
}

}  // namespace

Result<std::unique_ptr<Model>> CreateModel(const JobSpec& job, const DataShape& shape) {
  PENSTOCK_RETURN_IF_ERROR(CheckFeatures(job, shape));
  const JobModel& m = job.model;
  ModelOptions options{.loss = job.loss(), .classes = m.classes};
  if (m.center || m.kind == "mf") options.constant = static_cast<float>(shape.label_mean);
  options.class_weights.assign(m.class_weights.begin(), m.class_weights.end());
  options.rule = RuleOf(m);
  options.features = shape.feature_keys();
  options.examples = shape.training_examples;
  options.counts = BaseTable(job, "/counts");
  Parts parts;
  if (m.deep()) {
    PENSTOCK_ASSIGN_OR_RETURN(const DeepOptions deep,
                              DeepOptionsOf(job, shape, static_cast<uint32_t>(options.outputs())));
    parts.push_back(std::make_unique<DeepPart>(deep));
  }
  if (!m.deep() || m.wide) {
    parts.push_back(std::make_unique<LinearPart>(
        LinearOptions{.outputs = options.outputs(),
                      .bias = m.bias,
                      .regularizer = {.l1 = m.l1, .l2 = m.l2, .examples = shape.training_examples},
                      .features = shape.feature_keys(),
                      .table = BaseTable(job, "/weights")}));
  }
  if (m.factorizes()) {
    parts.push_back(std::make_unique<FactorPart>(
        FactorOptions{.factors = m.factors,
                      .stddev = m.kind == "fm" ? 0.01f : 0.05f,
                      .regularizer = {.l2 = m.factor_l2, .examples = shape.training_examples},
                      .table = BaseTable(job, "/factors")}));
  }
  auto model = std::make_unique<Model>(options, std::move(parts));
  PENSTOCK_RETURN_IF_ERROR(model->Configure(job));
  return model;
}

}  // namespace penstock
