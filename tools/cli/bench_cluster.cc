#include "tools/cli/bench_cluster.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "client/admin.h"
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
  PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json nodes, Admin(client).Inspect("nodes"));
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
  cluster->copies_ = options.copies;
  TargetArguments reached = target;
  if (options.copies > options.servers) {
    return InvalidArgument(StrCat("--copies ", options.copies, " needs as many servers, there are ",
                                  options.servers, ": name --servers"));
  }
  if (!Named(target)) {
    std::vector<std::string> assignments = {
        StrCat("server.memory_lag_ms=", options.folds ? options.memory_lag_ms : kDayMs),
        StrCat("server.spin_us=", options.spin_us), StrCat("scheduler.copies=", options.copies)};
    assignments.insert(assignments.end(), options.assignments.begin(), options.assignments.end());
    PENSTOCK_ASSIGN_OR_RETURN(cluster->own_, PrivateCluster::Start(options.servers, options.workers, signals,
                                                                   console, std::move(assignments)));
    reached = cluster->own_->target();
    cluster->pin_ = options.pin;
    if (options.pin) PENSTOCK_RETURN_IF_ERROR(cluster->PinServers());
  }
  ClientOptions client = TargetOptions(reached, "penstock bench");
  client.deadline_ms = kDeadlineMs;
  PENSTOCK_ASSIGN_OR_RETURN(cluster->client_, ConnectTo(reached, client));
  PENSTOCK_ASSIGN_OR_RETURN(cluster->servers_, CountServers(*cluster->client_));
  if (options.copies > 1) PENSTOCK_RETURN_IF_ERROR(cluster->WaitForCopies());
  return cluster;
}

// All shards have all copies in sync: what is measured is not their seeding.
Status BenchCluster::WaitForCopies() {
  constexpr int kTries = 600;
  for (int i = 0; i < kTries && !signals_.Received(); ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json status, Admin(*client_).Inspect("status"));
    if (status.at("copies").at("complete") == status.at("shards").at("total")) return Status::Ok();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return DeadlineExceeded("the copies of the shards are not in sync after a minute");
}

Status BenchCluster::PinServers() {
  size_t next = 0;
  for (const ChildState& child : own_->Children()) {
    if (child.name.starts_with("server"))
      PENSTOCK_RETURN_IF_ERROR(PinProcess(child.pid, ProcessorAt(next++)));
  }
  return Status::Ok();
}

Result<double> BenchCluster::ServerMetric(const std::string& name) const {
  double sum = 0;
  for (const ChildState& child : own_->Children()) {
    if (!child.name.starts_with("server")) continue;
    PENSTOCK_ASSIGN_OR_RETURN(const double value,
                              ReadMetric(own_->paths().node(child.name) + "/http_address", name));
    sum += value;
  }
  return sum;
}

Status BenchCluster::WaitUntil(const std::string& what, const std::function<Result<bool>()>& done) const {
  using Clock = std::chrono::steady_clock;
  constexpr auto kLookEvery = std::chrono::milliseconds(20);
  constexpr auto kPatience = std::chrono::seconds(300);
  for (const auto end = Clock::now() + kPatience; Clock::now() < end;
       std::this_thread::sleep_for(kLookEvery)) {
    if (signals_.Received()) return Cancelled("interrupted");
    PENSTOCK_ASSIGN_OR_RETURN(const bool yes, done());
    if (yes) return Status::Ok();
  }
  return DeadlineExceeded(what);
}

// `memory` tables give what they hold back with a fold, and one that has ended leaves what came meanwhile.
Status BenchCluster::FoldAll() {
  PENSTOCK_RETURN_IF_ERROR(client_->Flush());
  double folds = -1;
  return WaitUntil("the logs do not get empty", [&]() -> Result<bool> {
    PENSTOCK_ASSIGN_OR_RETURN(const double now, ServerMetric("penstock_server_folds_total"));
    const bool first = folds < 0;
    const bool ended = now > std::exchange(folds, now);
    PENSTOCK_ASSIGN_OR_RETURN(const double bytes, ServerMetric("penstock_server_log_bytes"));
    if (!first && ended && bytes < static_cast<double>(servers_) * (1 << 20)) return true;
    if (ended) PENSTOCK_RETURN_IF_ERROR(Admin(*client_).Fold());
    return false;
  });
}

WorkersOptions BenchCluster::workers() const {
  WorkersOptions options{.scheduler = client_->options().scheduler,
                         .token_file = client_->options().token_file,
                         .spin_us = spin_us_};
  if (pin_) options.pin_from = servers_;
  return options;
}

}  // namespace penstock
