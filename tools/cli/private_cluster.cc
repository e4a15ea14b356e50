#include "tools/cli/private_cluster.h"

namespace penstock {

constexpr uint64_t kReadyMs = 60000;

Result<std::unique_ptr<PrivateCluster>> PrivateCluster::Start(uint32_t servers, uint32_t workers,
                                                              InterruptSignals& signals, Console& console,
                                                              std::vector<std::string> assignments) {
  std::unique_ptr<PrivateCluster> cluster(new PrivateCluster(signals));
  for (const std::string& folder : RemoveAbandonedClusters())
    console.err << "penstock: removed " << folder << ", which a private cluster that was killed had left"
                << std::endl;
  PENSTOCK_ASSIGN_OR_RETURN(cluster->folder_, MakePrivateFolder());
  LaunchOptions options{.data_dir = cluster->folder_ + "/cluster", .servers = servers, .workers = workers};
  options.assignments = std::move(assignments);
  options.say = TimedLines(console);
  PENSTOCK_ASSIGN_OR_RETURN(cluster->launcher_, ClusterLauncher::Start(std::move(options)));
  PENSTOCK_RETURN_IF_ERROR(cluster->launcher_->WaitUntilReady(kReadyMs, &signals));
  return cluster;
}

PrivateCluster::~PrivateCluster() {
  if (launcher_ != nullptr) launcher_->Stop(&signals_);
  launcher_.reset();
  if (!folder_.empty()) RemoveFolder(folder_);
}

TargetArguments PrivateCluster::target() const {
  return {.data_dir = "",
          .scheduler = launcher_->paths().scheduler_address(),
          .token_file = launcher_->token_file()};
}

}  // namespace penstock
