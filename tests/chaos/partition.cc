// Links between the roles cut for a while, one way or both: silent (what is sent is lost), held (it arrives
// when the link is whole again), or reset and then silent.
#include "common/base/strings.h"
#include "tests/chaos/cluster_run.h"

namespace penstock {
namespace {

enum class LinkWay { kTo, kBack, kBoth };
enum class Kind { kDrop, kHold, kReset };

struct LinkCut {
  std::string from, to;
  LinkWay way = LinkWay::kBoth;
  Kind kind = Kind::kDrop;
  uint64_t ms = 0;

  std::string ToString() const {
    const char* arrow = way == LinkWay::kTo ? " -> " : way == LinkWay::kBack ? " <- " : " <-> ";
    const char* how = kind == Kind::kDrop ? "silent" : kind == Kind::kHold ? "held" : "reset and silent";
    return StrCat(from, arrow, to, " ", how, " for ", ms, " ms");
  }
};

class Partition : public ClusterRun {
 public:
  using ClusterRun::ClusterRun;

 private:
  static LinkCut Draw(ChaosCluster& cluster, std::mt19937_64& random) {
    const std::string server = cluster.DrawPrimary(random);
    const std::vector<std::pair<std::string, std::string>> pairs{
        {"client", server}, {"client", "scheduler"}, {server, "scheduler"}};
    LinkCut cut;
    std::tie(cut.from, cut.to) = DrawOne(random, pairs);
    cut.way = DrawOne(random, std::vector<LinkWay>{LinkWay::kTo, LinkWay::kBack, LinkWay::kBoth});
    cut.kind = DrawOne(random, std::vector<Kind>{Kind::kDrop, Kind::kHold, Kind::kReset});
    cut.ms = DrawLogUniform(random, 300, 8000);
    return cut;
  }

  static void Begin(const LinkCut& cut, FaultProxy& link) {
    const LinkFault fault{.drop = cut.kind != Kind::kHold, .hold = cut.kind == Kind::kHold};
    if (cut.way != LinkWay::kBack) link.Set(Direction::kToTarget, fault);
    if (cut.way != LinkWay::kTo) link.Set(Direction::kToSource, fault);
    if (cut.kind == Kind::kReset) link.ResetAll();
  }

  void Do(ChaosCluster& cluster, std::mt19937_64& random, Iteration* iteration) override {
    const uint64_t pushes = 20 + DrawBelow(random, 200);
    if (!BeginLoad(cluster, pushes, iteration)) return;
    const LinkCut cut = Draw(cluster, random);
    iteration->what = cut.ToString();
    FaultProxy& link = cluster.Link(cut.from, cut.to);
    cluster.Fault(iteration);
    Begin(cut, link);
    Last(cut.ms);
    // The data plane goes on while the scheduler is out of reach, of clients and of servers (rule 19).
    const uint64_t at_end = cluster.load().pushes();
    if (cut.to == "scheduler" && !WaitFor(5000, [&] { return cluster.load().pushes() > at_end; }))
      iteration->error = StrCat("pushes end when the scheduler has been out of reach for ", cut.ms, " ms");
    link.Heal();
    cluster.Finish(iteration, /*lossy=*/false);
  }
};

}  // namespace

std::unique_ptr<SuiteRun> BeginPartition(const ChaosOptions& options) {
  return std::make_unique<Partition>(
      ChaosCluster::Options{.chaos = options, .proxies = true, .dim = 16, .set = SmallLog()});
}

}  // namespace penstock
