// kill -9 of the scheduler: pushes go on while it is away, and a job that trains meanwhile counts each
// example of each pass once.
#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"
#include "tests/chaos/ledger_job.h"

namespace penstock {
namespace {

constexpr uint64_t kPasses = 5;

class SchedulerKill : public ClusterRun {
 public:
  using ClusterRun::ClusterRun;

 private:
  void Do(ChaosCluster& cluster, std::mt19937_64& random, Iteration* iteration) override {
    const uint64_t away_ms = DrawLogUniform(random, 50, 4000);
    const double share = 0.05 + 0.7 * static_cast<double>(DrawBelow(random, 1000)) / 1000;
    const std::string consistency = DrawOne(random, std::vector<std::string>{"async", "ssp", "sync"});
    iteration->what = StrCat("kill -9 scheduler for ", away_ms, " ms, job ", consistency);
    LedgerJob job(cluster, StrCat("job", ++jobs_), consistency, kPasses);
    if (Status begun = Begin(cluster, job, share); !begun.ok()) {
      iteration->error = begun.ToString();
      return;
    }
    cluster.Fault(iteration);
    cluster.processes().Kill("scheduler");
    if (!cluster.WaitRecovered(10000)) iteration->error = "pushes do not go on without the scheduler";
    Last(away_ms);
    const uint64_t pushes = cluster.load().pushes();
    if (!WaitFor(5000, [&] { return cluster.load().pushes() > pushes; }))
      iteration->error = StrCat("pushes end when the scheduler has been away for ", away_ms, " ms");
    if (Status again = cluster.StartOne("scheduler"); !again.ok()) iteration->error = again.ToString();
    // The job comes to its end before anything is compared.
    if (std::string wrong = job.Finish(); !wrong.empty()) iteration->error = wrong;
    cluster.Finish(iteration, /*lossy=*/false);
  }

  static Status Begin(ChaosCluster& cluster, LedgerJob& job, double share) {
    PENSTOCK_RETURN_IF_ERROR(job.Begin());
    PENSTOCK_RETURN_IF_ERROR(job.WaitShare(share));
    return cluster.BeginLoad(20);
  }

  int jobs_ = 0;
};

}  // namespace

std::unique_ptr<SuiteRun> BeginSchedulerKill(const ChaosOptions& options) {
  return std::make_unique<SchedulerKill>(
      ChaosCluster::Options{.chaos = options, .workers = 2, .set = {"scheduler.lease_ms=1000"}});
}

}  // namespace penstock
