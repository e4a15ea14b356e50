// penstock status, node, job, shard, cluster and table: what the scheduler knows. What an operator decides is
// in orders.h.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/atomic_file.h"
#include "common/base/strings.h"
#include "common/net/identity.h"
#include "tools/cli/commands.h"
#include "tools/cli/events.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/health.h"
#include "tools/cli/job_metrics.h"
#include "tools/cli/listing.h"
#include "tools/cli/orders.h"
#include "tools/cli/target.h"

namespace penstock {
namespace {

using nlohmann::json;

// Where a node is to be found is in `node ls` alone: the status has no room for it.
const std::vector<Column> kNodeColumns = {{"ID", "id"},
                                          {"NAME", "name"},
                                          {"ROLE", "role"},
                                          {"STATE", "state"},
                                          {"SHARDS", "shards", Show::kCount},
                                          {"BACKUPS", "backups", Show::kCount},
                                          {"ROWS", "rows", Show::kCount},
                                          {"BYTES", "bytes", Show::kBytes},
                                          {"BACKUP ROWS", "backup_rows", Show::kCount},
                                          {"BACKUP BYTES", "backup_bytes", Show::kBytes},
                                          {"BUSY", "busy"}};
// Nodes whose state says so, too.
json WithDrained(json nodes) {
  for (json& node : nodes) {
    for (const char* word : {"drained", "leaving", "loading"})
      if (node.value(word, false)) node["state"] = StrCat(node.value("state", ""), ", ", word);
  }
  return nodes;
}

const std::vector<Column> kPlaceColumns = {
    {"HOST", "host"}, {"ZONE", "zone"},           {"SEEN MS AGO", "last_seen_ms", Show::kCount},
    {"PID", "pid"},   {"ENDPOINTS", "endpoints"}, {"HTTP", "http"},
    {"LOG", "log"}};
const std::vector<Column> kJobColumns = {{"ID", "id"},
                                         {"NAME", "name"},
                                         {"STATE", "state"},
                                         {"PHASE", "phase"},
                                         {"PASS", "pass"},
                                         {"OF", "passes"},
                                         {"PARTS", "partitions_done"},
                                         {"OF", "partitions"},
                                         {"EXAMPLES", "examples", Show::kCount},
                                         {"PER S", "examples_per_second", Show::kCount},
                                         {"LOSS", "loss", Show::kFraction},
                                         {"TIME", "seconds", Show::kSeconds},
                                         {"BAD", "bad_records"},
                                         {"ERROR", "error"}};
const std::vector<Column> kPartitionColumns = {{"PARTITION", "partition"},
                                               {"STATE", "state"},
                                               {"WORKER", "worker"},
                                               {"RECORDED", "recorded"},
                                               {"EXAMPLES", "examples", Show::kCount},
                                               {"HELD", "held_seconds", Show::kSeconds},
                                               {"PLACE", "position"},
                                               {"PRODUCER", "producer"}};
const std::vector<Column> kTableColumns = {{"ID", "id"},
                                           {"NAME", "name"},
                                           {"DIM", "dim"},
                                           {"OPTIMIZER", "optimizer/kind"},
                                           {"DURABILITY", "durability"},
                                           {"FLOATS", "dense_size", Show::kCount}};

std::string StatusText(const json& status) {
  std::string text = RenderFields(status, {{"cluster", "name"},
                                           {"id", "cluster"},
                                           {"version", "version"},
                                           {"term", "term"},
                                           {"up for", "uptime_seconds", Show::kSeconds},
                                           {"ready", "ready"},
                                           {"scheduler's pid", "scheduler/pid"},
                                           {"its log", "scheduler/log"}});
  for (const auto& problem : HealthProblems(status)) text += "problem:  " + FormatText(problem) + "\n";
  text += "\n" + RenderTable(WithDrained(status.value("nodes", json::array())), kNodeColumns);
  text += "\nshards: ";
  const json shards = status.value("shards", json::object());
  std::string counts;
  for (const char* state : {"total", "serving", "granting", "unavailable", "quarantined", "unplaced"}) {
    const auto count = shards.value(state, uint64_t{0});
    if (count > 0) counts += (counts.empty() ? "" : ", ") + std::to_string(count) + " " + state;
  }
  const json copies = status.value("copies", json::object());
  text += counts + "; copies: " + std::to_string(copies.value("wanted", uint64_t{1})) + " of each, " +
          std::to_string(copies.value("complete", uint64_t{0})) +
          " shards have all in sync; tables: " + std::to_string(status.value("tables", uint64_t{0})) + "\n";
  if (!status.value("balance", true))
    text +=
        "shards do not move by themselves, but away from drained servers (`penstock cluster rebalance on`)\n";
  return text + JobsText(status.value("jobs", json::array()));
}

Result<int> ListNodes(Client& client, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const json nodes, Admin(client).Inspect("nodes"));
  if (arguments.output == OutputFormat::kJson) {
    console.out << RenderJson(nodes);
    return kExitOk;
  }
  std::vector<Column> columns = kNodeColumns;
  columns.insert(columns.end(), kPlaceColumns.begin(), kPlaceColumns.end());
  console.out << RenderTable(WithDrained(nodes), columns);
  return kExitOk;
}

std::string HostOf(const std::string& endpoint) { return endpoint.substr(0, endpoint.rfind(':')); }

// Of a process that has such an address (empty: none is known) in a cluster whose scheduler is here.
bool IsHere(const json& process, const std::string& scheduler_host) {
  const std::string host = HostOf(process.value("http", ""));
  if (!host.empty() && host != scheduler_host && !IsLoopback(host)) return false;
  // The number may be that of another process by now, or of another machine behind a tunnel.
  const auto name = ReadWholeFile(StrCat("/proc/", process.value("pid", 0u), "/comm"));
  return name.ok() && name->starts_with("penstock-");
}

// A line for each process of the cluster on this machine that is not known to be dead: what `kill` takes. By
// the cluster's own word, so that no process of another cluster is among them.
Result<int> ListPids(Client& client, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const json status, Admin(client).Inspect("status"));
  PENSTOCK_ASSIGN_OR_RETURN(const std::string scheduler, SchedulerAt(arguments.target));
  const DataDirPaths paths(DataDirOf(arguments.target));
  const bool launched_here = arguments.target.scheduler.empty() && LockHolder(paths);
  json pids = json::array();
  if (launched_here || IsLoopback(HostOf(scheduler))) {
    std::vector<json> processes = {status.value("scheduler", json::object())};
    for (const json& node : status.value("nodes", json::array())) {
      if (node.value("state", "") != "dead") processes.push_back(node);
    }
    for (const json& process : processes) {
      if (IsHere(process, HostOf(scheduler))) pids.push_back(process.at("pid"));
    }
  }
  if (pids.empty()) {
    return FailedPrecondition("no process of the cluster with its scheduler at " + scheduler +
                              " is known to run on this machine; `penstock node ls` says where they are");
  }
  if (arguments.output == OutputFormat::kJson) {
    console.out << RenderJson(pids);
    return kExitOk;
  }
  for (const json& pid : pids) console.out << pid << "\n";
  return kExitOk;
}

