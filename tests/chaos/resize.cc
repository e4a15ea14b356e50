// A cluster goes from three servers to five, to two and back to three while an async, an ssp and a sync job
// train: each counts its examples exactly once, and the sync job comes to the weights that it has without.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"
#include "tests/chaos/leave.h"
#include "tests/chaos/ledger_job.h"

namespace penstock {
namespace {

constexpr int kServers = 3, kMost = 5, kLeast = 2;
constexpr int kTrainers = 3;
constexpr int kShareMs = 60000;  // until a server that has come has its share
constexpr int kRestMs = 60000;
constexpr uint64_t kTrainPasses = 30, kRoundPasses = 3;
constexpr float kSame = 1e-5F;

class Resize : public ClusterRun {
 public:
  using ClusterRun::ClusterRun;

 private:
  void Do(ChaosCluster& cluster, std::mt19937_64&, Iteration* iteration) override {
    if (!BeginLoad(cluster, 20, iteration)) return;
    iteration->what = "3 to 5 to 2 to 3 servers, three jobs";
    const Status status = Train(cluster, iteration);
    if (!status.ok()) iteration->error = status.ToString();
    cluster.Finish(iteration, /*lossy=*/false);
  }

  Status Train(ChaosCluster& cluster, Iteration* iteration) {
    const std::string number = std::to_string(++jobs_);
    LedgerJob still(cluster, "still" + number, "sync", kRoundPasses);
    PENSTOCK_RETURN_IF_ERROR(still.Begin());
    PENSTOCK_RETURN_IF_ERROR(Finished("sync with nothing moving", still.Finish()));
    LedgerJob async(cluster, "async" + number, "async", kTrainPasses, {"train.durability=logged"},
                    "a9a_ftrl");
    LedgerJob ssp(cluster, "ssp" + number, "ssp", kTrainPasses);
    LedgerJob sync(cluster, "sync" + number, "sync", kRoundPasses);
    for (LedgerJob* job : {&async, &ssp, &sync}) PENSTOCK_RETURN_IF_ERROR(job->Begin());
    for (LedgerJob* job : {&async, &ssp, &sync}) PENSTOCK_RETURN_IF_ERROR(job->WaitShare(0.01));
    cluster.Fault(iteration);
    for (int server = kServers; server < kMost; ++server) PENSTOCK_RETURN_IF_ERROR(Join(cluster, server));
    for (LedgerJob* job : {&async, &ssp, &sync}) {
      if (!job->Running())
        return FailedPrecondition("a job is over before a server leaves: give it more passes");
    }
    for (int server = kMost; --server >= kLeast;) PENSTOCK_RETURN_IF_ERROR(Leave(cluster, Name(server)));
    for (int server = kLeast; server < kServers; ++server) PENSTOCK_RETURN_IF_ERROR(Join(cluster, server));
    PENSTOCK_RETURN_IF_ERROR(cluster.WaitWhole(kRestMs));
    std::string trained;
    for (const auto& [name, job] : {std::pair{"async", &async}, {"ssp", &ssp}, {"sync", &sync}}) {
      if (job->Running()) StrAppend(&trained, trained.empty() ? "" : ", ", name);
    }
    iteration->note = StrCat("trained to the end of it: ", trained.empty() ? "none" : trained);
    PENSTOCK_RETURN_IF_ERROR(Finished("async", async.Finish()));
    PENSTOCK_RETURN_IF_ERROR(Finished("ssp", ssp.Finish()));
    PENSTOCK_RETURN_IF_ERROR(Finished("sync", sync.Finish()));
    return Compare(still, sync, iteration);
  }

  static Status Finished(const std::string& job, const std::string& error) {
    return error.empty() ? Status::Ok() : Internal(job + ": " + error);
  }

  static Status Compare(LedgerJob& still, LedgerJob& moved, Iteration* iteration) {
    PENSTOCK_ASSIGN_OR_RETURN(const auto expected, still.Weights());
    PENSTOCK_ASSIGN_OR_RETURN(const auto weights, moved.Weights());
    float farthest = 0;
    bool same = true;  // not with a NaN, either
    for (size_t i = 0; i < expected.size(); ++i) {
      const float apart = std::abs(expected[i] - weights[i]);
      farthest = std::max(farthest, apart);
      same &= apart <= kSame;
    }
    const auto trained =
        std::count_if(expected.begin(), expected.end(), [](float weight) { return weight != 0; });
    StrAppend(&iteration->note, "; weights of sync differ by at most ", farthest, " of ", trained);
    if (trained < static_cast<ptrdiff_t>(expected.size() / 2))
      return Internal("the sync job has trained nothing");
    return same ? Status::Ok() : Internal(StrCat("weights of the sync job differ by ", farthest));
  }

  static std::string Name(int server) { return StrCat("server-", server); }

  // It is there, and has its share of the shards.
  static Status Join(ChaosCluster& cluster, int server) {
    PENSTOCK_RETURN_IF_ERROR(cluster.StartOne(Name(server)));
    nlohmann::json node;
    const bool shares = WaitFor(kShareMs, [&] {
      node = FindNode(cluster, Name(server));
      return !node.is_null() && node.at("shards") > 0;
    });
    return shares ? Status::Ok() : DeadlineExceeded(StrCat(Name(server), " gets no shards: ", node.dump()));
  }

  int jobs_ = 0;
};

}  // namespace

std::unique_ptr<SuiteRun> BeginResize(const ChaosOptions& options) {
  ChaosCluster::Options cluster{.chaos = options, .workers = kTrainers, .set = SmallLog()};
  cluster.chaos.servers = kServers;
  cluster.set.insert(cluster.set.end(), {"scheduler.balance_delay_ms=1000"});
  return std::make_unique<Resize>(std::move(cluster));
}

}  // namespace penstock
