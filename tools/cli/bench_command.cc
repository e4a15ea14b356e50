// penstock bench: measures the machine, or a cluster on it.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "tools/bench/limit.h"
#include "tools/bench/memory.h"
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

std::string SpreadText(const nlohmann::json& s, double unit, const char* name) {
  char text[96];
  std::snprintf(text, sizeof text, "%.2f %s (%.2f .. %.2f)", s["median"].get<double>() / unit, name,
                s["min"].get<double>() / unit, s["max"].get<double>() / unit);
  return text;
}

std::string MemoryText(const nlohmann::json& result) {
  const auto rate = [](const nlohmann::json& rows) {
    return StrCat(FormatCount(static_cast<uint64_t>(rows.get<double>())), " rows/s");
  };
  return StrCat(
      "memory: ", FormatCount(result["rows"].get<uint64_t>()), " rows of ", result["dim"].get<uint64_t>(),
      " floats under a budget of ", FormatBytes(result["budget_bytes"].get<double>()), ", steps of ",
      result["keys"].get<uint64_t>(), " rows, ", result["durability"].get<std::string>(), ", ",
      result["inflight"].get<uint64_t>(), " in flight, ", result["repeats"].get<uint64_t>(), " repeats of ",
      FormatSeconds(result["seconds"].get<double>()), ", every row checked\n  load      ",
      rate(result["load_rows_per_second"]), "\n  read      ", rate(result["read_rows_per_second"]),
      "\n  random    ", SpreadText(result["random_rows_per_second"], 1e3, "k rows/s"), "\n  Zipf      ",
      SpreadText(result["zipf_rows_per_second"], 1e3, "k rows/s"), "\n  resident  ",
      FormatBytes(result["peak_resident_bytes"].get<double>()), " at most\n");
}

std::string StepText(const nlohmann::json& result) {
  char ratio[32];
  std::snprintf(ratio, sizeof ratio, "%.3f", result["ratio_to_limit"].get<double>());
  return StrCat("step: ", result["keys"].get<uint64_t>(), " keys of ", result["rows"].get<uint64_t>(),
                " rows, dim ", result["dim"].get<uint64_t>(), ", ", result["optimizer"].get<std::string>(),
                ", ", result["durability"].get<std::string>(), ", ", result["inflight"].get<uint64_t>(),
                " in flight, servers ", result["servers"].get<uint64_t>(), ", ",
                result["repeats"].get<uint64_t>(), " repeats of ",
                FormatSeconds(result["seconds"].get<double>()), ", every row checked\n  rows      ",
                SpreadText(result["rows_per_second"], 1e6, "M rows/s"), "\n  payload   ",
                SpreadText(result["payload_bytes_per_second"], 1e9, "GB/s"), "\n  of TCP    ", ratio, "\n");
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

Result<int> RunBenchMemory(const Arguments& arguments, Console& console) {
  const MemoryOptions& options = arguments.memory;
  RETURN_IF_ERROR(CheckMemoryOptions(options));
  InterruptSignals signals;
  ASSIGN_OR_RETURN(auto cluster,
                   PrivateCluster::Start(1, 0, signals, console,
                                         {StrCat("server.memory_budget_bytes=", options.budget_bytes)}));
  ASSIGN_OR_RETURN(auto client, ConnectTo(cluster->target(), "penstock bench"));
  const auto say = [&](const std::string& line) { console.err << "penstock: " << line << std::endl; };
  ASSIGN_OR_RETURN(const MemoryFigures figures,
                   RunMemoryBench(*client, options, say, [&] { return signals.Received(); }));
  uint64_t peak = 0;
  for (const ChildState& child : cluster->Children()) {
    if (child.name.rfind("server", 0) != 0) continue;
    if (child.starts != 1) return Internal(child.name + " died in the run: its memory is not known");
    ASSIGN_OR_RETURN(peak, PeakResidentBytes(child.pid));
  }
  const nlohmann::json result = MemoryJson(options, figures, peak);
  const nlohmann::json json = {{"machine", DescribeMachine()}, {"results", {result}}};
  console.out << (arguments.output == OutputFormat::kJson ? RenderJson(json) : MemoryText(result));
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
