#include "scheduler/node/inspect.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "common/base/strings.h"
#include "scheduler/copies/copy_decision.h"
#include "scheduler/jobs/job_course.h"
#include "scheduler/jobs/lease_order.h"

namespace penstock {
namespace {

using nlohmann::json;

std::optional<uint32_t> ParseNumber(const std::string& text) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  return static_cast<uint32_t>(std::stoul(text));
}

std::string NodeName(const InspectView& view, NodeId id) {
  const NodeRecord* node = view.state.FindNode(id);
  return node == nullptr ? "" : node->name;
}

uint32_t CountAlive(const InspectView& view, NodeRole role) {
  const auto& nodes = view.state.data().nodes;
  return static_cast<uint32_t>(std::count_if(nodes.begin(), nodes.end(), [&](const auto& entry) {
    return entry.second.role == role && view.nodes.StateOf(entry.first, view.now.ms) != Liveness::kDead;
  }));
}

json NodeJson(const InspectView& view, const NodeRecord& node) {
  const auto& shards = view.state.data().shards;
  // Of the shards that it serves, and of its copies of others.
  uint64_t rows = 0, bytes = 0, backup_rows = 0, backup_bytes = 0;
  for (const auto& [id, line] : view.nodes.Lines(node.id)) {
    if (id >= shards.size()) continue;
    const bool primary = shards[id].node == node.id && shards[id].incarnation == line.incarnation;
    const CopyRecord* copy = FindCopy(shards[id].backups, node.id);
    const bool backup = copy != nullptr && copy->incarnation == line.incarnation;
    rows += primary ? line.rows : 0;
    bytes += primary ? line.bytes : 0;
    backup_rows += backup ? line.rows : 0;
    backup_bytes += backup ? line.bytes : 0;
  }
  const auto owned =
      std::count_if(shards.begin(), shards.end(), [&](const ShardRecord& s) { return s.node == node.id; });
  return {{"id", node.id},
          {"role", node.role == NodeRole::kServer ? "server" : "worker"},
          {"name", node.name},
          {"state", ToString(view.nodes.StateOf(node.id, view.now.ms))},
          {"endpoints", node.endpoints},
          {"http", node.http},
          {"shards", owned},
          {"backups",
           std::count_if(shards.begin(), shards.end(),
                         [&](const ShardRecord& s) { return FindCopy(s.backups, node.id) != nullptr; })},
          {"rows", rows},
          {"bytes", bytes},
          {"backup_rows", backup_rows},
          {"backup_bytes", backup_bytes},
          {"drained", node.drained},
          {"host", node.host},
          {"zone", node.zone},
          {"held_lives", view.nodes.Lines(node.id).size()},
          {"pid", node.pid},
          {"log", node.log},
          {"last_seen_ms", view.nodes.SilentMs(node.id, view.now.ms)},
          {"busy", view.nodes.Busy(node.id)},
          {"memory", node.memory},
          {"leaving", view.nodes.Words(node.id).leaving},
          {"loading", view.nodes.Words(node.id).loading},
          {"note", view.nodes.Words(node.id).note},
          {"trouble", view.nodes.Words(node.id).trouble}};
}

json BackupsJson(const InspectView& view, const ShardRecord& shard) {
  json backups = json::array();
  for (const CopyRecord& copy : shard.backups) {
    backups.push_back({{"node", copy.node},
                       {"name", NodeName(view, copy.node)},
                       {"incarnation", copy.incarnation},
                       {"state", copy.in_sync ? "in-sync" : "seeding"}});
  }
  return backups;
}

// Whether the copies that are recorded can be had now.
bool IsThere(ShardState state) { return state == ShardState::kServing || state == ShardState::kGranting; }

// How many shards have all their copies in sync, each ready to lead.
size_t CountComplete(const InspectView& view) {
  const StateData& data = view.state.data();
  size_t count = 0;
  for (ShardId id = 0; id < data.shards.size(); ++id)
    count += IsThere(view.shards[id].state) && CountPromotable(data.shards[id]) >= data.copies;
  return count;
}

// null: it does not move.
json MoveJson(const InspectView& view, ShardId id) {
  const ShardRecord& shard = view.state.data().shards[id];
  const MoveRecord& move = shard.move;
  if (move.from == 0) return nullptr;
  const CopyHealth health(view.state, view.nodes, view.now.ms);
  const bool settled = health.Served(id) != nullptr && shard.confirmed == shard.epoch;
  const CopyRecord* target = FindCopy(shard.backups, move.to);
  const char* stage = move.fence != 0                        ? "handing over"
                      : target != nullptr && target->in_sync ? "in sync"
                      : target != nullptr                    ? "copying"
                                                             : "waiting";
  const ShardLine* line = view.nodes.Line(shard.node, id);
  const BackupLine* said = target == nullptr ? nullptr : health.Judgement(id, *target);
  const uint64_t copied = move.adds && said != nullptr ? said->seeded_bytes : 0;
  const double seconds = static_cast<double>(view.now.wall_ms - move.begun_ms) / 1000;
  const double rate = seconds > 0 ? static_cast<double>(copied) / seconds : 0;
  const uint64_t bytes = line == nullptr ? 0 : line->bytes;
  const bool copies = target != nullptr && !target->in_sync && rate > 0;
  return {
      {"from", NodeName(view, move.from)},
      {"to", NodeName(view, move.to)},
      {"stage", stage},
      {"reason", move.reason},
      {"seconds", seconds},
      {"bytes",
       bytes},  // in memory; what a copy is sent has no index, and what only the base has comes on top
      {"copied_bytes", copied},
      {"copied_bytes_per_second", rate},  // since it began
      {"seconds_left", copies ? json(static_cast<double>(bytes - std::min(bytes, copied)) / rate) : json()},
      {"behind_bytes", said == nullptr ? 0 : said->behind_bytes},
      {"push_delay_ms", line == nullptr ? 0 : line->delay_ms},
      {"waits_for", NextMoveStep(health, id, settled, view.now.wall_ms).why}};
}

json ShardJson(const InspectView& view, ShardId id) {
  const ShardRecord& shard = view.state.data().shards[id];
  const ShardEntry& entry = view.shards[id];
  const ShardLine* line = view.nodes.Line(shard.node, id);
  if (line != nullptr && line->incarnation != shard.incarnation) line = nullptr;
  return {{"shard", id},
          {"state", ToString(entry.state)},
          {"node", shard.node},
          {"node_name", NodeName(view, shard.node)},
          {"endpoint", entry.endpoint},
          {"epoch", shard.epoch},
          {"incarnation", shard.incarnation},
          {"backups", BackupsJson(view, shard)},
          {"in_sync", IsThere(entry.state) ? CountInSync(shard) : 0},
          {"copies", view.state.data().copies},
          {"move", MoveJson(view, id)},
          {"not_drained", WhyNotDrained(CopyHealth(view.state, view.nodes, view.now.ms), id)},
          {"lsn", line ? line->applied : shard.highest},
          {"logged", line ? line->logged : shard.logged},
          {"synced", line ? line->synced : shard.synced},
          {"rows", line ? line->rows : 0},
          {"rows_per_second", view.nodes.loads().Of(id)},
          {"bytes", line ? line->bytes : 0},
          {"detail", entry.detail}};
}

json StatusJson(const InspectView& view) {
  const StateData& data = view.state.data();
  uint32_t counts[5] = {};
  for (const auto& entry : view.shards) ++counts[static_cast<size_t>(entry.state)];
  char cluster[20];
  std::snprintf(cluster, sizeof cluster, "%016llx", static_cast<unsigned long long>(data.cluster));
  json nodes = json::array(), jobs = json::array();
  for (const auto& [id, node] : data.nodes) nodes.push_back(NodeJson(view, node));
  for (const auto& [id, job] : data.jobs)
    jobs.push_back({{"id", id}, {"name", job.name}, {"state", ToString(job.state)}});
  return {{"cluster", cluster},
          {"name", view.cluster_name},
          {"version", PENSTOCK_VERSION},
          {"term", data.term},
          {"rewind", data.rewind},
          {"uptime_seconds", static_cast<double>(view.uptime_ms) / 1000},
          {"ready", view.ready},
          {"problems", view.problems},
          {"scheduler", {{"pid", view.pid}, {"log", view.log}}},
          {"nodes", nodes},
          {"shards",
           {{"total", view.shards.size()},
            {"serving", counts[static_cast<size_t>(ShardState::kServing)]},
            {"granting", counts[static_cast<size_t>(ShardState::kGranting)]},
            {"unavailable", counts[static_cast<size_t>(ShardState::kUnavailable)]},
            {"quarantined", counts[static_cast<size_t>(ShardState::kQuarantined)]},
            {"unplaced", counts[static_cast<size_t>(ShardState::kUnplaced)]}}},
          {"copies", {{"wanted", data.copies}, {"min", data.min_copies}, {"complete", CountComplete(view)}}},
          {"balance", data.balance},
          {"tables", data.tables.size()},
          {"jobs", jobs}};
}

// From 1 on, as everywhere where people see it.
uint32_t PassOf(const JobRecord& job) { return std::min(job.pass + 1, job.passes); }

json Loss(const Tally& pass) {
  if (pass.examples == 0) return nullptr;
  const double loss = pass.loss_sum / static_cast<double>(pass.examples);
  return std::abs(pass.loss_sum) >= kTooHugeLoss ? json(nullptr) : json(loss);
}

json JobJson(const InspectView& view, const JobRecord& job) {
  Tally present;  // of the pass that runs
  uint32_t done = 0;
  for (const auto& partition : job.partitions) {
    if (partition.state == PartitionState::kDone) ++done;
    if (job.phase != JobPhase::kTrain) continue;
    present += partition.before;
    present += partition.now;
  }
  uint64_t partitions = job.partitions.size();
  if (IsOver(job.state)) {
    partitions = job.train_partitions;
    if (job.state == JobState::kDone || job.phase != JobPhase::kTrain)
      done = static_cast<uint32_t>(partitions);
  }
  const auto seconds = [&](int64_t end_ms) {
    if (job.started_ms == 0) return 0.0;
    int64_t until = end_ms != 0 ? end_ms : view.now.wall_ms;
    if (job.state == JobState::kPaused) until = std::min(until, job.paused_at_ms);
    return static_cast<double>(std::max<int64_t>(until - job.started_ms - job.paused_ms, 0)) / 1000;
  };
  const BestPass best = FindBest(job.history, job.policy);
  const uint64_t examples = job.trained.examples + present.examples;
  const double training = seconds(job.trained_ms);
  return {{"id", job.id},
          {"name", job.name},
          {"state", ToString(job.state)},
          {"phase", IsOver(job.state) ? json(nullptr) : json(ToString(job.phase))},
          {"pass", PassOf(job)},
          {"passes", job.passes},
          {"consistency", job.policy.ssp()    ? "ssp"
                          : job.policy.sync() ? "sync"
                                              : "async"},
          {"round", job.round},
          {"rounds", job.policy.rounds * job.passes},
          {"partitions_done", done},
          {"partitions", partitions},
          {"examples", examples},
          {"examples_total", job.train_records * job.passes},
          {"loss", Loss(present.examples > 0 ? present : job.last_pass)},
          {"seconds", seconds(job.ended_ms)},
          {"examples_per_second", training > 0 ? static_cast<double>(examples) / training : 0.0},
          {"bad_records", job.trained.bad_records + present.bad_records},
          {"stopped", job.stopped},
          {"evaluated", job.history.empty() ? json(nullptr) : json(job.history.back())},
          {"best_pass", best.pass == 0 ? json(nullptr) : json(best.pass)},
          // What may be why it stands still.
          {"problems", job.state == JobState::kRunning ? json(view.problems) : json::array()},
          {"error", job.error}};
}

// Those of its tables that have not been dropped.
json TableNames(const InspectView& view, const JobRecord& job) {
  json names = json::array();
  for (const TableId id : job.tables) {
    if (auto spec = view.state.data().tables.find(id); spec != view.state.data().tables.end())
      names.push_back(spec->second.name);
  }
  return names;
}

json Results(const std::vector<std::string>& over, const JobRecord& job, JobPhase phase) {
  json list = json::array();
  for (const auto& result : over) list.push_back(json::parse(result, nullptr, false));
  if (job.phase != phase || !job.finishing) return list;
  for (const auto& partition : job.partitions) {
    if (partition.state == PartitionState::kDone)
      list.push_back(json::parse(partition.result, nullptr, false));
  }
  return list;
}

json JobDetail(const InspectView& view, const JobRecord& job) {
  json out = JobJson(view, job);
  out["spec"] = json::parse(job.spec, nullptr, false);
  out["limit_files"] = job.limit_files;
  out["evaluations"] = {{"train", Results(job.train_results, job, JobPhase::kEvaluateTrain)},
                        {"test", Results(job.test_results, job, JobPhase::kEvaluateTest)}};
  out["history"] = job.history;
  out["tables"] = TableNames(view, job);
  json leases = json::array();
  LeaseOrder order;
  for (size_t i = 0; i < job.partitions.size(); ++i) {
    const PartitionRecord& partition = job.partitions[i];
    const bool leased = partition.state == PartitionState::kLeased;
    const int64_t held_ms = std::max<int64_t>(view.now.wall_ms - partition.leased_ms, 0);
    leases.push_back({{"phase", ToString(job.phase)},
                      {"pass", PassOf(job)},
                      {"partition", i},
                      {"position", order.PositionOf(job, static_cast<uint32_t>(i))},
                      {"state", ToString(partition.state)},
                      {"worker", NodeName(view, partition.node)},
                      {"recorded", partition.recorded},
                      {"examples", partition.before.examples + partition.now.examples},
                      {"held_seconds", leased ? json(static_cast<double>(held_ms) / 1000) : json(nullptr)},
                      {"producer", partition.producer}});
  }
  out["leases"] = leases;
  out["servers"] = CountAlive(view, NodeRole::kServer);
  out["workers"] = CountAlive(view, NodeRole::kWorker);
  return out;
}

json ClocksJson(const InspectView& view, const JobRecord& job) {
  json workers = json::array();
  for (const auto& line : view.clocks.Lines(job.id)) {
    workers.push_back({{"node", line.node},
                       {"worker", NodeName(view, line.node)},
                       {"clock", line.known ? json(line.clock) : json(nullptr)},
                       {"works", line.holds}});
  }
  return {{"id", job.id},
          {"name", job.name},
          {"staleness", job.policy.staleness},
          {"minimum", view.clocks.Known(job.id) ? json(view.clocks.Minimum(job.id)) : json(nullptr)},
          {"workers", workers},
          {"tables", TableNames(view, job)}};
}

// By id, or the latest of that name.
const JobRecord* LookUpJob(const ClusterState& state, const std::string& name) {
  if (const auto id = ParseNumber(name)) {
    if (const JobRecord* job = state.FindJob(*id)) return job;
  }
  const auto& jobs = state.data().jobs;
  for (auto it = jobs.rbegin(); it != jobs.rend(); ++it) {
    if (it->second.name == name) return &it->second;
  }
  return nullptr;
}

}  // namespace

