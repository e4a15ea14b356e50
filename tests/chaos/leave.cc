#include "tests/chaos/leave.h"

#include "client/admin.h"
#include "common/base/strings.h"

namespace penstock {
namespace {

constexpr int kDrainMs = 60000;
constexpr int kKnownMs = 20000;  // to the scheduler, or to be dead

}  // namespace

nlohmann::json FindNode(ChaosCluster& cluster, const std::string& name) {
  const auto nodes = Admin(cluster.client()).Inspect("nodes");
  if (nodes.ok()) {
    for (const auto& node : *nodes) {
      if (node.at("name") == name) return node;
    }
  }
  return nullptr;
}

Status Leave(ChaosCluster& cluster, const std::string& name) {
  nlohmann::json node;
  if (!WaitFor(kKnownMs, [&] { return !(node = FindNode(cluster, name)).is_null(); }))
    return DeadlineExceeded("the scheduler does not know " + name);
  const NodeId id = node.at("id");
  PENSTOCK_RETURN_IF_ERROR(Admin(cluster.client()).DrainNode(id, true));
  const bool empty = WaitFor(kDrainMs, [&] {
    node = FindNode(cluster, name);
    return !node.is_null() && node.at("shards") == 0 && node.at("backups") == 0;
  });
  if (!empty) return DeadlineExceeded(name + " is not empty after 60 s: " + node.dump());
  if (const int code = cluster.processes().Terminate(name); code != 0)
    return Internal(StrCat(name, " ended with ", code));
  Status removed;
  (void)WaitFor(kKnownMs, [&] { return (removed = Admin(cluster.client()).RemoveNode(id)).ok(); });
  return removed;
}

}  // namespace penstock
