// RunOrder: the commands with which an operator changes something in the cluster.
#pragma once

#include "client/client.h"
#include "tools/cli/arguments.h"
#include "tools/cli/console.h"

namespace penstock {

// job pause, resume, cancel and rm; node drain, undrain and remove; shard accept-loss, force and move;
// cluster copies and rebalance; table drop. What was done is said, and what could not be done is an error.
Result<int> RunOrder(Client& client, const Arguments& arguments, Console& console);

}  // namespace penstock
