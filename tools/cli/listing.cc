#include "tools/cli/listing.h"

#include <map>
#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "tools/cli/print.h"
#include "tools/cli/progress.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr size_t kMostEndedJobs = 10;

const std::vector<Column> kShardColumns = {{"SHARD", "shard"},
                                           {"STATE", "state"},
                                           {"SERVER", "node_name"},
                                           {"ENDPOINT", "endpoint"},
                                           {"COPIES", "copies_text"},
                                           {"BACKUPS", "backups_text"},
                                           {"EPOCH", "epoch"},
                                           {"LSN", "lsn"},
                                           {"LOGGED", "logged"},
                                           {"SYNCED", "synced"},
                                           {"ROWS", "rows", Show::kCount},
                                           {"BYTES", "bytes", Show::kBytes},
                                           {"DETAIL", "detail"}};

// A shard with its copies in words: "2/2", and "server-2, server-3 (seeding)". Of one that is not there, how
// many copies were in sync is nothing to go by.
json WithCopies(json shard) {
  std::string backups;
  for (const json& backup : shard.value("backups", json::array())) {
    StrAppend(&backups, backups.empty() ? "" : ", ", backup.value("name", "?"),
              backup.value("state", "") == "in-sync" ? "" : " (seeding)");
  }
  const auto in_sync = shard.value("in_sync", uint64_t{0});
  if (in_sync > 0) shard["copies_text"] = StrCat(in_sync, "/", shard.value("copies", uint64_t{1}));
  if (!backups.empty()) shard["backups_text"] = backups;
  return shard;
}

bool IsWell(const json& shard) {
  return shard.value("state", "") == "serving" &&
         shard.value("in_sync", uint64_t{0}) >= shard.value("copies", uint64_t{1});
}

// How far the copy is that a move makes.
std::string CopiedText(const json& move) {
  const uint64_t copied = move.value("copied_bytes", uint64_t{0});
  std::string text;
  if (copied > 0) {
    StrAppend(&text, ", ", FormatBytes(copied), " of about ", FormatBytes(move.value("bytes", uint64_t{0})),
              " at ", FormatBytes(static_cast<uint64_t>(move.value("copied_bytes_per_second", 0.0))), "/s");
  }
  if (const json left = move.value("seconds_left", json()); left.is_number())
    StrAppend(&text, ", about ", static_cast<uint64_t>(left.get<double>() + 1), " s left");
  if (const uint64_t delay = move.value("push_delay_ms", uint64_t{0}); delay > 0) {
    StrAppend(&text, "; answers to pushes are delayed by ", delay, " ms, as the copy is ",
              FormatBytes(move.value("behind_bytes", uint64_t{0})), " behind");
  }
  return text;
}

// A line for each shard that moves.
std::string MovesText(const json& shards) {
  std::string text;
  for (const json& shard : shards) {
    const json move = shard.value("move", json());
    if (move.is_null()) continue;
    const std::string waits = move.value("waits_for", "");
    StrAppend(&text, text.empty() ? "\nMoving:\n" : "", "shard ", shard.value("shard", 0u), " from ",
              move.value("from", "?"), " to ", move.value("to", "?"), ", as ", move.value("reason", "?"),
              ": ", move.value("stage", "?"), CopiedText(move), waits.empty() ? "" : "; ", waits, "\n");
  }
  return text;
}

// What each server serves; a shard has its rows and bytes from its primary.
json ByServer(const json& shards) {
  std::map<std::string, json> servers;
  for (const json& shard : shards) {
    if (shard.value("state", "") != "serving") continue;
    const std::string name = shard.value("node_name", "");
    json& server = servers[name];
    if (server.is_null()) server = {{"server", name}, {"shards", 0}, {"rows", 0}, {"bytes", 0}};
    server["shards"] = server["shards"].get<uint64_t>() + 1;
    for (const char* sum : {"rows", "bytes"})
      server[sum] = server[sum].get<uint64_t>() + shard.value(sum, uint64_t{0});
  }
  json list = json::array();
  for (const auto& [name, server] : servers) list.push_back(server);
  return list;
}

}  // namespace

std::string ShardsText(const json& shards, bool all) {
  json shown = json::array();
  size_t well = 0;
  for (const json& shard : shards) {
    well += IsWell(shard);
    if (all || !IsWell(shard)) shown.push_back(WithCopies(shard));
  }
  if (all) return RenderTable(shown, kShardColumns) + MovesText(shards);
  std::string text = StrCat(well, " of ", shards.size(), " shards are served, with all their copies in sync",
                            well == shards.size() ? " (--all lists each)" : "", "\n");
  if (const json servers = ByServer(shards); !servers.empty()) {
    StrAppend(&text, "\n",
              RenderTable(servers, {{"SERVER", "server"},
                                    {"SERVES", "shards", Show::kCount},
                                    {"ROWS", "rows", Show::kCount},
                                    {"BYTES", "bytes", Show::kBytes}}));
  }
  if (!shown.empty()) StrAppend(&text, "\nThe others:\n", RenderTable(shown, kShardColumns));
  return text + MovesText(shards);
}

std::string ShardText(const json& shard) { return RenderFields(WithCopies(shard), kShardColumns); }

std::string JobsText(const json& jobs) {
  json shown = json::array();
  size_t ended = 0;
  for (auto job = jobs.rbegin(); job != jobs.rend(); ++job) {
    if (ReadProgress(*job).ended() && ++ended > kMostEndedJobs) continue;
    shown.insert(shown.begin(), *job);
  }
  if (shown.empty()) return "";
  std::string text = "\n" + RenderTable(shown, {{"JOB", "id"}, {"NAME", "name"}, {"STATE", "state"}});
  if (ended > kMostEndedJobs)
    StrAppend(&text, "and ", ended - kMostEndedJobs, " that ended before (`penstock job ls`)\n");
  return text;
}

}  // namespace penstock
