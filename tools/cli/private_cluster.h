// PrivateCluster: a cluster in a temporary folder, for one command; it ends with this object, and its folder
// goes with it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "tools/cli/arguments.h"
#include "tools/cli/console.h"
#include "tools/launch/cluster_launcher.h"

namespace penstock {

class PrivateCluster {
 public:
  // Ready when it returns. `signals` and `console` must outlive it. `assignments`: section.name=value.
  static Result<std::unique_ptr<PrivateCluster>> Start(uint32_t servers, uint32_t workers,
                                                       InterruptSignals& signals, Console& console,
                                                       std::vector<std::string> assignments = {});
  ~PrivateCluster();
  TargetArguments target() const;
  const DataDirPaths& paths() const { return launcher_->paths(); }
  // Its processes, by their names.
  std::vector<ChildState> Children() const { return launcher_->supervisor().Children(); }

 private:
  explicit PrivateCluster(InterruptSignals& signals) : signals_(signals) {}
  InterruptSignals& signals_;
  std::string folder_;
  std::unique_ptr<ClusterLauncher> launcher_;
};

}  // namespace penstock
