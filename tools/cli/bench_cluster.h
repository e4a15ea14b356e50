// BenchCluster: the cluster that a measurement is of: one of its own, or the one that the command line names.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "tools/bench/workers.h"
#include "tools/cli/arguments.h"
#include "tools/cli/private_cluster.h"

namespace penstock {

struct BenchClusterOptions {
  uint32_t servers = 1;
  uint32_t workers = 0;  // of the pool
  uint32_t copies = 1;   // of each shard
  uint64_t memory_lag_ms = 5000;
  bool folds = true;     // false: nothing is logged within a day, and so nothing is folded
  bool pin = false;      // server i to processor i
  uint64_t spin_us = 0;  // of the servers, and of the measurement's workers
  std::vector<std::string> assignments = {};  // section.name=value, after those that follow from the above
};

class BenchCluster {
 public:
  // Of its own unless `target` names one, which the options then say nothing about.
  static Result<std::unique_ptr<BenchCluster>> Start(const TargetArguments& target,
                                                     const BenchClusterOptions& options,
                                                     InterruptSignals& signals, Console& console);

  Client& client() { return *client_; }
  uint64_t servers() const { return servers_; }  // alive
  uint32_t copies() const { return copies_; }    // of each shard, of its own
  // For the worker processes of measurements: they are pinned behind the servers, if these are.
  WorkersOptions workers() const;
  std::function<bool()> interrupted() {
    return [this] { return signals_.Received(); };
  }
  bool own() const { return own_ != nullptr; }
  // Of its own: processes by their names, and the sum of a metric over all servers.
  const PrivateCluster& processes() const { return *own_; }
  Result<double> ServerMetric(const std::string& name) const;
  // Everything that was applied is in the bases, and the logs are as good as empty.
  Status FoldAll();
  // Looks again and again, for five minutes; then kDeadlineExceeded, with these words.
  Status WaitUntil(const std::string& what, const std::function<Result<bool>()>& done) const;

 private:
  explicit BenchCluster(InterruptSignals& signals) : signals_(signals) {}
  Status PinServers();
  Status WaitForCopies();

  InterruptSignals& signals_;
  std::unique_ptr<PrivateCluster> own_;
  std::unique_ptr<Client> client_;  // ends before the cluster
  uint64_t servers_ = 0;
  uint32_t copies_ = 1;
  bool pin_ = false;
  uint64_t spin_us_ = 0;
};

// True when the command line names a running cluster.
inline bool Named(const TargetArguments& target) {
  return !target.scheduler.empty() || !target.data_dir.empty();
}

}  // namespace penstock
