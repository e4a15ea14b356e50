// FollowJob: watches a job until it ends, and shows how far it is.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "client/client.h"
#include "common/base/status.h"
#include "tools/cli/console.h"
#include "tools/launch/interrupt.h"

namespace penstock {

struct FollowOptions {
  uint64_t poll_ms = 250;
  uint64_t line_ms = 1000;            // between plain lines
  uint64_t patience_ms = 10 * 60000;  // how long the scheduler may be away
};

// Inspect "job" of the ended job. kCancelled when a signal came: the job itself goes on. kUnavailable when
// the scheduler was away for too long. A scheduler that restarts is waited for, which is said once.
Result<nlohmann::json> FollowJob(Client& client, uint32_t job, const FollowOptions& options,
                                 InterruptSignals& signals, Console& console);

// What can pass while a scheduler restarts.
bool Passes(const Status& status);
// The element of inspect "jobs" with this id.
Result<nlohmann::json> FindJob(Client& client, uint32_t job);

}  // namespace penstock
