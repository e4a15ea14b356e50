// kill -9 of a server under load. With one copy the shards come back with the server; with more, pushes must
// go on without it, and the next kill waits until all copies are in sync again.
#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"

namespace penstock {
namespace {

class ServerKill : public ClusterRun {
 public:
  using ClusterRun::ClusterRun;

 private:
  void Do(ChaosCluster& cluster, std::mt19937_64& random, Iteration* iteration) override {
    const uint64_t pushes = 20 + DrawBelow(random, 400), away_ms = DrawBelow(random, 400);
    if (!BeginLoad(cluster, pushes, iteration)) return;
    const std::string victim = cluster.DrawPrimary(random);
    iteration->what = StrCat("kill -9 ", victim, " after ", pushes, " pushes");
    cluster.Fault(iteration);
    cluster.processes().Kill(victim);
    if (chaos().copies > 1) {
      if (!cluster.WaitRecovered(30000)) iteration->error = "pushes do not go on without " + victim;
    } else {
      Last(away_ms);
    }
    if (Status again = cluster.StartOne(victim); !again.ok()) iteration->error = again.ToString();
    cluster.Finish(iteration, /*lossy=*/true);
  }
};

}  // namespace

std::unique_ptr<SuiteRun> BeginServerKill(const ChaosOptions& options) {
  return std::make_unique<ServerKill>(ChaosCluster::Options{.chaos = options, .dim = 16, .set = SmallLog()});
}

}  // namespace penstock