Result<int> ListShards(Client& client, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const json shards, Admin(client).Inspect("shards"));
  if (arguments.output == OutputFormat::kJson) {
    console.out << RenderJson(shards);
    return kExitOk;
  }
  console.out << ShardsText(shards, arguments.all);
  return kExitOk;
}

Result<int> ShowShard(Client& client, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const json shard, Admin(client).Inspect("shard", std::to_string(arguments.id)));
  console.out << (arguments.output == OutputFormat::kJson ? RenderJson(shard) : ShardText(shard));
  return kExitOk;
}

Result<int> ShowStatus(Client& client, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const json status, Admin(client).Inspect("status"));
  console.out << (arguments.output == OutputFormat::kJson ? RenderJson(status) : StatusText(status));
  return HealthProblems(status).empty() ? kExitOk : kExitUnhealthy;
}

Result<int> ShowJob(Client& client, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const json job, Admin(client).Inspect("job", std::to_string(arguments.id)));
  if (arguments.output == OutputFormat::kJson) {
    console.out << RenderJson(job);
    return kExitOk;
  }
  PENSTOCK_ASSIGN_OR_RETURN(const json metrics, JobMetrics(job));
  console.out << RenderFields(job, {{"id", "id"},
                                    {"name", "name"},
                                    {"state", "state"},
                                    {"phase", "phase"},
                                    {"pass", "pass"},
                                    {"passes", "passes"},
                                    {"partitions done", "partitions_done"},
                                    {"partitions", "partitions"},
                                    {"examples", "examples", Show::kCount},
                                    {"examples in all", "examples_total", Show::kCount},
                                    {"examples a second", "examples_per_second", Show::kCount},
                                    {"loss", "loss", Show::kFraction},
                                    {"time", "seconds", Show::kSeconds},
                                    {"skipped records", "bad_records"},
                                    {"skipped, held-out", "spec/data_plan/test/bad_records"},
                                    {"best pass", "best_pass"},
                                    {"early end", "stopped"},
                                    {"error", "error"},
                                    {"training data", "spec/options/data/train"},
                                    {"held-out data", "spec/options/data/test"}})
              << MetricsText(metrics) << OptionsText(job);
  for (const json& problem : job.value("problems", json::array()))
    console.out << "problem of the cluster:  " << FormatText(problem.get<std::string>()) << "\n";
  for (const json& entry : job.value("history", json::array())) console.out << HistoryLine(entry) << "\n";
  const json partitions = job.value("leases", json::array());
  if (!partitions.empty()) console.out << "\n" << RenderTable(partitions, kPartitionColumns);
  return kExitOk;
}

