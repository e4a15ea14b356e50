#include "tools/cli/orders.h"

#include <map>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/strings.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/print.h"

namespace penstock {
namespace {

using nlohmann::json;

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

Result<std::vector<uint32_t>> Quarantined(Client& client) {
  PENSTOCK_ASSIGN_OR_RETURN(const json shards, Admin(client).Inspect("shards"));
  std::vector<uint32_t> ids;
  for (const json& shard : shards) {
    if (shard.value("state", "") == "quarantined") ids.push_back(shard.value("shard", 0u));
  }
  return ids;
}

// One after the other: what stands against one of them does not keep the others.
Result<int> AcceptLossOrder(Client& client, const Arguments& a, Console& console) {
  std::vector<uint32_t> ids = a.ids;
  if (a.all) {
    PENSTOCK_ASSIGN_OR_RETURN(ids, Quarantined(client));
    if (ids.empty()) console.out << "no shard is quarantined: there is no loss to accept\n";
  }
  Status failed;
  for (const uint32_t id : ids) {
    const Status accepted = Admin(client).AcceptLoss(id);
    if (accepted.ok()) {
      console.out << "shard " << id << " goes on with what is left of it\n";
    } else if (failed.ok()) {
      failed = accepted;
    } else {
      console.err << "penstock: " << accepted.message() << "\n";
    }
  }
  if (!failed.ok()) return failed;
  return kExitOk;
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
  static const std::map<std::string, Order> kOrders = {
      {"job pause", PauseOrder},        {"job resume", ResumeOrder},
      {"job cancel", CancelOrder},      {"job rm", RemoveJobOrder},
      {"node remove", RemoveNodeOrder}, {"table drop", DropTableOrder},
      {"shard force", ForceOrder},      {"shard accept-loss", AcceptLossOrder},
      {"cluster copies", CopiesOrder},  {"fold", FoldOrder}};
  const auto order = kOrders.find(arguments.command);
  if (order == kOrders.end()) return Internal("command '" + arguments.command + "' is not carried out");
  return order->second(client, arguments, console);
}

}  // namespace penstock
