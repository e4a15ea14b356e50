// Damage to the files of a process that is down. What may come of it: all that was acknowledged is there; or
// the process says what is wrong, by file or folder, and does not start; or shards are quarantined and the
// others are right. Never a wrong value without an error.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/hash.h"
#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"
#include "tests/chaos/damage.h"

namespace penstock {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kPushes = 500;
constexpr int kJudgeMs = 30000;
constexpr uint64_t kPullMs = 3000;

// Each iteration has a cluster of its own.
class Corrupt : public SuiteRun {
 public:
  explicit Corrupt(const ChaosOptions& options) : options_(options) {}

  Iteration Iterate(std::mt19937_64& random) override {
    Iteration iteration;
    ChaosCluster::Options options{.chaos = options_, .dim = 32, .deadline_ms = 60000, .set = SmallLog()};
    options.set.insert(options.set.end(), {"scheduler.heartbeat_ms=100", "scheduler.lease_ms=1000"});
    cluster_ = std::make_unique<ChaosCluster>(options);
    Status status = cluster_->Start();
    if (status.ok()) status = Fill(random);
    if (status.ok()) status = DamageAndJudge(random, &iteration);
    if (!status.ok()) iteration.error = status.ToString();
    if (iteration.error.empty()) cluster_.reset();
    return iteration;
  }
  std::string Keep() override { return cluster_ == nullptr ? "" : cluster_->Keep(); }

 private:
  enum class Outcome { kServes, kRefuses, kQuarantined };

  // Two parts of a load, with a copy of all files between them.
  Status Fill(std::mt19937_64& random) {
    victim_ = DrawBelow(random, 3) == 0 ? "scheduler" : "server-0";
    const std::string folder = cluster_->dir() + "/" + victim_;
    for (int part = 0; part < 2; ++part) {
      PENSTOCK_RETURN_IF_ERROR(cluster_->BeginLoad(kPushes + DrawBelow(random, 2 * kPushes)));
      cluster_->load().Stop();
      if (DrawBelow(random, 2) == 0) PENSTOCK_RETURN_IF_ERROR(Admin(cluster_->client()).Fold());
      PENSTOCK_RETURN_IF_ERROR(cluster_->load().Confirm());
      Last(kReportedMs);
      std::error_code error;  // files that a fold removes meanwhile are not in the copy
      if (part == 0) {
        for (const char* part_name : {"log", "base", "journal"})
          fs::copy(folder + "/" + part_name, Older() + "/" + part_name, fs::copy_options::recursive, error);
      }
    }
    return Status::Ok();
  }
  std::string Older() {
    const std::string older = cluster_->dir() + "/older";
    fs::create_directories(older);
    return older;
  }

  Status DamageAndJudge(std::mt19937_64& random, Iteration* iteration) {
    PENSTOCK_RETURN_IF_ERROR(NoteEpochs());
    const bool killed = DrawBelow(random, 2) == 0;
    if (killed) {
      cluster_->processes().Kill(victim_);
    } else if (cluster_->processes().Terminate(victim_) != 0) {
      return Internal(victim_ + " does not end well: " + cluster_->processes().Output(victim_));
    }
    const std::string folder = cluster_->dir() + "/" + victim_;
    std::vector<DamageTarget> targets{LogOf(folder, Older()), BaseOf(folder, Older())};
    if (victim_ == "scheduler") targets = {JournalOf(folder, Older())};
    const DamageKind kind =
        DrawOne(random, std::vector<DamageKind>{DamageKind::kFlip, DamageKind::kTruncate, DamageKind::kZero,
                                                DamageKind::kDelete, DamageKind::kOlder});
    const Damage damage = DoDamage(random, DrawOne(random, targets), kind);
    iteration->what = StrCat(killed ? "kill -9, " : "stop, ", damage.what);
    if (damage.path.empty()) {
      iteration->what += victim_;
      iteration->skipped = "there is no file to damage so";
      return Status::Ok();
    }
    PENSTOCK_RETURN_IF_ERROR(cluster_->StartOne(victim_));
    PENSTOCK_ASSIGN_OR_RETURN(Outcome outcome, Judge(damage, &iteration->note));
    if (outcome != Outcome::kServes) return Status::Ok();
    return GoOnAndJudgeAgain(damage, &iteration->note);
  }

  // What was taken for whole takes pushes, and is right after one more restart from disk alone.
  Status GoOnAndJudgeAgain(const Damage& damage, std::string* note) {
    PENSTOCK_RETURN_IF_ERROR(cluster_->BeginLoad(100).Prepend("after the damage"));
    cluster_->load().Stop();
    PENSTOCK_RETURN_IF_ERROR(Admin(cluster_->client()).Fold());
    PENSTOCK_RETURN_IF_ERROR(cluster_->load().Confirm());
    PENSTOCK_RETURN_IF_ERROR(NoteEpochs());
    if (cluster_->processes().Terminate(victim_) != 0)
      return Internal(victim_ + " does not end well: " + cluster_->processes().Output(victim_));
    PENSTOCK_RETURN_IF_ERROR(cluster_->StartOne(victim_));
    std::string again;
    PENSTOCK_ASSIGN_OR_RETURN(const Outcome outcome, Judge(damage, &again));
    if (outcome != Outcome::kServes) *note += ", after one more restart " + again;
    return Status::Ok();
  }

