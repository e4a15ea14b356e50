#include "tests/unit/data/local_trainer.h"

#include <cmath>
#include <random>

namespace penstock {

LocalTable::Row& LocalTable::Find(Key key) {
  auto [entry, fresh] = rows_.try_emplace(key);
  Row& row = entry->second;
  if (!fresh) return row;
  row.w.resize(spec_.dim);
  row.b.resize(spec_.dim);
  row.a.assign(spec_.dim,
               spec_.optimizer.kind == OptimizerKind::kAdagrad ? spec_.optimizer.initial_accumulator : 0);
  if (spec_.initializer.kind == InitializerKind::kUniform) {
    for (uint32_t i = 0; i < spec_.dim; ++i) {
      const uint64_t bits =
          Mix64(Mix64(spec_.seed + key * 0x9e3779b97f4a7c15ULL) + i * 0xd1342543de82ef95ULL);
      const float unit = static_cast<float>(bits >> 40) / static_cast<float>(1 << 24);
      row.w[i] = spec_.initializer.low + (spec_.initializer.high - spec_.initializer.low) * unit;
    }
  }
  if (spec_.initializer.kind == InitializerKind::kNormal) {
    std::mt19937_64 random(Mix64(spec_.seed + key * 0x9e3779b97f4a7c15ULL));
    std::normal_distribution<float> normal(0, spec_.initializer.stddev);
    for (float& w : row.w) w = normal(random);
  }
  return row;
}

void LocalTable::Pull(const std::vector<Key>& keys, std::vector<float>* values) {
  values->clear();
  for (Key key : keys) {
    const Row& row = Find(key);
    values->insert(values->end(), row.w.begin(), row.w.end());
  }
}

void LocalTable::Push(const std::vector<Key>& keys, const std::vector<float>& gradients) {
  for (size_t k = 0; k < keys.size(); ++k) {
    Row& row = Find(keys[k]);
    ++row.pushes;
    for (uint32_t i = 0; i < spec_.dim; ++i) Step(&row, i, gradients[k * spec_.dim + i]);
  }
}

void LocalTable::Step(Row* row, size_t i, float g) const {
  const OptimizerSpec& o = spec_.optimizer;
  float &w = row->w[i], &a = row->a[i], &b = row->b[i];
  if (o.kind != OptimizerKind::kFtrl) g += o.l2 * w;
  switch (o.kind) {
    case OptimizerKind::kAdd:
      w += g;
      break;
    case OptimizerKind::kSgd:
      w -= o.learning_rate * g;
      break;
    case OptimizerKind::kAdagrad:
      a += g * g;
      w -= o.learning_rate * g / (std::sqrt(a) + o.epsilon);
      break;
    case OptimizerKind::kAdam: {
      const auto t = static_cast<float>(row->pushes);
      a = o.beta1 * a + (1 - o.beta1) * g;
      b = o.beta2 * b + (1 - o.beta2) * g * g;
      w -= o.learning_rate * (a / (1 - std::pow(o.beta1, t))) /
           (std::sqrt(b / (1 - std::pow(o.beta2, t))) + o.epsilon);
      break;
    }
    case OptimizerKind::kFtrl: {  // a is z, b is n
      const float sigma = (std::sqrt(b + g * g) - std::sqrt(b)) / o.learning_rate;
      a += g - sigma * w;
      b += g * g;
      w = std::abs(a) <= o.l1
              ? 0
              : -(a - std::copysign(o.l1, a)) / ((o.beta + std::sqrt(b)) / o.learning_rate + o.l2);
      break;
    }
    default:
      break;
  }
}

Result<std::unique_ptr<LocalTrainer>> LocalTrainer::Create(const JobSpec& job, uint32_t workers,
                                                           uint32_t delay) {
  auto trainer = std::make_unique<LocalTrainer>();
  trainer->job_ = job;
  trainer->workers_ = workers;
  trainer->delay_ = delay;
  const auto cache = std::make_shared<IdxCache>();
  PENSTOCK_ASSIGN_OR_RETURN(trainer->plan_, MakeJobPlan(job));
  PENSTOCK_ASSIGN_OR_RETURN(trainer->train_, OpenJobData(job, trainer->plan_, DataRole::kTrain, cache));
  if (trainer->plan_.test) {
    PENSTOCK_ASSIGN_OR_RETURN(trainer->test_, OpenJobData(job, trainer->plan_, DataRole::kTest, cache));
  }
  PENSTOCK_ASSIGN_OR_RETURN(trainer->model_, CreateModel(job, trainer->plan_.shape()));
  for (const TableSpec& spec : trainer->model_->Tables()) trainer->tables_.emplace_back(spec);
  return trainer;
}

TableValues LocalTrainer::Pull(const PreparedBatch& prepared) {
  pulled_.resize(tables_.size());
  for (size_t t = 0; t < tables_.size(); ++t) tables_[t].Pull(prepared.keys[t], &pulled_[t]);
  return TableValues(pulled_.begin(), pulled_.end());
}

void LocalTrainer::Drain(size_t leave) {
  for (; in_flight_.size() > leave; in_flight_.pop_front()) {
    for (size_t t = 0; t < tables_.size(); ++t) {
      tables_[t].Push(in_flight_.front().keys[t], in_flight_.front().gradients[t]);
    }
  }
}

double LocalTrainer::Step(const Examples& examples, std::span<const uint32_t> indices) {
  examples.Gather(indices, &batch_);
  model_->Prepare(batch_, Purpose::kTrain, &prepared_);
  const TableValues values = Pull(prepared_);
  Pushed pushed;
  const double loss = model_->Compute(batch_, prepared_, values, &pushed.gradients);
  pushed.keys = prepared_.keys;
  in_flight_.push_back(std::move(pushed));
  Drain(delay_);
  return loss;
}

Result<double> LocalTrainer::Pass(uint32_t pass) {
  struct Lease {
    Examples examples;
    MinibatchPlan plan;
    uint64_t next = 0;
  };
  std::vector<std::unique_ptr<Lease>> leases(workers_);
  uint32_t partition = 0;
  double loss = 0;
  uint64_t examples = 0;
  for (bool busy = true; busy;) {
    busy = false;
    for (auto& lease : leases) {
      while ((lease == nullptr || lease->next == lease->plan.count()) &&
             partition < plan_.train.partitions.size()) {
        PENSTOCK_ASSIGN_OR_RETURN(Examples read, train_->ReadPartition(plan_.train.partitions[partition]));
        MinibatchPlan plan(job_.train.batch_size, job_.train.shuffle, job_.train.seed, pass, partition,
                           read.size());
        lease = std::make_unique<Lease>(Lease{std::move(read), std::move(plan)});
        ++partition;
      }
      if (lease == nullptr || lease->next == lease->plan.count()) continue;
      busy = true;
      const auto indices = lease->plan.Indices(lease->next++);
      loss += Step(lease->examples, indices);
      examples += indices.size();
    }
  }
  Drain(0);
  return loss / static_cast<double>(examples);
}

Result<Evaluation> LocalTrainer::Evaluate(DataRole role) {
  const bool train = role == DataRole::kTrain;
  Evaluation evaluation;
  for (const PartitionRange& range : train ? plan_.train.partitions : plan_.test->partitions) {
    PENSTOCK_ASSIGN_OR_RETURN(Examples examples, (train ? train_ : test_)->ReadPartition(range));
    const MinibatchPlan plan(4096, false, 0, 0, 0, examples.size());
    Evaluation part;
    for (uint64_t k = 0; k < plan.count(); ++k) {
      examples.Gather(plan.Indices(k), &batch_);
      model_->Prepare(batch_, Purpose::kEvaluate, &prepared_);
      model_->Evaluate(batch_, prepared_, Pull(prepared_), &part);
    }
    evaluation.Merge(part);
  }
  for (size_t t = 0; t < tables_.size(); ++t) {
    std::vector<Key> keys(model_->RegularizedRows(t));
    for (size_t i = 0; i < keys.size(); ++i) keys[i] = i;
    std::vector<float> weights;
    tables_[t].Pull(keys, &weights);
    evaluation.AddWeights(weights);
  }
  return evaluation;
}

}  // namespace penstock
