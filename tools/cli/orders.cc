#include "tools/cli/orders.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "client/admin.h"
#include "common/base/strings.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/print.h"
#include "tools/cli/rebalance.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr auto kNoProgress = std::chrono::seconds(5);
constexpr auto kLookEvery = std::chrono::milliseconds(200);

// Says what was done.
Result<int> Done(Console& console, const Status& status, const std::string& what) {
  if (!status.ok()) return status;
  console.out << what << "\n";
  return kExitOk;
}

Result<int> PauseOrder(Client& client, const Arguments& a, Console& console) {
  return Done(console, Admin(client).PauseJob(a.id), StrCat("job ", a.id, " is paused"));
}

Result<int> ResumeOrder(Client& client, const Arguments& a, Console& console) {
  return Done(console, Admin(client).ResumeJob(a.id), StrCat("job ", a.id, " goes on"));
}

Result<int> CancelOrder(Client& client, const Arguments& a, Console& console) {
  return Done(console, Admin(client).CancelJob(a.id), StrCat("job ", a.id, " is cancelled"));
}

// What becomes of the weights is said with their names.
Result<int> RemoveJobOrder(Client& client, const Arguments& a, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const json job, Admin(client).Inspect("job", std::to_string(a.id)));
  std::vector<std::string> tables;
  for (const json& name : job.value("tables", json::array())) tables.push_back(name.get<std::string>());
  const std::string named = StrJoin(tables, ", ");
  return Done(
      console, Admin(client).RemoveJob(a.id, a.drop_tables),
      StrCat("job ", a.id, " is removed",
             tables.empty()  ? ""
             : a.drop_tables ? StrCat(", and its tables: ", named)
                             : StrCat("; its tables stay: ", named, " (`penstock table drop NAME`)")));
}

Result<int> RemoveNodeOrder(Client& client, const Arguments& a, Console& console) {
  return Done(console, Admin(client).RemoveNode(a.id),
              StrCat("node ", a.id, " is removed; it is taken up again should it come back"));
}

Result<int> FoldOrder(Client& client, const Arguments&, Console& console) {
  return Done(console, Admin(client).Fold(),
              "all servers fold their logs now; penstock_server_log_bytes says how much is left");
}

Result<int> DropTableOrder(Client& client, const Arguments& a, Console& console) {
  return Done(console, client.DropTable(a.name), StrCat("table '", a.name, "' is dropped"));
}

Result<int> ForceOrder(Client& client, const Arguments& a, Console& console) {
  return Done(console, Admin(client).ForceShard(a.id, a.node),
              StrCat("shard ", a.id, " goes on with the copy of node ", a.node));
}

// By name or id.
Result<NodeId> FindServer(const json& nodes, const std::string& wanted) {
  std::vector<std::string> names;
  for (const json& node : nodes) {
    if (node.value("role", "") != "server") continue;
    const std::string name = node.value("name", "");
    if (name == wanted || std::to_string(node.value("id", 0u)) == wanted) return node.value("id", 0u);
    names.push_back(name);
  }
  return NotFound(StrCat("there is no server '", wanted, "', there are ", StrJoin(names, ", ")));
}

// One after the other: what stands against one of them does not keep the others.
Result<int> EachShard(const std::vector<uint32_t>& shards, Console& console, const std::string& what,
                      const std::function<Status(uint32_t)>& order) {
  Status failed;
  for (const uint32_t shard : shards) {
    const Status done = order(shard);
    if (done.ok()) {
      console.out << "shard " << shard << " " << what << "\n";
    } else if (failed.ok()) {
      failed = done;
    } else {
      console.err << "penstock: " << done.message() << "\n";
    }
  }
  if (!failed.ok()) return failed;
  return kExitOk;
}

Result<int> MoveOrder(Client& client, const Arguments& a, Console& console) {
  if (a.cancel) {
    return EachShard(a.ids, console, "does not move",
                     [&](uint32_t shard) { return Admin(client).MoveShard(shard, 0, 0); });
  }
  if (a.to.empty()) return InvalidArgument("shard move: --to NODE or --cancel must be given");
  PENSTOCK_ASSIGN_OR_RETURN(const json nodes, Admin(client).Inspect("nodes"));
  PENSTOCK_ASSIGN_OR_RETURN(const NodeId to, FindServer(nodes, a.to));
  NodeId from = 0;
  if (!a.from.empty()) {
    PENSTOCK_ASSIGN_OR_RETURN(from, FindServer(nodes, a.from));
  }
  return EachShard(a.ids, console, StrCat("moves to ", a.to, " (`penstock shard ls`)"),
                   [&](uint32_t shard) { return Admin(client).MoveShard(shard, from, to); });
}

// What the server still holds, and why it does not go.
struct Left {
  size_t shards = 0, moving = 0;
  std::map<std::string, std::vector<uint32_t>> why;  // the shards of each reason
};

Result<Left> LeftOn(Client& client, NodeId node) {
  PENSTOCK_ASSIGN_OR_RETURN(const json shards, Admin(client).Inspect("shards"));
  Left left;
  for (const json& shard : shards) {
    bool held = shard.value("node", 0u) == node;
    for (const json& backup : shard.at("backups")) held |= backup.value("node", 0u) == node;
    if (!held) continue;
    ++left.shards;
    const json& move = shard.at("move");
    left.moving += !move.is_null();
    std::string why = move.is_null() ? shard.value("not_drained", "") : move.value("waits_for", "");
    if (why.empty()) why = move.is_null() ? "others move first" : move.value("stage", "");
    left.why[why].push_back(shard.value("shard", 0u));
  }
  return left;
}

