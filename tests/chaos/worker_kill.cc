// kill -9 of workers in a job that trains: each example of each pass counts exactly once, by the ledger that
// the workers push.
#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"
#include "tests/chaos/ledger_job.h"

namespace penstock {
namespace {

constexpr int kWorkers = 3;
constexpr uint64_t kPassesKilled = 6;

class WorkerKill : public ClusterRun {
 public:
  using ClusterRun::ClusterRun;

 private:
  void Do(ChaosCluster& cluster, std::mt19937_64& random, Iteration* iteration) override {
    const std::string consistency = DrawOne(random, std::vector<std::string>{"async", "ssp", "sync"});
    const uint64_t kills = 1 + DrawBelow(random, 3);
    iteration->what = StrCat("job ", consistency, ", kill -9");
    LedgerJob job(cluster, StrCat("job", ++jobs_), consistency, kPassesKilled);
    Status status = job.Begin();
    for (uint64_t kill = 0; kill < kills && status.ok(); ++kill) {
      const std::string victim = "worker-" + std::to_string(DrawBelow(random, kWorkers));
      const double share = (0.1 + 0.8 * static_cast<double>(kill) +
                            0.4 * static_cast<double>(DrawBelow(random, 1000)) / 1000) /
                           static_cast<double>(kills);
      status = KillOne(cluster, job, victim, share, iteration);
    }
    iteration->error = status.ok() ? job.Finish() : status.ToString();
    if (Status whole = cluster.WaitWhole(); iteration->error.empty() && !whole.ok())
      iteration->error = whole.ToString();
  }

  static Status KillOne(ChaosCluster& cluster, LedgerJob& job, const std::string& victim, double share,
                        Iteration* iteration) {
    PENSTOCK_RETURN_IF_ERROR(job.WaitShare(share));
    iteration->what += " " + victim;
    cluster.processes().Kill(victim);
    const auto killed = AnswerClock::Clock::now();
    PENSTOCK_RETURN_IF_ERROR(job.WaitProgress());
    const double ms = std::chrono::duration<double, std::milli>(AnswerClock::Clock::now() - killed).count();
    iteration->recovery_ms = std::max(iteration->recovery_ms, ms);
    return cluster.StartOne(victim);
  }

  int jobs_ = 0;
};

}  // namespace

std::unique_ptr<SuiteRun> BeginWorkerKill(const ChaosOptions& options) {
  return std::make_unique<WorkerKill>(
      ChaosCluster::Options{.chaos = options, .workers = kWorkers, .set = {"scheduler.lease_ms=1000"}});
}

}  // namespace penstock
