#include "model/model.h"

#include <algorithm>

#include "common/base/strings.h"
#include "job/job_spec.h"
#include "model/linear.h"

namespace penstock {

Model::Model(const ModelOptions& options, std::vector<std::unique_ptr<ScorePart>> parts)
    : options_(options), outputs_(options.outputs()), parts_(std::move(parts)) {
  for (const auto& part : parts_) {
    tables_.insert(tables_.end(), part->Tables().begin(), part->Tables().end());
    by_features_ = by_features_ || part->by_features();
  }
  if (options.rule != RegularizerRule::kScaled) return;
  tables_.push_back(options.counts);
  tables_.back().dim = 1;
  tables_.back().optimizer = {.kind = OptimizerKind::kAdd};
}

Status Model::Configure(const JobSpec& job) {
  std::vector<std::string> names;
  for (const auto& part : parts_) {
    for (size_t t = 0; t < part->Tables().size(); ++t) {
      TableSpec& table = tables_[names.size()];
      names.push_back(table.name.substr(table.name.find('/') + 1));
      PENSTOCK_ASSIGN_OR_RETURN(const JobTable options, job.TableOf(names.back()));
      options.Configure(part->FansOf(t), &table);
      table.durability = job.DurabilityOf(options);
      // What the job says of all tables is for those with a row a feature.
      const auto keys = job.tables.find(names.back());
      const bool own = keys != job.tables.end() && (keys->contains("admission") || keys->contains("expiry"));
      if (table.dense_size == 0 || own) {
        table.admission = options.rows.admission();
        table.expiry = options.rows.expiry();
      }
      PENSTOCK_RETURN_IF_ERROR(table.Validate().Prepend(names.back()));
    }
  }
  if (options_.rule == RegularizerRule::kScaled) tables_.back().durability = job.DurabilityOf(job.table);
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

void Model::Prepare(const Batch& batch, Purpose purpose, PreparedBatch* prepared) const {
  if (by_features_) {
    const bool all = purpose == Purpose::kTrain && options_.rule == RegularizerRule::kAll;
    MakeFeatureRows(batch, all ? options_.features : 0, &prepared->compactor, &prepared->features);
  }
  prepared->keys.resize(tables_.size());
  std::span<std::vector<Key>> keys = prepared->keys;
  for (const auto& part : parts_) {
    part->Prepare(batch, prepared, keys.first(part->Tables().size()));
    keys = keys.subspan(part->Tables().size());
  }
  if (options_.rule != RegularizerRule::kScaled) return;
  keys[0].clear();
  if (purpose != Purpose::kTrain) return;
  keys[0] = prepared->features.keys;
  keys[0].push_back(kBiasKey);
}

std::span<const float> Model::Score(const Batch& batch, const PreparedBatch& prepared,
                                    const TableValues& values) {
  scores_.assign(batch.rows * outputs_, options_.constant);
  std::span<const std::span<const float>> rest = values;
  for (const auto& part : parts_) {
    part->AddScores(batch, prepared, rest.first(part->Tables().size()), scores_);
    rest = rest.subspan(part->Tables().size());
  }
  return scores_;
}

double Model::Compute(const Batch& batch, const PreparedBatch& prepared, const TableValues& values,
                      TableGradients* gradients) {
  Score(batch, prepared, values);
  const float mean = batch.rows == 0 ? 0 : 1.0f / static_cast<float>(batch.rows);
  const double loss = LossAndDeltas(options_.loss, batch.labels, WeightsOf(batch), outputs_, scores_.data(),
                                    mean, scores_.data());
  FindRowShares(batch, prepared, values);
  gradients->resize(tables_.size());
  std::span<const std::span<const float>> rest = values;
  std::span<std::vector<float>> to = *gradients;
  for (const auto& part : parts_) {
    const size_t tables = part->Tables().size();
    part->Backward(batch, prepared, rest.first(tables), {scores_, row_shares_}, to.first(tables));
    rest = rest.subspan(tables);
    to = to.subspan(tables);
  }
  if (options_.rule == RegularizerRule::kScaled) to[0].assign(rest[0].size(), 1);
  return loss;
}

std::span<const float> Model::WeightsOf(const Batch& batch) {
  if (options_.class_weights.empty()) return batch.weights;
  weights_.resize(batch.rows);
  for (size_t i = 0; i < batch.rows; ++i) {
    const float of_example = batch.weights.empty() ? 1 : batch.weights[i];
    weights_[i] = of_example * options_.class_weights[static_cast<size_t>(batch.labels[i])];
  }
  return weights_;
}

void Model::FindRowShares(const Batch& batch, const PreparedBatch& prepared, const TableValues& values) {
  const FeatureRows& features = prepared.features;
  if (options_.rule == RegularizerRule::kScaled) {
    const std::span<const float> counts = values.back();
    row_shares_.resize(features.keys.size());
    for (size_t f = 0; f < row_shares_.size(); ++f) row_shares_[f] = (counts.back() + 1) / (counts[f] + 1);
  } else if (options_.rule == RegularizerRule::kByExample) {
    row_shares_.assign(features.keys.size(), 0);
    const float share = static_cast<float>(options_.examples) / static_cast<float>(batch.rows);
    for (size_t i = 0; IsMatrix(batch) && i < batch.features.size(); ++i) {
      if (batch.features[i] != 0) row_shares_[i % batch.dim] += share;
    }
    for (size_t i = 0; !IsMatrix(batch) && i < features.positions.size(); ++i)
      row_shares_[features.positions[i]] += share;
  }
}

// Of the objective as an evaluation can tell it: norms of several parts would have factors of their own,
// those of kByExample go by the data, and class weights are of training alone.
std::optional<Norms> Model::ObjectiveNorms() const {
  if (parts_.size() != 1 || !options_.class_weights.empty()) return std::nullopt;
  const std::optional<Norms> norms = parts_[0]->norms();
  const bool regularized = norms && (norms->l1 != 0 || norms->l2 != 0);
  return regularized && options_.rule == RegularizerRule::kByExample ? std::nullopt : norms;
}

Objective Model::objective() const {
  const auto norms = ObjectiveNorms();
  if (!norms) return {.loss = options_.loss};
  return {.loss = options_.loss, .l1 = norms->l1, .l2 = norms->l2, .known = norms->known};
}

uint64_t Model::RegularizedRows(size_t table) const {
  const auto norms = ObjectiveNorms();
  return table == 0 && norms ? norms->rows : 0;
}

}  // namespace penstock
