#include "tools/cli/rebalance.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/strings.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/print.h"

namespace penstock {
namespace {

using nlohmann::json;

const std::vector<Column> kMoveColumns = {
    {"SHARD", "shard"},  {"FROM", "from"}, {"TO", "to"}, {"WHAT", "what"}, {"BYTES", "bytes", Show::kBytes},
    {"REASON", "reason"}};
const std::vector<Column> kServerColumns = {{"SERVER", "name"},
                                            {"LEADS", "primaries/before", Show::kCount},
                                            {"THEN", "primaries/after", Show::kCount},
                                            {"COPIES", "copies/before", Show::kCount},
                                            {"THEN", "copies/after", Show::kCount},
                                            {"BYTES", "bytes/before", Show::kBytes},
                                            {"THEN", "bytes/after", Show::kBytes},
                                            {"ROWS/S", "rows_per_second/before", Show::kCount},
                                            {"THEN", "rows_per_second/after", Show::kCount}};

}  // namespace

std::string PlanText(const json& plan, bool begun, bool explain) {
  const json moves = plan.value("moves", json::array());
  std::string text;
  if (moves.empty()) {
    text = "nothing is to be gained: no shard moves\n";
  } else {
    text = StrCat(moves.size(), moves.size() == 1 ? " move" : " moves",
                  begun ? " to do, with " : " would be done, with ",
                  FormatBytes(plan.value("moved_bytes", uint64_t{0})), " to copy",
                  begun ? " (`penstock shard ls` shows those that have begun)" : "", "\n");
  }
  if (explain) {
    if (!moves.empty()) StrAppend(&text, "\n", RenderTable(moves, kMoveColumns));
    StrAppend(&text, "\n", RenderTable(plan.value("servers", json::array()), kServerColumns));
  }
  for (const json& left : plan.value("not_drained", json::array())) {
    StrAppend(&text, "shard ", left.value("shard", 0u), " stays on ", left.value("server", "?"), ": ",
              left.value("why", "?"), "\n");
  }
  if (const std::string waits = plan.value("waits_for", "");
      !waits.empty() && !begun && !plan.value("begun", false))
    StrAppend(&text, "by itself nothing moves now, but away from drained servers: ", waits, "\n");
  for (const json& note : plan.value("notes", json::array())) StrAppend(&text, note.get<std::string>(), "\n");
  return text;
}

Result<int> RebalanceOrder(Client& client, const Arguments& a, Console& console) {
  if (!a.word.empty()) {
    const bool on = a.word == "on";
    PENSTOCK_RETURN_IF_ERROR(Admin(client).Rebalance(on ? Admin::Balance::kOn : Admin::Balance::kOff));
    console.out << (on ? "shards move by themselves to even out what servers hold and do\n"
                       : "shards do not move by themselves any more, but away from drained servers\n");
    return kExitOk;
  }
  PENSTOCK_ASSIGN_OR_RETURN(const json plan, Admin(client).Inspect("plan"));
  const bool moves = !plan.value("moves", json::array()).empty();
  if (!a.dry_run && moves) PENSTOCK_RETURN_IF_ERROR(Admin(client).Rebalance(Admin::Balance::kNow));
  console.out << (a.output == OutputFormat::kJson ? RenderJson(plan) : PlanText(plan, !a.dry_run, a.explain));
  return kExitOk;
}

}  // namespace penstock
