// Losses that an operator accepts while jobs train: a server is killed, its log damaged, and what the shards
// have lost is accepted while workers wait, stand still or go on. Each example of each pass counts exactly
// once afterwards, but for those of earlier passes whose rows were lost.
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"
#include "tests/chaos/damage.h"
#include "tests/chaos/ledger_job.h"

namespace penstock {
namespace {

constexpr int kWorkersParked = 3;
constexpr uint64_t kPassesLost = 10;
constexpr uint64_t kLeaseMs = 3000;
// What servers have logged is in the scheduler's journal after a second.
constexpr int kDecidedMs = 30000;
// Of a log that was folded: the open segment, and what was written meanwhile.
constexpr int64_t kFoldedSegments = 3;

// What the workers do while the loss is accepted.
enum class Workers { kParked, kStopped, kAlive };
constexpr const char* kWorkersDo[] = {"parked", "stopped", "alive"};

class AcceptedLoss : public ClusterRun {
 public:
  using ClusterRun::ClusterRun;

 private:
  void Do(ChaosCluster& cluster, std::mt19937_64& random, Iteration* iteration) override {
    const std::string consistency = DrawOne(random, std::vector<std::string>{"async", "ssp", "sync"});
    const auto workers = static_cast<Workers>(DrawBelow(random, std::size(kWorkersDo)));
    LedgerJob job(cluster, StrCat("job", ++jobs_), consistency, kPassesLost);
    iteration->what = StrCat("job ", consistency, ", workers ", kWorkersDo[static_cast<int>(workers)]);
    const double share = 0.1 + 0.5 * static_cast<double>(DrawBelow(random, 1000)) / 1000;
    Status status = job.Begin();
    if (status.ok()) status = job.WaitShare(share);
    LedgerJob::Loss loss;
    if (status.ok()) status = LoseAndAccept(cluster, random, workers, job, &loss, iteration);
    iteration->error = status.ok() ? job.Finish(loss) : status.ToString();
    if (iteration->error.empty()) iteration->error = CheckFolded(cluster);
  }

  static Status LoseAndAccept(ChaosCluster& cluster, std::mt19937_64& random, Workers workers, LedgerJob& job,
                              LedgerJob::Loss* loss, Iteration* iteration) {
    const std::string victim = cluster.DrawPrimary(random);
    const std::string folder = cluster.dir() + "/" + victim;
    PENSTOCK_ASSIGN_OR_RETURN(const Epochs before, EpochsOf(cluster, victim));
    // Nobody could say that what was not reported yet is missing.
    SignalWorkers(cluster, SIGSTOP);
    Last(kReportedMs);
    cluster.processes().Kill(victim);
    if (workers != Workers::kStopped) SignalWorkers(cluster, SIGCONT);
    const DamageKind kind =
        DrawOne(random, std::vector<DamageKind>{DamageKind::kFlip, DamageKind::kTruncate, DamageKind::kZero});
    const Damage damage = DoDamage(random, LogOf(folder, ""), kind);
    iteration->what += ", " + (damage.path.empty() ? victim : damage.what);
    PENSTOCK_RETURN_IF_ERROR(cluster.StartOne(victim));
    PENSTOCK_ASSIGN_OR_RETURN(const std::vector<ShardId> lost, WaitDecided(cluster, before));
    PENSTOCK_ASSIGN_OR_RETURN(loss->pass, job.Pass());
    loss->any = !lost.empty();
    iteration->note = StrCat(lost.size(), " shards lost something, in pass ", loss->pass);
    if (workers == Workers::kParked) Last(kLeaseMs + kLeaseMs / 2);
    const auto accepted = AnswerClock::Clock::now();
    for (const ShardId shard : lost)
      PENSTOCK_RETURN_IF_ERROR(Admin(cluster.client()).AcceptLoss(shard).Prepend(StrCat("shard ", shard)));
    const Status served = cluster.processes().WaitServing(kDecidedMs);
    if (workers == Workers::kStopped) SignalWorkers(cluster, SIGCONT);
    PENSTOCK_RETURN_IF_ERROR(served);
    PENSTOCK_RETURN_IF_ERROR(job.WaitProgress());
    iteration->recovery_ms =
        std::chrono::duration<double, std::milli>(AnswerClock::Clock::now() - accepted).count();
    return Status::Ok();
  }

  static void SignalWorkers(ChaosCluster& cluster, int signal) {
    for (int i = 0; i < kWorkersParked; ++i) cluster.processes().Signal(StrCat("worker-", i), signal);
  }

  using Epochs = std::map<ShardId, Epoch>;
  static Result<Epochs> EpochsOf(ChaosCluster& cluster, const std::string& server) {
    PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json shards, Admin(cluster.client()).Inspect("shards"));
    Epochs epochs;
    for (const auto& shard : shards) {
      if (shard.at("node_name") == server) epochs[shard.at("shard")] = shard.at("epoch");
    }
    return epochs;
  }

  // Until each shard is served, those of a server that was killed in a later epoch than `before`, or
  // quarantined; those that are.
  static Result<std::vector<ShardId>> WaitDecided(ChaosCluster& cluster, const Epochs& before) {
    std::vector<ShardId> lost;
    std::string last;
    const bool decided = WaitFor(kDecidedMs, [&] {
      auto client = cluster.processes().Connect(kInspectMs, "judge");
      if (!client.ok()) return false;
      const auto shards = Admin(**client).Inspect("shards");
      if (!shards.ok()) return false;
      last = shards->dump();
      lost.clear();
      for (const auto& shard : *shards) {
        if (shard.at("state") == "quarantined") {
          lost.push_back(shard.at("shard"));
          continue;
        }
        const auto was = before.find(shard.at("shard"));
        if (shard.at("state") != "serving" || (was != before.end() && shard.at("epoch") <= was->second))
          return false;
      }
      return true;
    });
    if (!decided) return DeadlineExceeded("shards are neither served nor quarantined: " + last);
    return lost;
  }

  // Nothing that was accepted as lost keeps a log from being folded.
  std::string CheckFolded(ChaosCluster& cluster) const {
    if (Status whole = cluster.WaitWhole(); !whole.ok()) return whole.ToString();
    if (Status folded = Admin(cluster.client()).Fold(); !folded.ok()) return "fold: " + folded.ToString();
    for (int i = 0; i < chaos().servers; ++i) {
      const std::string server = StrCat("server-", i);
      int64_t segments = 0;
      const bool few = WaitFor(kDecidedMs, [&] {
        segments = Segments(cluster.dir() + "/" + server + "/log");
        return segments <= kFoldedSegments;
      });
      if (!few) return StrCat(server, " has ", segments, " segments of log after a fold");
    }
    return "";
  }

  static int64_t Segments(const std::string& folder) {
    std::error_code error;
    const std::filesystem::directory_iterator files(folder, error);
    return std::count_if(begin(files), end(files), [](const auto& file) {
      return file.path().filename().string().starts_with("log-");
    });
  }

  uint64_t jobs_ = 0;
};

}  // namespace

std::unique_ptr<SuiteRun> BeginAcceptLoss(const ChaosOptions& options) {
  ChaosCluster::Options with{.chaos = options, .workers = kWorkersParked, .set = SmallLog()};
  with.set.push_back(StrCat("scheduler.lease_ms=", kLeaseMs));
  return std::make_unique<AcceptedLoss>(std::move(with));
}

}  // namespace penstock
