// PrivateCluster: a cluster in a temporary folder, for one command; it ends with this object, and its folder
// goes with it.
#pragma once

#include <memory>
#include <string>

#include "common/base/status.h"
#include "tools/cli/arguments.h"
#include "tools/cli/console.h"
#include "tools/launch/cluster_launcher.h"

namespace penstock {

class PrivateCluster {
 public:
  // Ready when it returns. `signals` and `console` must outlive it.
  static Result<std::unique_ptr<PrivateCluster>> Start(uint32_t servers, uint32_t workers,
                                                       InterruptSignals& signals, Console& console);
  ~PrivateCluster();
  TargetArguments target() const;

 private:
  explicit PrivateCluster(InterruptSignals& signals) : signals_(signals) {}
  InterruptSignals& signals_;
  std::string folder_;
  std::unique_ptr<ClusterLauncher> launcher_;
};

}  // namespace penstock
