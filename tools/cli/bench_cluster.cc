#include "tools/cli/bench_cluster.h"

#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "tools/bench/metrics_page.h"
#include "tools/bench/pinning.h"
#include "tools/cli/target.h"

namespace penstock {
namespace {

// Longer than any stall that is to be measured and not to be reported as an error.
constexpr uint64_t kDeadlineMs = 120'000;
constexpr uint64_t kDayMs = 86'400'000;

Result<uint64_t> CountServers(Client& client) {
  ASSIGN_OR_RETURN(const nlohmann::json nodes, client.Inspect("nodes"));
  uint64_t servers = 0;
  for (const auto& node : nodes)
    servers += node.value("role", "") == "server" && node.value("state", "") == "alive" ? 1 : 0;
  return servers;
}

}  // namespace

Result<std::unique_ptr<BenchCluster>> BenchCluster::Start(const TargetArguments& target,
                                                          const BenchClusterOptions& options,
                                                          InterruptSignals& signals, Console& console) {
  std::unique_ptr<BenchCluster> cluster(new BenchCluster(signals));
  cluster->spin_us_ = options.spin_us;
  TargetArguments reached = target;
  if (!Named(target)) {
    std::vector<std::string> assignments = {
        StrCat("server.memory_lag_ms=", options.folds ? options.memory_lag_ms : kDayMs),
        StrCat("server.spin_us=", options.spin_us)};
    assignments.insert(assignments.end(), options.assignments.begin(), options.assignments.end());
    ASSIGN_OR_RETURN(cluster->own_, PrivateCluster::Start(options.servers, options.workers, signals, console,
                                                          std::move(assignments)));
    reached = cluster->own_->target();
    cluster->pin_ = options.pin;
    if (options.pin) RETURN_IF_ERROR(cluster->PinServers());
  }
  ClientOptions client = TargetOptions(reached, "penstock bench");
  client.deadline_ms = kDeadlineMs;
  ASSIGN_OR_RETURN(cluster->client_, ConnectTo(reached, client));
  ASSIGN_OR_RETURN(cluster->servers_, CountServers(*cluster->client_));
  return cluster;
}

Status BenchCluster::PinServers() {
  size_t next = 0;
  for (const ChildState& child : own_->Children()) {
    if (child.name.starts_with("server")) RETURN_IF_ERROR(PinProcess(child.pid, ProcessorAt(next++)));
  }
  return Status::Ok();
}

Result<double> BenchCluster::ServerMetric(const std::string& name) const {
  double sum = 0;
  for (const ChildState& child : own_->Children()) {
    if (!child.name.starts_with("server")) continue;
    ASSIGN_OR_RETURN(const double value, ReadMetric(own_->paths().node(child.name) + "/http_address", name));
    sum += value;
  }
  return sum;
}

WorkersOptions BenchCluster::workers() const {
  WorkersOptions options{.scheduler = client_->options().scheduler,
                         .token_file = client_->options().token_file,
                         .spin_us = spin_us_};
  if (pin_) options.pin_from = servers_;
  return options;
}

}  // namespace penstock
