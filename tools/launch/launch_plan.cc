#include "tools/launch/launch_plan.h"

#include <cstdlib>
#include <filesystem>

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
  if (!record.address.empty()) set(role + ".listen=" + record.address);
  for (const auto& assignment : record.assignments) set(assignment);
  set("cluster.data_dir=" + paths.node(name));
  if (role != "scheduler")
    set("cluster.scheduler=" + (record.joins() ? record.join : paths.scheduler_address()));
  const bool accepts = role != "worker";  // which accepts nobody
  const auto tokens = [&](const std::string& node, const std::string& others_in) {
    set("security.token_file=" + node);
    if (others_in.empty() || !accepts) return;
    set("security.operator_token_file=" + DataDirPaths(others_in).token(Access::kOperator));
    set("security.client_token_file=" + DataDirPaths(others_in).token(Access::kClient));
  };
  if (record.joins()) {
    const bool alone = OperatorTokenBeside(record.token_file) == record.token_file;
    tokens(record.token_file, alone ? "" : std::filesystem::path(record.token_file).parent_path().string());
  } else if (options.security.token_file.empty()) {
    tokens(paths.token(Access::kNode), paths.root);
  }
  if (options.log.dir.empty()) set("log.dir=" + paths.logs());
  return child;
}

// No other machine's: the cluster knows its nodes by their names.
std::string NodeName(const LaunchRecord& record, const std::string& role, uint32_t index) {
  return (record.joins() ? record.name + "-" : "") + role + "-" + std::to_string(index + 1);
}

void SetPort(ChildSpec* child, const std::string& key, uint16_t first, uint32_t offset) {
  if (first == 0 || offset == 0) return;
  child->argv.insert(child->argv.end(), {"--set", key + "=" + std::to_string(first + offset)});
}

}  // namespace

std::vector<ChildSpec> PlanLaunch(const DataDirPaths& paths, const std::string& programs,
                                  const LaunchRecord& record, const ClusterOptions& options) {
  std::vector<ChildSpec> children;
  if (!record.joins()) {
    children.push_back(PlanChild(paths, programs, record, options, "scheduler", "scheduler"));
    children.back().stop_order = 2;
    // A new cluster places its shards when this many servers are there; an old one has placed them.
    children.back().argv.insert(children.back().argv.end(),
                                {"--set", "scheduler.servers=" + std::to_string(record.servers)});
  }
  for (uint32_t i = 0; i < record.servers; ++i) {
    children.push_back(PlanChild(paths, programs, record, options, "server", NodeName(record, "server", i)));
    children.back().stop_order = 1;
    SetPort(&children.back(), "server.port", options.server.port, i * options.server.cores);
    SetPort(&children.back(), "server.http_port", options.server.http_port, i);
  }
  for (uint32_t i = 0; i < record.workers; ++i) {
    children.push_back(PlanChild(paths, programs, record, options, "worker", NodeName(record, "worker", i)));
    children.back().stop_order = 0;
    SetPort(&children.back(), "worker.http_port", options.worker.http_port, i);
  }
  return children;
}

}  // namespace penstock
