// A disk that fills up, and one whose writes and syncs fail: acknowledgements end, the error names disk and
// folder, pulls go on, service resumes by itself, and nothing that was acknowledged is lost.
#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"
#include "tests/cluster/small_disk.h"

namespace penstock {
namespace {

constexpr Key kOther = 1 << 20;  // a row that the load does not touch
constexpr uint32_t kDim = 32;
constexpr char kVictim[] = "server-0";

class Disk : public SuiteRun {
 public:
  explicit Disk(const ChaosOptions& options) : options_(options) {
    options_.servers = 1;
    options_.copies = options_.min_copies = 1;
  }

  Iteration Iterate(std::mt19937_64& random) override {
    Iteration iteration;
    cluster_ = std::make_unique<ChaosCluster>(
        ChaosCluster::Options{.chaos = options_, .dim = kDim, .deadline_ms = 60000, .set = SmallLog()});
    if (DrawBelow(random, 2) == 0) {
      SmallDisk disk(cluster_->dir() + "/" + kVictim, "48m");
      iteration.what = "full disk";
      if (!disk.error().empty()) {
        iteration.skipped = "no tmpfs can be mounted here: " + disk.error();
      } else if (Status status = Full(disk, random, &iteration); !status.ok()) {
        iteration.error = status.ToString();
      }
      // What the server had open ends before the disk does.
      if (iteration.error.empty()) cluster_->processes().Kill(kVictim);
    } else if (Status status = Failing(random, &iteration); !status.ok()) {
      iteration.error = status.ToString();
    }
    if (iteration.error.empty()) cluster_.reset();
    return iteration;
  }
  std::string Keep() override { return cluster_ == nullptr ? "" : cluster_->Keep(); }

 private:
  // A push that gives up soon: the error that the load's pushes wait out.
  Status Probe() {
    if (prober_ == nullptr) {
      PENSTOCK_ASSIGN_OR_RETURN(prober_, cluster_->client().NewProducer());
    }
    return cluster_->client()
        .Push(*prober_, {{cluster_->load().table().id, {kOther}, std::vector<float>(kDim, 1.0f)}},
              {.deadline_ms = 500})
        .get()
        .status();
  }
  // Until a push is refused with `cause` and the folder of the server in its message. `before` each attempt.
  Status WaitRefused(const std::string& cause, const std::function<void()>& before) {
    Status refused;
    const bool seen = WaitFor(40000, [&] {
      before();
      refused = Probe();
      return !refused.ok() && refused.message().find(cause) != std::string::npos;
    });
    if (!seen)
      return Internal(StrCat("no push was refused for '", cause, "', the last: ", refused.ToString()));
    if (refused.message().find(cluster_->dir() + "/" + kVictim) == std::string::npos)
      return Internal("the error does not name the folder: " + refused.ToString());
    return Status::Ok();
  }
  Status PullsGoOn() {
    auto pulled = cluster_->client()
                      .Pull({TableKeys{cluster_->load().table().id, {1, 2, 3}}}, {.deadline_ms = 3000})
                      .get();
    return pulled.status().Prepend("pulls do not go on");
  }
  // From the disk alone once more.
  Status CheckAfterRestart(bool kill) {
    if (kill) {
      cluster_->processes().Kill(kVictim);
      if (options_.level == Durability::kMemory) cluster_->load().MayHaveLost();
    } else if (cluster_->processes().Terminate(kVictim) != 0) {
      return Internal("the server does not end well: " + cluster_->processes().Output(kVictim));
    }
    PENSTOCK_RETURN_IF_ERROR(cluster_->StartOne(kVictim));
    PENSTOCK_RETURN_IF_ERROR(cluster_->WaitWhole());
    const std::string wrong = cluster_->load().Check();
    return wrong.empty() ? Status::Ok() : DataLoss("after a restart: " + wrong);
  }

