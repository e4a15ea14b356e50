// penstock events: what has happened to the cluster, from the journal of its scheduler.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "client/client.h"
#include "tools/cli/arguments.h"
#include "tools/cli/console.h"

namespace penstock {

// A line for each: its time (local), kind and text.
std::string EventsText(const nlohmann::json& events);

// With `follow` it goes on until the process is ended, as a line of JSON each where that is asked for.
Result<int> ShowEvents(Client& client, const Arguments& arguments, Console& console);

}  // namespace penstock
