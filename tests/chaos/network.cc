// Each process in a network of its own, and what goes from one to another lost for a while, one way or both:
// any two of client, servers and scheduler, or one of them and all others.
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"
#include "tests/chaos/namespaces.h"

namespace penstock {
namespace {

constexpr char kClient[] = "client", kScheduler[] = "scheduler";
// The rest goes on without what is cut off within this: silence counts as death after 3 s, and clients give
// up a call after 5 s.
constexpr int kGoOnMs = 10000;

enum class Way { kTo, kBack, kBoth };

struct Cut {
  std::string one;
  std::vector<std::string> others;
  Way way = Way::kBoth;
  uint64_t ms = 0;
  bool rest_goes_on = false;  // pushes need nothing of what is cut off

  std::string ToString() const {
    const char* arrow = way == Way::kTo ? " -> " : way == Way::kBack ? " <- " : " <-> ";
    return StrCat(one, arrow, others.size() > 1 ? "all" : others.front(), " lost for ", ms, " ms");
  }
};

class Network : public ClusterRun {
 public:
  Network(std::unique_ptr<Namespaces> networks, std::vector<std::string> names, ChaosCluster::Options options)
      : ClusterRun(std::move(options)), networks_(std::move(networks)), names_(std::move(names)) {}
  ~Network() override { End(); }

 private:
  // A shard's primary and a backup of it; of a cluster with one copy any two servers.
  std::pair<std::string, std::string> DrawCopies(ChaosCluster& cluster, std::mt19937_64& random) const {
    const std::string primary = cluster.DrawPrimary(random);
    std::vector<std::string> others;
    for (const auto& name : names_) {
      if (name.starts_with("server") && name != primary) others.push_back(name);
    }
    const uint64_t drawn = random();
    if (chaos().copies > 1) {
      const auto shards = Admin(cluster.client()).Inspect("shards");
      if (!shards.ok()) return {primary, others.front()};
      others.clear();
      for (const auto& shard : *shards) {
        if (shard.at("node_name") != primary) continue;
        for (const auto& backup : shard.at("backups")) others.push_back(backup.at("name"));
      }
    }
    return {primary, others.empty() ? "" : others[drawn % others.size()]};
  }

  Cut Draw(ChaosCluster& cluster, std::mt19937_64& random) const {
    const auto [server, other] = DrawCopies(cluster, random);
    // One copy on `server` is not the only one, so that somebody can go on for it.
    const bool spare = chaos().copies > chaos().min_copies;
    std::vector<Cut> cuts{{.one = kClient, .others = {server}},
                          {.one = kClient, .others = {kScheduler}, .rest_goes_on = true},
                          {.one = server, .others = {kScheduler}, .rest_goes_on = true},
                          {.one = server, .others = {}, .rest_goes_on = spare},
                          {.one = kScheduler, .others = {}, .rest_goes_on = true}};
    if (!other.empty())
      cuts.push_back({.one = server, .others = {other}, .rest_goes_on = chaos().copies == 1 || spare});
    Cut cut = DrawOne(random, cuts);
    if (cut.others.empty()) {
      for (const auto& name : names_) {
        if (name != cut.one) cut.others.push_back(name);
      }
    }
    cut.way = DrawOne(random, std::vector<Way>{Way::kTo, Way::kBack, Way::kBoth});
    cut.ms = DrawLogUniform(random, 300, 8000);
    return cut;
  }

  Status Begin(const Cut& cut) {
    for (const auto& other : cut.others) {
      if (cut.way != Way::kBack) PENSTOCK_RETURN_IF_ERROR(networks_->Cut(cut.one, other));
      if (cut.way != Way::kTo) PENSTOCK_RETURN_IF_ERROR(networks_->Cut(other, cut.one));
    }
    return Status::Ok();
  }

  void Do(ChaosCluster& cluster, std::mt19937_64& random, Iteration* iteration) override {
    const uint64_t pushes = 20 + DrawBelow(random, 200);
    if (!BeginLoad(cluster, pushes, iteration)) return;
    const Cut cut = Draw(cluster, random);
    iteration->what = cut.ToString();
    cluster.Fault(iteration);
    Status done = Begin(cut);
    Last(cut.ms);
    const uint64_t at_end = cluster.load().pushes();
    if (cut.rest_goes_on && !WaitFor(kGoOnMs, [&] { return cluster.load().pushes() > at_end; }))
      iteration->error = StrCat("pushes have not gone on without it for ", kGoOnMs, " ms more");
    if (Status healed = networks_->Heal(); done.ok()) done = healed;
    if (!done.ok()) iteration->error = done.ToString();
    cluster.Finish(iteration, /*lossy=*/false);
  }

  std::unique_ptr<Namespaces> networks_;
  const std::vector<std::string> names_;
};

// In place of a suite that this machine cannot run.
class SkippedRun : public SuiteRun {
 public:
  explicit SkippedRun(std::string why) : why_(std::move(why)) {}
  Iteration Iterate(std::mt19937_64&) override {
    return {.what = "a network for each process", .skipped = why_};
  }
  std::string Keep() override { return ""; }

 private:
  const std::string why_;
};

}  // namespace

std::unique_ptr<SuiteRun> BeginNetwork(const ChaosOptions& options) {
  std::vector<std::string> names{kClient, kScheduler};
  for (int i = 0; i < options.servers; ++i) names.push_back(StrCat("server-", i));
  auto networks = Namespaces::Make(names);
  if (!networks.ok()) return std::make_unique<SkippedRun>(networks.status().message());
  const ChaosCluster::Options cluster{
      .chaos = options, .networks = networks->get(), .dim = 16, .set = SmallLog()};
  return std::make_unique<Network>(std::move(*networks), std::move(names), cluster);
}

}  // namespace penstock