Result<int> ShowPartitions(Client& client, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const json job, Admin(client).Inspect("job", std::to_string(arguments.id)));
  const json partitions = job.value("leases", json::array());
  console.out << (arguments.output == OutputFormat::kJson ? RenderJson(partitions)
                                                          : RenderTable(partitions, kPartitionColumns));
  return kExitOk;
}

// What the scheduler knows of the workers, beside what their pushes have carried.
Result<json> JobClocks(Client& client, uint32_t id) {
  PENSTOCK_ASSIGN_OR_RETURN(json clocks, Admin(client).Inspect("clocks", std::to_string(id)));
  PENSTOCK_ASSIGN_OR_RETURN(const json nodes, Admin(client).Inspect("nodes"));
  std::map<uint32_t, json> workers;
  for (const json& worker : clocks["workers"]) workers[worker["node"].get<uint32_t>()] = worker;
  for (const json& name : clocks["tables"]) {
    PENSTOCK_ASSIGN_OR_RETURN(const TableSpec table, client.OpenTable(name.get<std::string>()));
    PENSTOCK_ASSIGN_OR_RETURN(const auto pushed, Admin(client).Clocks(table.id));
    for (const WorkerClock& seen : pushed) {
      json& worker = workers[seen.worker];
      if (worker.is_null()) worker = {{"node", seen.worker}, {"clock", nullptr}, {"works", false}};
      worker["pushed"] = std::max(worker.value("pushed", uint64_t{0}), seen.clock);
      worker["most_ahead"] = std::max(worker.value("most_ahead", uint64_t{0}), seen.lead);
    }
  }
  clocks["workers"] = json::array();
  for (auto& [node, worker] : workers) {
    for (const json& known : nodes) {
      if (known["id"] == node) worker["worker"] = known["name"];
    }
    clocks["workers"].push_back(worker);
  }
  return clocks;
}

Result<int> ShowClocks(Client& client, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const json clocks, JobClocks(client, arguments.id));
  if (arguments.output == OutputFormat::kJson) {
    console.out << RenderJson(clocks);
    return kExitOk;
  }
  console.out << RenderFields(clocks, {{"job", "id"},
                                       {"name", "name"},
                                       {"staleness", "staleness"},
                                       {"slowest clock", "minimum"}})
              << "\n"
              << RenderTable(clocks["workers"], {{"NODE", "node"},
                                                 {"WORKER", "worker"},
                                                 {"WORKS", "works"},
                                                 {"CLOCK", "clock"},
                                                 {"PUSHED", "pushed"},
                                                 {"MOST AHEAD", "most_ahead"}});
  return kExitOk;
}

Result<int> ListJobs(Client& client, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const json jobs, Admin(client).Inspect("jobs"));
  console.out << (arguments.output == OutputFormat::kJson ? RenderJson(jobs)
                                                          : RenderTable(jobs, kJobColumns));
  return kExitOk;
}

// A tensor's rows are blocks of its floats, so there are only so many.
Status CheckKeys(const TableSpec& table, const std::vector<Key>& keys) {
  if (table.dense_size == 0) return Status::Ok();
  const uint64_t rows = (table.dense_size + table.dim - 1) / table.dim;
  for (const Key key : keys) {
    if (key >= rows) {
      return InvalidArgument(StrCat("table '", table.name, "' is a tensor of ", table.dense_size,
                                    " floats in rows of ", table.dim, ": it has no row ", key,
                                    ", allowed are 0 to ", rows - 1));
    }
  }
  return Status::Ok();
}

Result<int> ShowRows(Client& client, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec table, client.OpenTable(arguments.name));
  const std::vector<Key> keys(arguments.keys.begin(), arguments.keys.end());
  PENSTOCK_RETURN_IF_ERROR(CheckKeys(table, keys));
  PENSTOCK_ASSIGN_OR_RETURN(const PullResult pulled, client.Pull({{table.id, keys}}, {.stored = true}).get());
  json rows = json::array();
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto begin = pulled.values[0].begin() + static_cast<ptrdiff_t>(i * table.dim);
    const bool stored = pulled.stored[0][i] != 0;
    // The last row of a tensor may have floats behind its end.
    const uint64_t floats = table.dense_size == 0
                                ? table.dim
                                : std::min(table.dense_size - keys[i] * table.dim, uint64_t{table.dim});
    rows.push_back({{"key", keys[i]},
                    {"stored", stored},
                    {"row", stored ? "stored" : "initial"},
                    {"values", std::vector<float>(begin, begin + static_cast<ptrdiff_t>(floats))}});
  }
  console.out << (arguments.output == OutputFormat::kJson
                      ? RenderJson({{"table", table.name}, {"rows", rows}})
                      : RenderTable(rows, {{"KEY", "key"}, {"ROW", "row"}, {"VALUES", "values"}}));
  return kExitOk;
}

