// ClusterRun: a suite whose iterations share one loaded cluster, which is started with the first of them.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "tests/chaos/chaos_cluster.h"
#include "tests/chaos/suite.h"

namespace penstock {

constexpr uint64_t kInspectMs = 1000;   // for a call that only looks
constexpr uint64_t kReportedMs = 1300;  // what servers have logged is in the scheduler's journal then

class ClusterRun : public SuiteRun {
 public:
  explicit ClusterRun(ChaosCluster::Options options) : options_(std::move(options)) {}

  Iteration Iterate(std::mt19937_64& random) final {
    Iteration iteration;
    if (cluster_ == nullptr) {
      cluster_ = std::make_unique<ChaosCluster>(options_);
      if (Status started = cluster_->Start(); !started.ok()) {
        iteration.what = "start of the cluster";
        iteration.error = started.ToString();
        return iteration;
      }
    }
    Do(*cluster_, random, &iteration);
    return iteration;
  }
  std::string Keep() final { return cluster_ == nullptr ? "" : cluster_->Keep(); }

 protected:
  // One fault. An error that it writes into `iteration` ends the run.
  virtual void Do(ChaosCluster& cluster, std::mt19937_64& random, Iteration* iteration) = 0;
  // False: there is no load, which the iteration says.
  static bool BeginLoad(ChaosCluster& cluster, uint64_t pushes, Iteration* iteration) {
    const Status begun = cluster.BeginLoad(pushes);
    if (begun.ok()) return true;
    iteration->what = "load";
    iteration->error = begun.ToString();
    return false;
  }
  const ChaosOptions& chaos() const { return options_.chaos; }
  // For those who own what the cluster needs.
  void End() { cluster_.reset(); }

 private:
  const ChaosCluster::Options options_;
  std::unique_ptr<ChaosCluster> cluster_;
};

// Small enough for folds to come while a suite runs.
inline std::vector<std::string> SmallLog() {
  return {"server.fold_bytes=1048576", "server.segment_bytes=1048576"};
}

// For `ms`: what a fault is given to last, not a wait for something to happen.
inline void Last(uint64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

}  // namespace penstock