Result<json> Inspect(const InspectView& view, const std::string& what, const std::string& name) {
  const StateData& data = view.state.data();
  json list = json::array();
  if (what == "status") return StatusJson(view);
  if (what == "nodes") {
    for (const auto& [id, node] : data.nodes) list.push_back(NodeJson(view, node));
    return list;
  }
  if (what == "shards") {
    for (ShardId id = 0; id < data.shards.size(); ++id) list.push_back(ShardJson(view, id));
    return list;
  }
  if (what == "events") {
    const auto after = name.empty() ? std::optional<uint32_t>(0) : ParseNumber(name);
    if (!after) return InvalidArgument("events after '" + name + "': must be the number of one");
    for (const Event& event : data.events) {
      if (event.number > *after) list.push_back(event);
    }
    return list;
  }
  if (what == "tables") {
    for (const auto& [id, spec] : data.tables) list.push_back(spec);
    return list;
  }
  if (what == "jobs") {
    for (const auto& [id, job] : data.jobs) list.push_back(JobJson(view, job));
    return list;
  }
  if (what == "shard") {
    const auto id = ParseNumber(name);
    if (id && *id < data.shards.size()) return ShardJson(view, *id);
    return NotFound(StrCat("there is no shard '", name, "', shards are 0 to ", data.shards.size() - 1));
  }
  if (what == "table") {
    if (const TableSpec* spec = view.state.FindTable(name)) return json(*spec);
    return NotFound("there is no table '" + name + "'");
  }
  if (what == "clocks") {
    if (const JobRecord* job = LookUpJob(view.state, name)) return ClocksJson(view, *job);
    return NotFound("there is no job '" + name + "'");
  }
  if (what == "job") {
    if (const JobRecord* job = LookUpJob(view.state, name)) return JobDetail(view, *job);
    return NotFound("there is no job '" + name + "'");
  }
  return InvalidArgument(
      "inspect '" + what +
      "': allowed are status, nodes, shards, shard, tables, table, jobs, job, clocks, plan, "
      "events");
}

}  // namespace penstock