  // The grants of what is down are not those it will serve with.
  Status NoteEpochs() {
    PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json shards, Admin(cluster_->client()).Inspect("shards"));
    epochs_.clear();
    for (const auto& shard : shards) {
      if (victim_ == "scheduler" || shard.at("node_name") == victim_)
        epochs_[shard.at("shard")] = shard.at("epoch");
    }
    return Status::Ok();
  }

  // Whether each shard has been granted afresh or is quarantined; `last` says what there is.
  bool Decided(std::string* last, uint64_t* quarantined) {
    // Not the load's client: it would wait long for a scheduler that ends now.
    auto client = cluster_->processes().Connect(kInspectMs, "judge");
    if (!client.ok()) {
      *last = client.status().ToString();
      return false;
    }
    // In this order: what is decided then is in the status.
    auto shards = Admin(**client).Inspect("shards");
    auto status = Admin(**client).Inspect("status");
    if (!status.ok() || !shards.ok()) {
      *last = status.ok() ? shards.status().ToString() : status.status().ToString();
      return false;
    }
    *last = status->at("shards").dump() + " " + status->at("problems").dump();
    *quarantined = status->at("shards").at("quarantined");
    return std::all_of(shards->begin(), shards->end(), [&](const nlohmann::json& shard) {
      if (shard.at("state") == "quarantined") return true;
      const auto before = epochs_.find(shard.at("shard"));
      // A scheduler in an older state begins with older epochs, and servers then tell it theirs.
      return shard.at("state") == "serving" &&
             (victim_ == "scheduler" || before == epochs_.end() || shard.at("epoch") > before->second);
    });
  }

  // Damage of the base may be found when the rest is served already.
  bool AllRead() const {
    return victim_ == "scheduler" ||
           cluster_->processes().Metric(victim_, "penstock_server_loading_tables") == 0;
  }

  // An error: a promise was broken.
  Result<Outcome> Judge(const Damage& damage, std::string* note) {
    std::string last;
    uint64_t quarantined = 0;
    WaitFor(kJudgeMs, [&] { return !cluster_->processes().Running(victim_) || AllRead(); });
    const bool decided = WaitFor(kJudgeMs, [&] {
      return !cluster_->processes().Running(victim_) || Decided(&last, &quarantined) ||
             last.find("does not lead") != std::string::npos;
    });
    if (!cluster_->processes().Running(victim_)) return Refuses(damage, note);
    // An older state of the journal: whoever has seen a later one says so.
    if (last.find("does not lead") != std::string::npos) {
      *note = "the scheduler does not lead";
      return Outcome::kRefuses;
    }
    if (!decided) return Internal("neither served nor refused: " + last + "\n" + Said());
    PENSTOCK_RETURN_IF_ERROR(CheckShards());
    *note = quarantined == 0 ? "all is there" : StrCat(quarantined, " shards quarantined");
    if (quarantined > 0 && last.find("quarantined, the first is") == std::string::npos)
      return Internal("shards are quarantined, and the status does not name them: " + last);
    return quarantined == 0 ? Outcome::kServes : Outcome::kQuarantined;
  }

  std::string Said() const {
    const std::string text = cluster_->processes().Output(victim_);
    return text.substr(text.size() > 4000 ? text.size() - 4000 : 0);
  }

  // The last words name the file or its folder.
  Result<Outcome> Refuses(const Damage& damage, std::string* note) {
    const std::string said = Said();
    const fs::path path(damage.path);
    const bool named = said.find(path.string()) != std::string::npos ||
                       said.find(path.parent_path().string()) != std::string::npos;
    if (!named) return Internal(victim_ + " does not start and does not name the damage: " + said);
    *note = victim_ + " refuses to start";
    return Outcome::kRefuses;
  }

  // Each shard is right, or it is in quarantine and answers with an error.
  Status CheckShards() {
    Client& client = cluster_->client();
    PENSTOCK_ASSIGN_OR_RETURN(const nlohmann::json shards, Admin(client).Inspect("shards"));
    const TableId table = cluster_->load().table().id;
    std::map<ShardId, std::vector<Key>> rows;
    for (Key row = 0; row < 1000; ++row)
      rows[ShardOf(RowHash(row, table), client.shard_count())].push_back(row);
    for (const auto& [shard, keys] : rows) {
      const bool sick = shards.at(shard).at("state") == "quarantined";
      auto pulled = client.Pull({TableKeys{table, keys}}, {.deadline_ms = sick ? 500 : kPullMs}).get();
      if (!pulled.ok()) {
        if (!sick) return pulled.status().Prepend(StrCat("shard ", shard, " is said to be served"));
        continue;
      }
      if (std::string wrong = cluster_->load().Check(keys, pulled->values[0]); !wrong.empty())
        return DataLoss(StrCat("shard ", shard, ": ", wrong));
    }
    return Status::Ok();
  }

  const ChaosOptions options_;
  std::unique_ptr<ChaosCluster> cluster_;
  std::string victim_;
  std::map<ShardId, Epoch> epochs_;  // of the victim's shards, before it went down
};

}  // namespace

std::unique_ptr<SuiteRun> BeginCorrupt(const ChaosOptions& options) {
  return std::make_unique<Corrupt>(options);
}

}  // namespace penstock
