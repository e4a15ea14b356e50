// LogTrouble: what keeps a server's log from its work, in words for an operator.
#pragma once

#include <string>

#include "common/base/strings.h"
#include "server/node/fold_runner.h"
#include "server/node/server_metrics.h"
#include "server/storage/delta_log.h"

namespace penstock {

// What is wrong now, and why; empty: nothing is. Writing first: without it no push counts. The metric
// follows.
inline std::string LogTrouble(const DeltaLog& log, const FoldRunner& folds, uint64_t limit_bytes,
                              ServerMetrics& metrics) {
  std::string trouble;
  const auto add = [&](auto&&... parts) { StrAppend(&trouble, trouble.empty() ? "" : "; ", parts...); };
  if (const Status failure = log.failure(); !failure.ok())
    add("pushes are refused until the log can be written: ", failure.message());
  if (const Status failure = folds.failure(); !failure.ok())
    add("the log cannot be folded: ", failure.message());
  if (const uint64_t bytes = metrics.log_bytes; bytes > limit_bytes) {
    add("pushes are refused until a fold has shortened the log: it has ", bytes,
        " bytes, server.log_limit_bytes allows ", limit_bytes);
  }
  metrics.trouble = !trouble.empty();
  return trouble;
}

}  // namespace penstock
