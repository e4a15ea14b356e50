// DiskTrouble: what keeps a server from writing what it must, in words for an operator.
#pragma once

#include <string>

#include "common/base/strings.h"
#include "server/node/fold_runner.h"
#include "server/node/node_file.h"
#include "server/node/server_metrics.h"
#include "server/storage/delta_log.h"

namespace penstock {

struct DiskTrouble {
  std::string text;      // what is wrong now, and why; empty: nothing is
  bool refuses = false;  // calls are refused until it is over
};

// Writing first: without it no push counts. The metric follows.
inline DiskTrouble LookForDiskTrouble(const DeltaLog& log, const FoldRunner& folds, const NodeFile& file,
                                      uint64_t limit_bytes, ServerMetrics& metrics) {
  DiskTrouble trouble;
  const auto add = [&](bool refuses, auto&&... parts) {
    StrAppend(&trouble.text, trouble.text.empty() ? "" : "; ", parts...);
    trouble.refuses |= refuses;
  };
  if (const Status failure = log.failure(); !failure.ok())
    add(true, "pushes are refused until the log can be written: ", failure.message());
  if (const Status failure = folds.failure(); !failure.ok())
    add(false, "the log cannot be folded: ", failure.message());
  if (const Status failure = file.failure(); !failure.ok())
    add(true, "new tables and terms are not taken until they can be written down: ", failure.message());
  if (const uint64_t bytes = metrics.log_bytes; bytes > limit_bytes) {
    add(true, "pushes are refused until a fold has shortened the log: it has ", bytes,
        " bytes, server.log_limit_bytes allows ", limit_bytes);
  }
  metrics.trouble = !trouble.text.empty();
  return trouble;
}

}  // namespace penstock
