// PlanLaunch: the processes of a cluster in one data directory, as the supervisor is to start them. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/config/cluster_options.h"
#include "tools/launch/data_dir.h"
#include "tools/launch/supervisor.h"

namespace penstock {

// Scheduler (unless the record joins another one), servers and workers in this order; they stop in the
// reverse one. `programs` is the folder of the programs, `options` what LoadClusterOptions made of the
// record. Ports that were set are those of the first server or worker, the next ones take the following.
std::vector<ChildSpec> PlanLaunch(const DataDirPaths& paths, const std::string& programs,
                                  const LaunchRecord& record, const ClusterOptions& options);

// What each group of processes may take longer to end, as what servers hold goes elsewhere first.
inline uint64_t DrainMs(const ClusterOptions& options) {
  return options.server.drain_on_stop ? options.server.drain_ms : 0;
}

}  // namespace penstock
