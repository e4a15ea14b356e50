// kill -9 of workers and servers while jobs train in tables as they are by default, also of both within one
// memory_lag_ms, with evaluations between the passes, copies of the best weights, early ends and rows that
// expire in some of the jobs: each example of each pass counts exactly once, and work is done again for a lag
// at most.
#include <algorithm>

#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"
#include "tests/chaos/ledger_job.h"

namespace penstock {
namespace {

constexpr int kWorkersThere = 3;
constexpr uint64_t kPasses = 8;
constexpr uint64_t kLagMs = 1000;

class JobKill : public ClusterRun {
 public:
  using ClusterRun::ClusterRun;

 private:
  void Do(ChaosCluster& cluster, std::mt19937_64& random, Iteration* iteration) override {
    const std::string consistency = DrawOne(random, std::vector<std::string>{"async", "ssp"});
    const std::string what =
        DrawOne(random, std::vector<std::string>{"plain", "evaluations", "best", "expiry"});
    const uint64_t kills = 1 + DrawBelow(random, 3);
    iteration->what = StrCat("job ", consistency, ", ", what, ", kill -9");
    LedgerJob job(cluster, StrCat("job", ++jobs_), consistency, kPasses, OptionsOf(what, cluster));
    Status status = job.Begin();
    for (uint64_t kill = 0; kill < kills && status.ok(); ++kill) {
      const double share = (0.1 + 0.7 * static_cast<double>(kill) +
                            0.4 * static_cast<double>(DrawBelow(random, 1000)) / 1000) /
                           static_cast<double>(kills);
      status = job.WaitShare(share);
      if (status.ok()) status = KillSome(cluster, random, job, iteration);
    }
    iteration->error = status.ok() ? job.Finish() : status.ToString();
    if (Status whole = cluster.WaitWhole(); iteration->error.empty() && !whole.ok())
      iteration->error = whole.ToString();
  }

  static std::vector<std::string> OptionsOf(const std::string& what, const ChaosCluster& cluster) {
    const std::string data = "data.test=" + cluster.dir() + "/test.libsvm";
    if (what == "evaluations") return {data, "train.evaluate_every=1"};
    // Never so bad that it ends early: the ledger is of all passes.
    if (what == "best")
      return {data, "train.evaluate_every=1", "train.keep_best=true",
              StrCat("train.early_stop_patience=", kPasses)};
    if (what == "expiry") return {"expiry.unused_passes=2"};
    return {};
  }

  // A worker, a server, or a server and a worker within one lag.
  static Status KillSome(ChaosCluster& cluster, std::mt19937_64& random, LedgerJob& job,
                         Iteration* iteration) {
    const uint64_t kind = DrawBelow(random, 3);
    std::vector<std::string> victims;
    if (kind != 0) victims.push_back(cluster.DrawPrimary(random));
    if (kind != 1) victims.push_back(StrCat("worker-", DrawBelow(random, kWorkersThere)));
    for (const std::string& victim : victims) {
      iteration->what += " " + victim;
      cluster.processes().Kill(victim);
      if (victims.size() > 1 && victim == victims.front()) Last(DrawBelow(random, kLagMs));
    }
    const auto killed = AnswerClock::Clock::now();
    for (const std::string& victim : victims) PENSTOCK_RETURN_IF_ERROR(cluster.StartOne(victim));
    PENSTOCK_RETURN_IF_ERROR(job.WaitProgress());
    const double ms = std::chrono::duration<double, std::milli>(AnswerClock::Clock::now() - killed).count();
    iteration->recovery_ms = std::max(iteration->recovery_ms, ms);
    return Status::Ok();
  }

  int jobs_ = 0;
};

}  // namespace

std::unique_ptr<SuiteRun> BeginJobKill(const ChaosOptions& options) {
  return std::make_unique<JobKill>(
      ChaosCluster::Options{.chaos = options,
                            .workers = kWorkersThere,
                            .set = {"scheduler.lease_ms=1000", StrCat("server.memory_lag_ms=", kLagMs)}});
}

}  // namespace penstock
