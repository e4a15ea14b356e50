// LoadProcessOptions: the command line that scheduler, server and worker share.
#pragma once

#include <string>

#include "common/base/status.h"
#include "common/config/cluster_options.h"

namespace penstock {

// Reads, in rising precedence: defaults, --config FILE, PENSTOCK_<SECTION>_<NAME>, --set section.key=value
// (repeated). --help and
// --version print and end the process with 0. An error is for stderr and exit code 2.
Result<ClusterOptions> LoadProcessOptions(int argc, char** argv, const std::string& program,
                                          const std::string& summary);
// For processes that need one: InvalidArgument unless cluster.scheduler says where it is.
Status RequireScheduler(const ClusterOptions& options);

}  // namespace penstock
