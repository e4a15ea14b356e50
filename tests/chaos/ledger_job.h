// LedgerJob: a training job whose ledger says afterwards how often each example of each pass was counted.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/chaos/chaos_cluster.h"
#include "tests/cluster/child_program.h"

namespace penstock {

class LedgerJob {
 public:
  // `name` is of this job alone. `consistency`: async, ssp or sync. `set`: further options
  // ("train.keep_best=true"). `file`: in conf/jobs, of a linear model.
  LedgerJob(ChaosCluster& cluster, std::string name, std::string consistency, uint64_t passes,
            std::vector<std::string> set = {}, std::string file = "a9a_logistic")
      : cluster_(cluster),
        name_(std::move(name)),
        consistency_(std::move(consistency)),
        passes_(passes),
        set_(std::move(set)),
        file_(std::move(file)) {}

  // `penstock train` in the background.
  Status Begin();
  // Until this share of its examples has been trained on; kFailedPrecondition when the job is over before.
  Status WaitShare(double share, int deadline_ms = 120000);
  // Until more has been trained on than now, or the job is over.
  Status WaitProgress(int deadline_ms = 60000);
  // A loss that was accepted while it trained.
  struct Loss {
    bool any = false;
    uint64_t pass = 0;  // that the job was in: rows of earlier ones may be among what was lost
  };
  bool Running() { return train_->Running(); }
  // Of the job that is done: its weights as they are stored, by key.
  Result<std::vector<float>> Weights();
  // The pass that it is in.
  Result<uint64_t> Pass();
  // Until it is done, and each row of the ledger is 1, but for what was lost. Empty, or what is wrong.
  std::string Finish(const Loss& loss, int deadline_ms = 240000);
  std::string Finish() { return Finish(Loss()); }

 private:
  struct Seen {
    std::string state;
    uint64_t id = 0, examples = 0, pass = 0;
  };
  // As the scheduler shows it; "" when it cannot be asked or does not know it yet.
  Seen Look();
  std::string CheckLedger(uint64_t id, const Loss& loss);
  std::string CheckHistory(const nlohmann::json& job) const;
  std::string Output() const;
  std::string Path(const std::string& suffix) const { return cluster_.dir() + "/" + name_ + suffix; }

  ChaosCluster& cluster_;
  const std::string name_, consistency_;
  const uint64_t passes_;
  const std::vector<std::string> set_;
  const std::string file_;
  std::optional<ChildProgram> train_;
};

}  // namespace penstock
