// Servers join, are drained and leave, die and come back at random, while a job with a ledger trains and a
// load pushes: nothing may be lost or counted twice, and all copies must be there again soon after.
#include <set>

#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"
#include "tests/chaos/leave.h"
#include "tests/chaos/ledger_job.h"

namespace penstock {
namespace {

constexpr uint64_t kEventMs = 8000;  // from one event to the next
constexpr int kWholeMs = 30000;      // after the last event
constexpr int kWorkers = 2;
constexpr size_t kMostServers = 6;
// As many as take about as long as the events.
constexpr uint64_t kPasses = 40, kSyncPasses = 3;

class Churn : public ClusterRun {
 public:
  using ClusterRun::ClusterRun;

 private:
  void Do(ChaosCluster& cluster, std::mt19937_64& random, Iteration* iteration) override {
    if (running_.empty()) {
      for (int i = 0; i < chaos().servers; ++i) running_.insert(StrCat("server-", next_++));
    }
    if (!BeginLoad(cluster, 20, iteration)) return;
    const std::string consistency = DrawOne(random, std::vector<std::string>{"async", "ssp", "sync"});
    LedgerJob job(cluster, StrCat("job", ++jobs_), consistency,
                  consistency == "sync" ? kSyncPasses : kPasses);
    iteration->what = StrCat("job ", consistency);
    Status status = job.Begin();
    const uint64_t events = 1 + DrawBelow(random, 3);
    cluster.Fault(iteration);
    for (uint64_t event = 0; event < events && status.ok(); ++event) {
      const auto begun = AnswerClock::Clock::now();
      status = Event(cluster, random, iteration);
      const auto passed =
          std::chrono::duration_cast<std::chrono::milliseconds>(AnswerClock::Clock::now() - begun);
      if (event + 1 < events && passed.count() < static_cast<int64_t>(kEventMs))
        Last(kEventMs - static_cast<uint64_t>(passed.count()));
    }
    if (status.ok()) status = cluster.WaitWhole(kWholeMs).Prepend("30 s after the last event");
    iteration->error = status.ok() ? job.Finish() : status.ToString();
    cluster.Finish(iteration, /*lossy=*/true);
  }

  // As many as copies stay, and one more, so that a copy can be made of what one of them had.
  bool MayLose() const { return running_.size() > chaos().copies + 1; }

  Status Event(ChaosCluster& cluster, std::mt19937_64& random, Iteration* iteration) {
    std::vector<int> kinds;
    if (running_.size() < kMostServers) kinds.push_back(away_.empty() ? 0 : 1);
    if (MayLose()) kinds.insert(kinds.end(), {2, 3});
    const auto note = [&](const std::string& what) { StrAppend(&iteration->what, ", ", what); };
    switch (DrawOne(random, kinds)) {
      case 0: {
        const std::string name = StrCat("server-", next_++);
        note(name + " joins");
        running_.insert(name);
        return cluster.StartOne(name);
      }
      case 1: {
        const std::string name = DrawOne(random, std::vector<std::string>(away_.begin(), away_.end()));
        note(name + " comes back");
        away_.erase(name);
        running_.insert(name);
        return cluster.StartOne(name);
      }
      case 2: {
        const std::string name = DrawRunning(random);
        note(StrCat("kill -9 ", name));
        cluster.processes().Kill(name);
        Last(DrawBelow(random, 3000));
        return cluster.StartOne(name);
      }
      default: {
        const std::string name = DrawRunning(random);
        note(name + " is drained and ends");
        running_.erase(name);
        away_.insert(name);
        return Leave(cluster, name);
      }
    }
  }

  std::string DrawRunning(std::mt19937_64& random) const {
    return DrawOne(random, std::vector<std::string>(running_.begin(), running_.end()));
  }

  std::set<std::string> running_, away_;  // servers; those that are away have left
  int next_ = 0;                          // number of the next server
  int jobs_ = 0;
};

}  // namespace

std::unique_ptr<SuiteRun> BeginChurn(const ChaosOptions& options) {
  ChaosCluster::Options cluster{.chaos = options, .workers = kWorkers, .set = SmallLog()};
  cluster.set.insert(cluster.set.end(), {"scheduler.lease_ms=1000", "scheduler.balance_delay_ms=1000"});
  return std::make_unique<Churn>(std::move(cluster));
}

}  // namespace penstock