Result<int> List(Client& client, const Arguments& arguments, Console& console, const std::string& what,
                 const std::vector<Column>& columns) {
  PENSTOCK_ASSIGN_OR_RETURN(const json value, Admin(client).Inspect(what));
  console.out << (arguments.output == OutputFormat::kJson ? RenderJson(value) : RenderTable(value, columns));
  return kExitOk;
}

// A table's specification as lines of "member/of/member  value".
std::vector<Column> EveryMember(const json& value, const std::string& prefix = "") {
  std::vector<Column> columns;
  for (const auto& [name, member] : value.items()) {
    if (!member.is_object()) {
      columns.push_back({prefix + name, prefix + name});
      continue;
    }
    const auto inner = EveryMember(member, prefix + name + "/");
    columns.insert(columns.end(), inner.begin(), inner.end());
  }
  return columns;
}

Result<int> DescribeTable(Client& client, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(json value, Admin(client).Inspect("table", arguments.name));
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec table, client.OpenTable(arguments.name));
  PENSTOCK_ASSIGN_OR_RETURN(const auto stats, Admin(client).Stats({table.id}));
  value["pushed_rows"] = stats[0].rows;
  value["memory_bytes"] = stats[0].bytes;
  console.out << (arguments.output == OutputFormat::kJson ? RenderJson(value)
                                                          : RenderFields(value, EveryMember(value)));
  return kExitOk;
}

// A scan takes its time, and so does the log.
constexpr uint64_t kExpireDeadlineMs = 600000;

Result<int> ExpireRows(Client& client, const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec table, client.OpenTable(arguments.name));
  if (!table.expiry.any()) {
    return FailedPrecondition("table '" + table.name +
                              "' has no rules of expiry; a table has them when expiry.ttl_seconds, "
                              "expiry.unused_passes or expiry.min_norm is above 0");
  }
  PENSTOCK_ASSIGN_OR_RETURN(const ExpiryReport report,
                            Admin(client).Expire(table.id, arguments.dry_run, kExpireDeadlineMs));
  const json value = {{"table", table.name},        {"dry_run", arguments.dry_run},
                      {"rows", report.rows},        {"expired", report.expired()},
                      {"ttl_seconds", report.ttl},  {"unused_passes", report.unused_passes},
                      {"min_norm", report.min_norm}};
  console.out << (arguments.output == OutputFormat::kJson
                      ? RenderJson(value)
                      : RenderFields(value, {{"table", "table"},
                                             {"rows looked at", "rows", Show::kCount},
                                             {arguments.dry_run ? "due" : "deleted", "expired", Show::kCount},
                                             {"by ttl_seconds", "ttl_seconds", Show::kCount},
                                             {"by unused_passes", "unused_passes", Show::kCount},
                                             {"by min_norm", "min_norm", Show::kCount}}));
  return kExitOk;
}

}  // namespace

Result<int> RunInspection(const Arguments& arguments, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(auto client, ConnectTo(arguments.target, "penstock " + arguments.command));
  const std::string& command = arguments.command;
  if (command == "status") return ShowStatus(*client, arguments, console);
  if (command == "events") return ShowEvents(*client, arguments, console);
  if (command == "node ls" && arguments.pids) return ListPids(*client, arguments, console);
  if (command == "node ls") return ListNodes(*client, arguments, console);
  if (command == "job ls") return ListJobs(*client, arguments, console);
  if (command == "shard ls") return ListShards(*client, arguments, console);
  if (command == "table ls") return List(*client, arguments, console, "tables", kTableColumns);
  if (command == "shard show") return ShowShard(*client, arguments, console);
  if (command == "job show") return ShowJob(*client, arguments, console);
  if (command == "table describe") return DescribeTable(*client, arguments, console);
  if (command == "table get") return ShowRows(*client, arguments, console);
  if (command == "table expire") return ExpireRows(*client, arguments, console);
  if (command == "job clocks") return ShowClocks(*client, arguments, console);
  if (command == "job partitions") return ShowPartitions(*client, arguments, console);
  return RunOrder(*client, arguments, console);
}

}  // namespace penstock
