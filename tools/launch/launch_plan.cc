#include "tools/launch/launch_plan.h"

#include <cstdlib>

namespace penstock {
namespace {

ChildSpec PlanChild(const DataDirPaths& paths, const std::string& programs, const LaunchRecord& record,
                    const ClusterOptions& options, const std::string& role, const std::string& name) {
  ChildSpec child{
      .name = name, .argv = {programs + "/penstock-" + role}, .output = paths.logs() + "/" + name + ".out"};
  if (!record.config.empty()) child.argv.insert(child.argv.end(), {"--config", record.config});
  const auto set = [&](const std::string& assignment) {
    child.argv.insert(child.argv.end(), {"--set", assignment});
  };
  for (const auto& assignment : record.assignments) set(assignment);
  set("cluster.data_dir=" + paths.node(name));
  if (role != "scheduler") set("cluster.scheduler=" + paths.scheduler_address());
  if (options.security.token_file.empty()) {
    set("security.token_file=" + paths.token(Access::kNode));
    if (role != "worker") {  // which accepts nobody
      set("security.operator_token_file=" + paths.token(Access::kOperator));
      set("security.client_token_file=" + paths.token(Access::kClient));
    }
  }
  if (options.log.dir.empty()) set("log.dir=" + paths.logs());
  return child;
}

void SetPort(ChildSpec* child, const std::string& key, uint16_t first, uint32_t offset) {
  if (first == 0 || offset == 0) return;
  child->argv.insert(child->argv.end(), {"--set", key + "=" + std::to_string(first + offset)});
}

}  // namespace

std::vector<ChildSpec> PlanLaunch(const DataDirPaths& paths, const std::string& programs,
                                  const LaunchRecord& record, const ClusterOptions& options) {
  std::vector<ChildSpec> children;
  children.push_back(PlanChild(paths, programs, record, options, "scheduler", "scheduler"));
  children.back().stop_order = 2;
  // A new cluster places its shards when this many servers are there; an old one has placed them.
  children.back().argv.insert(children.back().argv.end(),
                              {"--set", "scheduler.servers=" + std::to_string(record.servers)});
  for (uint32_t i = 0; i < record.servers; ++i) {
    children.push_back(
        PlanChild(paths, programs, record, options, "server", "server-" + std::to_string(i + 1)));
    children.back().stop_order = 1;
    SetPort(&children.back(), "server.port", options.server.port, i * options.server.cores);
    SetPort(&children.back(), "server.http_port", options.server.http_port, i);
  }
  for (uint32_t i = 0; i < record.workers; ++i) {
    children.push_back(
        PlanChild(paths, programs, record, options, "worker", "worker-" + std::to_string(i + 1)));
    children.back().stop_order = 0;
    SetPort(&children.back(), "worker.http_port", options.worker.http_port, i);
  }
  return children;
}

}  // namespace penstock
