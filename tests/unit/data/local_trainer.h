// A cluster in one thread for tests: tables as maps, the servers' optimizer formulas, and workers that take
// turns.
//
// Asynchrony is imitated by applying every push a fixed number of pushes later than its values were pulled.
// It shares no code with server and client, so it is also a reference for what a job should reach.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>

#include "common/base/hash.h"
#include "data/data_plan.h"
#include "data/idx.h"
#include "data/minibatch_plan.h"
#include "model/model.h"

namespace penstock {

// One table: rows of values, two optimizer slots and a push count.
class LocalTable {
 public:
  explicit LocalTable(const TableSpec& spec) : spec_(spec) {}

  void Pull(const std::vector<Key>& keys, std::vector<float>* values);
  void Push(const std::vector<Key>& keys, const std::vector<float>& gradients);

 private:
  struct Row {
    std::vector<float> w, a, b;
    uint64_t pushes = 0;
  };
  Row& Find(Key key);
  void Step(Row* row, size_t i, float g) const;

  const TableSpec spec_;
  std::unordered_map<Key, Row> rows_;
};

class LocalTrainer {
 public:
  // `delay`: pushes between a pull and the push that came of it.
  static Result<std::unique_ptr<LocalTrainer>> Create(const JobSpec& job, uint32_t workers, uint32_t delay);

  // One pass; workers take the partitions in order. Mean loss of its minibatches as they were seen.
  Result<double> Pass(uint32_t pass);
  Result<Evaluation> Evaluate(DataRole role);
  Objective objective() const { return model_->objective(); }

 private:
  struct Pushed {
    std::vector<std::vector<Key>> keys;
    TableGradients gradients;
  };
  TableValues Pull(const PreparedBatch& prepared);
  double Step(const Examples& examples, std::span<const uint32_t> indices);
  void Drain(size_t leave);

  JobSpec job_;
  JobPlan plan_;
  uint32_t workers_ = 1, delay_ = 0;
  std::unique_ptr<Dataset> train_, test_;
  std::unique_ptr<Model> model_;
  std::vector<LocalTable> tables_;
  std::deque<Pushed> in_flight_;
  Batch batch_;
  PreparedBatch prepared_;
  std::vector<std::vector<float>> pulled_;
};

}  // namespace penstock
