#include "model/model.h"

#include <algorithm>

#include "common/base/strings.h"
#include "model/deep.h"
#include "model/feature_schema.h"
#include "model/job_spec.h"
#include "model/linear.h"

namespace penstock {
namespace {

constexpr uint64_t kMaxDeepInputs = 1 << 20;

TableSpec BaseTable(const JobSpec& job, std::string name) {
  TableSpec table;
  table.name = std::move(name);
  table.accumulate = job.train.sync();
  table.seed = job.train.seed;
  return table;
}

Status CheckFeatures(const JobSpec& job, const DataShape& shape) {
  if (job.model.features != 0 && job.model.features != shape.features) {
    return InvalidArgument("model.features is " + std::to_string(job.model.features) + ", the data have " +
                           std::to_string(shape.features));
  }
  if (shape.fields > 0) {
    return InvalidArgument("model.kind '" + job.model.kind + "' takes no categories, the data have " +
                           std::to_string(shape.fields) + " fields of them");
  }
  ASSIGN_OR_RETURN(const auto schema,
                   FeatureSchema::Of(job.data.format, job.data.columns, job.data.hash_buckets));
  if (schema && schema->ColumnOf(ColumnKind::kWeight)) {
    return InvalidArgument("data.columns declares a weight, which model.kind '" + job.model.kind +
                           "' does not take; declare it as ignore");
  }
  return Status::Ok();
}

Result<std::unique_ptr<Model>> CreateLinear(const JobSpec& job, const DataShape& shape) {
  const auto& m = job.model;
  return std::unique_ptr<Model>(
      std::make_unique<LinearModel>(LinearOptions{.loss = job.loss(),
                                                  .classes = m.classes,
                                                  .bias = m.bias,
                                                  .l1 = m.l1,
                                                  .l2 = m.l2,
                                                  .l2_all = m.l2_all,
                                                  .shape = shape,
                                                  .table = BaseTable(job, job.name + "/weights")}));
}

Result<std::unique_ptr<Model>> CreateDeep(const JobSpec& job, const DataShape& shape) {
  if (shape.features == 0) {
    return InvalidArgument(
        "model.kind 'deep' on sparse data needs model.features (ids are 0 to features - 1)");
  }
  if (shape.features > kMaxDeepInputs) {
    return InvalidArgument("model.kind 'deep' takes at most " + std::to_string(kMaxDeepInputs) +
                           " inputs, the data have " + std::to_string(shape.features));
  }
  DeepOptions options{.loss = job.loss(), .table = BaseTable(job, job.name)};
  options.widths.push_back(static_cast<uint32_t>(shape.features));
  for (int64_t width : job.model.hidden) options.widths.push_back(static_cast<uint32_t>(width));
  options.widths.push_back(job.loss() == LossKind::kSoftmax ? job.model.classes : 1);
  ASSIGN_OR_RETURN(options.activation, ParseActivation(job.model.activation));
  return std::unique_ptr<Model>(std::make_unique<DeepModel>(options));
}

}  // namespace

Status Model::Configure(const JobSpec& job) {
  std::vector<std::string> names;
  for (size_t t = 0; t < tables_.size(); ++t) {
    TableSpec& table = tables_[t];
    names.push_back(table.name.substr(table.name.find('/') + 1));
    ASSIGN_OR_RETURN(const JobTable options, job.TableOf(names.back()));
    options.Configure(FansOf(t), &table);
    // What the job says of all tables is for those with a row a feature.
    const auto keys = job.tables.find(names.back());
    const bool own = keys != job.tables.end() && (keys->contains("admission") || keys->contains("expiry"));
    if (table.dense_size == 0 || own) {
      table.admission = options.rows.admission();
      table.expiry = options.rows.expiry();
    }
    RETURN_IF_ERROR(table.Validate());
  }
  const bool features = std::any_of(tables_.begin(), tables_.end(),
                                    [](const TableSpec& table) { return table.dense_size == 0; });
  if (job.table.rows.any() && !features) {
    return InvalidArgument("admission.* and expiry.* are for tables with a row a feature; model.kind '" +
                           job.model.kind + "' has none: " + StrJoin(names, ", "));
  }
  for (const auto& [name, keys] : job.tables.items()) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    return InvalidArgument("tables." + name + ": model.kind '" + job.model.kind + "' has no table '" + name +
                           "'; there are: " + StrJoin(names, ", "));
  }
  return Status::Ok();
}

Result<std::unique_ptr<Model>> CreateModel(const JobSpec& job, const DataShape& shape) {
  RETURN_IF_ERROR(CheckFeatures(job, shape));
  ASSIGN_OR_RETURN(auto model, job.model.kind == "deep" ? CreateDeep(job, shape) : CreateLinear(job, shape));
  RETURN_IF_ERROR(model->Configure(job));
  return model;
}

}  // namespace penstock