  Status Full(SmallDisk& disk, std::mt19937_64& random, Iteration* iteration) {
    prober_.reset();
    const bool kill = DrawBelow(random, 2) == 0;
    const uint64_t pushes = 100 + DrawBelow(random, 1000);
    iteration->what += kill ? ", kill -9 afterwards" : ", stop afterwards";
    PENSTOCK_RETURN_IF_ERROR(cluster_->Start());
    PENSTOCK_RETURN_IF_ERROR(cluster_->BeginLoad(pushes));
    cluster_->Fault(iteration);
    // Again and again, as a fold may give some back.
    Status status = WaitRefused("No space left on device", [&] { disk.Fill(); });
    if (status.ok()) status = PullsGoOn();
    disk.Free();
    cluster_->Finish(iteration, /*lossy=*/false);
    PENSTOCK_RETURN_IF_ERROR(status);
    return iteration->error.empty() ? CheckAfterRestart(kill) : Status::Ok();
  }

  // A server that meets the error while it starts says so and ends; then another draw of when it comes.
  Status StartFailing(const std::string& where, uint64_t fault_seed) {
    for (uint64_t attempt = 0; attempt < 20; ++attempt) {
      PENSTOCK_RETURN_IF_ERROR(cluster_->StartOne(
          kVictim,
          {{"PENSTOCK_FAULT_POINTS", where}, {"PENSTOCK_FAULT_SEED", std::to_string(fault_seed + attempt)}}));
      (void)WaitFor(20000, [&] { return !cluster_->processes().Running(kVictim) || Answers(); });
      if (cluster_->processes().Running(kVictim)) return Status::Ok();
      const std::string said = cluster_->processes().Output(kVictim);
      if (said.find("log directory " + cluster_->dir() + "/" + kVictim) == std::string::npos)
        return Internal("the server does not start, and does not name the folder: " + said);
    }
    return Internal("the server never starts with " + where);
  }
  bool Answers() const {
    return cluster_->processes().Metric(kVictim, "penstock_server_log_failures_total") >= 0;
  }

  Status Failing(std::mt19937_64& random, Iteration* iteration) {
    prober_.reset();
    const std::vector<std::string> points{"log.append.before", "log.append.partial", "log.append.after",
                                          "log.sync.before",   "log.sync.after",     "log.seal.before",
                                          "log.seal.created",  "log.seal.header"};
    const bool full = DrawBelow(random, 2) == 0, kill = DrawBelow(random, 2) == 0;
    // Seldom enough for most attempts to write all again to succeed; a seal is rare anyway.
    const std::string point = DrawOne(random, points);
    const std::string where = StrCat(point, full ? "=error:ENOSPC" : "=error:EIO",
                                     point.starts_with("log.append") ? "%0.02" : "%0.3");
    iteration->what = StrCat(where, kill ? ", kill -9 afterwards" : ", stop afterwards");
    PENSTOCK_RETURN_IF_ERROR(cluster_->Start());
    if (cluster_->processes().Terminate(kVictim) != 0) return Internal("the server does not end well");
    PENSTOCK_RETURN_IF_ERROR(StartFailing(where, random() % 100000));
    PENSTOCK_RETURN_IF_ERROR(cluster_->WaitWhole());
    PENSTOCK_RETURN_IF_ERROR(cluster_->BeginLoad(10));
    cluster_->Fault(iteration);
    Status status = WaitRefused(full ? "No space left on device" : "Input/output error", [] {});
    if (status.ok()) status = PullsGoOn();
    const bool goes_on = cluster_->WaitRecovered(30000);
    cluster_->Finish(iteration, /*lossy=*/false);
    iteration->note = StrCat(
        static_cast<uint64_t>(cluster_->processes().Metric(kVictim, "penstock_server_log_failures_total")),
        " failures of the log");
    PENSTOCK_RETURN_IF_ERROR(status);
    if (!goes_on) return Internal("pushes do not go on between the errors");
    return iteration->error.empty() ? CheckAfterRestart(kill) : Status::Ok();
  }

  ChaosOptions options_;
  std::unique_ptr<ChaosCluster> cluster_;
  std::shared_ptr<Producer> prober_;
};

}  // namespace

std::unique_ptr<SuiteRun> BeginDisk(const ChaosOptions& options) { return std::make_unique<Disk>(options); }

}  // namespace penstock
