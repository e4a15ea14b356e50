// JobContext: what a worker keeps of a job between its leases: the parsed options, the model, the opened
// tables and data sets.
//
// Made from a lease; belongs to the training thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/client.h"
#include "data/data_plan.h"
#include "data/partition_store.h"
#include "job/job_spec.h"
#include "model/model.h"
#include "worker/train/data_roots.h"
#include "worker/train/lease_forecast.h"
#include "worker/train/lease_task.h"

namespace penstock {

// The optimizer step that minibatch k of a partition counts as: passes one after the other, in each the
// partitions in the order in which they are given out. A pure function of what is journaled, so that a re-run
// has the same.
struct ScheduleSteps {
  uint64_t first = 0;  // of minibatch 0
  uint64_t Of(uint64_t k) const { return first + k; }
};

class JobContext {
 public:
  // Errors name the job and the option, file or table.
  static Result<std::unique_ptr<JobContext>> Create(Client& client, const LeaseInfo& lease,
                                                    const DataRoots& roots, std::shared_ptr<IdxCache> cache,
                                                    PartitionStore& store);

  const JobSpec& job() const { return job_; }
  Model& model() { return *model_; }
  // As the cluster knows the model's tables, in their order.
  const std::vector<TableSpec>& tables() const { return tables_; }
  // The same of train.keep_best (job_tables.h); empty without.
  const std::vector<TableSpec>& best_tables() const { return best_tables_; }
  // Of train.ledger (ledger.h), and the row of the lease's first example in it.
  const std::optional<TableSpec>& ledger() const { return ledger_; }
  Key LedgerBaseOf(const LeaseInfo& lease, uint32_t partition) const;
  // Which optimizer step a lease's minibatches are.
  ScheduleSteps ScheduleStepsOf(const LeaseInfo& lease) const;
  // sync: optimizer steps a pass.
  uint64_t RoundsPerPass() const;
  // sync: the examples of a stream in training, read at its first use and then kept.
  Result<const Examples*> ReadStream(const LeaseInfo& lease, uint32_t stream);
  // The examples of a lease; its data set is opened at its first use. kInvalidArgument naming the file when
  // it is not, or not any more, the data that the job was submitted with: no attempt will go better.
  Result<std::shared_ptr<const Examples>> ReadPartition(const LeaseInfo& lease);
  // After ReadPartition: begins to read what the next lease will probably be of.
  void ReadAhead(const LeaseInfo& lease);

 private:
  explicit JobContext(PartitionStore& store) : store_(store) {}
  Status Load(Client& client, const LeaseInfo& lease);
  Result<std::shared_ptr<const Examples>> ReadPlanned(bool test, const DataPlan& plan, uint32_t partition);

  JobSpec job_;
  JobPlan plan_;
  std::shared_ptr<IdxCache> cache_;
  std::unique_ptr<Model> model_;
  std::vector<TableSpec> tables_, best_tables_;
  std::optional<TableSpec> ledger_;
  std::shared_ptr<const Dataset> train_, test_;
  PartitionStore& store_;
  LeaseForecast forecast_;
  std::map<uint32_t, std::shared_ptr<const Examples>> streams_;
};

}  // namespace penstock
