// penstock cluster rebalance: what would move, or has begun to, to even out bytes and load.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "client/client.h"
#include "tools/cli/arguments.h"
#include "tools/cli/console.h"

namespace penstock {

// Of inspect "plan": how many moves, with `explain` each of them and what servers have then. `begun`: they
// are carried out.
std::string PlanText(const nlohmann::json& plan, bool begun, bool explain);

Result<int> RebalanceOrder(Client& client, const Arguments& arguments, Console& console);

}  // namespace penstock
