// penstock bench: measures the machine, or a cluster on it.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "tools/bench/limit.h"
#include "tools/bench/step.h"
#include "tools/cli/commands.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/print.h"
#include "tools/cli/private_cluster.h"
#include "tools/cli/target.h"

namespace penstock {
namespace {

std::string LimitText(const Limit& limit) {
  const auto rate = [](double bytes) { return FormatBytes(bytes) + "/s"; };
  char pingpong[64];
  std::snprintf(pingpong, sizeof pingpong, "%.1f us (%.1f .. %.1f)", limit.pingpong_us.median,
                limit.pingpong_us.min, limit.pingpong_us.max);
  return StrCat("TCP on loopback    ", rate(limit.tcp_bytes_per_second), " (", rate(limit.tcp.min), " .. ",
                rate(limit.tcp.max), ") with ", FormatBytes(static_cast<double>(limit.tcp_buffer_bytes)),
                " buffers\n", "64-byte ping-pong  ", pingpong, "\n", "memcpy             ",
                rate(limit.memcpy_bytes_per_second), "\n");
}

std::string StepText(const nlohmann::json& result) {
  const auto spread = [](const nlohmann::json& s, double unit, const char* name) {
    char text[96];
    std::snprintf(text, sizeof text, "%.2f %s (%.2f .. %.2f)", s["median"].get<double>() / unit, name,
                  s["min"].get<double>() / unit, s["max"].get<double>() / unit);
    return std::string(text);
  };
  char ratio[32];
  std::snprintf(ratio, sizeof ratio, "%.3f", result["ratio_to_limit"].get<double>());
  return StrCat("step: ", result["keys"].get<uint64_t>(), " keys of ", result["rows"].get<uint64_t>(),
                " rows, dim ", result["dim"].get<uint64_t>(), ", ", result["optimizer"].get<std::string>(),
                ", ", result["durability"].get<std::string>(), ", ", result["inflight"].get<uint64_t>(),
                " in flight, servers ", result["servers"].get<uint64_t>(), ", ",
                result["repeats"].get<uint64_t>(), " repeats of ",
                FormatSeconds(result["seconds"].get<double>()), ", every row checked\n  rows      ",
                spread(result["rows_per_second"], 1e6, "M rows/s"), "\n  payload   ",
                spread(result["payload_bytes_per_second"], 1e9, "GB/s"), "\n  of TCP    ", ratio, "\n");
}

Result<uint64_t> CountServers(Client& client) {
  ASSIGN_OR_RETURN(const nlohmann::json nodes, client.Inspect("nodes"));
  uint64_t servers = 0;
  for (const auto& node : nodes)
    servers += node.value("role", "") == "server" && node.value("state", "") == "alive" ? 1 : 0;
  return servers;
}

}  // namespace

Result<int> RunBenchLimit(const Arguments& arguments, Console& console) {
  ASSIGN_OR_RETURN(const Limit limit, MeasureLimit({}));
  const nlohmann::json json = {{"machine", DescribeMachine()}, {"limit", LimitJson(limit)}};
  console.out << (arguments.output == OutputFormat::kJson ? RenderJson(json) : LimitText(limit));
  return kExitOk;
}

Result<int> RunBenchStep(const Arguments& arguments, Console& console) {
  RETURN_IF_ERROR(CheckStepOptions(arguments.step));
  ASSIGN_OR_RETURN(const Limit limit, MeasureLimit({}));  // forks, so before any thread
  InterruptSignals signals;
  std::unique_ptr<PrivateCluster> own;
  TargetArguments target = arguments.target;
  if (target.scheduler.empty() && target.data_dir.empty()) {
    // Its pool has no workers: the bench is the one that pulls and pushes.
    ASSIGN_OR_RETURN(own, PrivateCluster::Start(arguments.servers.value_or(1), 0, signals, console));
    target = own->target();
  }
  ASSIGN_OR_RETURN(auto client, ConnectTo(target, "penstock bench"));
  ASSIGN_OR_RETURN(const uint64_t servers, CountServers(*client));
  ASSIGN_OR_RETURN(const StepFigures figures,
                   RunStepBench(*client, arguments.step, [&] { return signals.Received(); }));
  const nlohmann::json result = StepJson(arguments.step, figures, servers, limit.tcp_bytes_per_second);
  const nlohmann::json json = {
      {"machine", DescribeMachine()}, {"limit", LimitJson(limit)}, {"results", {result}}};
  console.out << (arguments.output == OutputFormat::kJson ? RenderJson(json)
                                                          : LimitText(limit) + StepText(result));
  return kExitOk;
}

}  // namespace penstock
