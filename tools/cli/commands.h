// The commands of `penstock`. Each gets the parsed command line and gives the code to end with, or the error
// that main prints and maps.
#pragma once

#include "common/base/status.h"
#include "tools/cli/arguments.h"
#include "tools/cli/console.h"

namespace penstock {

Result<int> RunUp(const Arguments& arguments, Console& console);
Result<int> RunDown(const Arguments& arguments, Console& console);
Result<int> RunTrain(const Arguments& arguments, Console& console);
Result<int> RunEvaluate(const Arguments& arguments, Console& console);
// status, node, job, shard and table.
Result<int> RunInspection(const Arguments& arguments, Console& console);
Result<int> RunBench(const Arguments& arguments, Console& console);
Result<int> RunConfig(const Arguments& arguments, Console& console);

}  // namespace penstock
