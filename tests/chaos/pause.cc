// A server that is stopped for a while and then goes on, as if nothing had been: by then clients have given
// up calls that it still holds, and the scheduler has taken it for dead.
#include <signal.h>

#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"

namespace penstock {
namespace {

class Pause : public ClusterRun {
 public:
  using ClusterRun::ClusterRun;

 private:
  void Do(ChaosCluster& cluster, std::mt19937_64& random, Iteration* iteration) override {
    const uint64_t pushes = 20 + DrawBelow(random, 200), ms = DrawLogUniform(random, 500, 20000);
    if (!BeginLoad(cluster, pushes, iteration)) return;
    const std::string victim = cluster.DrawPrimary(random);
    iteration->what = StrCat("SIGSTOP of ", victim, " for ", ms, " ms");
    cluster.Fault(iteration);
    cluster.processes().Signal(victim, SIGSTOP);
    Last(ms);
    cluster.processes().Signal(victim, SIGCONT);
    cluster.Finish(iteration, /*lossy=*/false);
  }
};

}  // namespace

std::unique_ptr<SuiteRun> BeginPause(const ChaosOptions& options) {
  return std::make_unique<Pause>(ChaosCluster::Options{.chaos = options, .dim = 16, .set = SmallLog()});
}

}  // namespace penstock