// Says how many are left as they go, and why when none has gone for a while.
Result<int> WaitUntilEmpty(Client& client, const Arguments& a, NodeId node, Console& console) {
  using Clock = std::chrono::steady_clock;
  const auto begun = Clock::now();
  auto progressed = begun;
  size_t before = SIZE_MAX;
  while (true) {
    PENSTOCK_ASSIGN_OR_RETURN(const Left left, LeftOn(client, node));
    if (left.shards == 0) {
      console.out << a.wanted << " holds nothing any more\n";
      return kExitOk;
    }
    const auto now = Clock::now();
    if (left.shards < before) {
      console.out << left.shards << " shards are left on " << a.wanted << "\n" << std::flush;
      progressed = now;
      before = left.shards;
    }
    const bool late = a.timeout_seconds > 0 && now - begun > std::chrono::duration<double>(a.timeout_seconds);
    if (late || now - progressed > kNoProgress) {
      for (const auto& [why, shards] : left.why) {
        const std::string others = shards.size() > 1 ? StrCat(" and ", shards.size() - 1, " others") : "";
        console.err << "penstock: shard " << shards.front() << others << ": " << why << "\n";
      }
      if (late) return kExitDeadline;
      if (left.moving == 0) return kExitUnhealthy;
      progressed = now;  // a large shard takes its time
    }
    std::this_thread::sleep_for(kLookEvery);
  }
}

Result<int> DrainOrder(Client& client, const Arguments& a, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const json nodes, Admin(client).Inspect("nodes"));
  PENSTOCK_ASSIGN_OR_RETURN(const NodeId node, FindServer(nodes, a.wanted));
  PENSTOCK_RETURN_IF_ERROR(Admin(client).DrainNode(node, true));
  if (a.wait) return WaitUntilEmpty(client, a, node, console);
  return Done(console, Status::Ok(), StrCat(a.wanted, " is drained; `penstock shard ls` shows what moves"));
}

Result<int> UndrainOrder(Client& client, const Arguments& a, Console& console) {
  PENSTOCK_ASSIGN_OR_RETURN(const json nodes, Admin(client).Inspect("nodes"));
  PENSTOCK_ASSIGN_OR_RETURN(const NodeId node, FindServer(nodes, a.wanted));
  return Done(console, Admin(client).DrainNode(node, false), StrCat(a.wanted, " may hold shards again"));
}

Result<std::vector<uint32_t>> Quarantined(Client& client) {
  PENSTOCK_ASSIGN_OR_RETURN(const json shards, Admin(client).Inspect("shards"));
  std::vector<uint32_t> ids;
  for (const json& shard : shards) {
    if (shard.value("state", "") == "quarantined") ids.push_back(shard.value("shard", 0u));
  }
  return ids;
}

Result<int> AcceptLossOrder(Client& client, const Arguments& a, Console& console) {
  std::vector<uint32_t> ids = a.ids;
  if (a.all) {
    PENSTOCK_ASSIGN_OR_RETURN(ids, Quarantined(client));
    if (ids.empty()) console.out << "no shard is quarantined: there is no loss to accept\n";
  }
  return EachShard(ids, console, "goes on with what is left of it",
                   [&](uint32_t shard) { return Admin(client).AcceptLoss(shard); });
}

Result<int> CopiesOrder(Client& client, const Arguments& a, Console& console) {
  if (a.wanted_copies) PENSTOCK_RETURN_IF_ERROR(Admin(client).SetCopies(*a.wanted_copies, a.min_copies));
  PENSTOCK_ASSIGN_OR_RETURN(const json status, Admin(client).Inspect("status"));
  const json copies = status.value("copies", json::object());
  if (a.output == OutputFormat::kJson) {
    console.out << RenderJson(copies);
    return kExitOk;
  }
  console.out << "copies of each shard: " << copies.value("wanted", 1) << ", at least "
              << copies.value("min", 1) << " in sync; " << copies.value("complete", 0) << " of "
              << status.value("shards", json::object()).value("total", 0) << " shards have all now\n";
  return kExitOk;
}

}  // namespace

Result<int> RunOrder(Client& client, const Arguments& arguments, Console& console) {
  using Order = Result<int> (*)(Client&, const Arguments&, Console&);
  static const std::map<std::string, Order> kOrders = {{"job pause", PauseOrder},
                                                       {"job resume", ResumeOrder},
                                                       {"job cancel", CancelOrder},
                                                       {"job rm", RemoveJobOrder},
                                                       {"node drain", DrainOrder},
                                                       {"node undrain", UndrainOrder},
                                                       {"node remove", RemoveNodeOrder},
                                                       {"table drop", DropTableOrder},
                                                       {"shard force", ForceOrder},
                                                       {"shard accept-loss", AcceptLossOrder},
                                                       {"shard move", MoveOrder},
                                                       {"cluster copies", CopiesOrder},
                                                       {"cluster rebalance", RebalanceOrder},
                                                       {"fold", FoldOrder}};
  const auto order = kOrders.find(arguments.command);
  if (order == kOrders.end()) return Internal("command '" + arguments.command + "' is not carried out");
  return order->second(client, arguments, console);
}

}  // namespace penstock
