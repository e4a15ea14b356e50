// CommittedState: the cluster's state together with the log that makes its changes last.
//
// One thread. A command is checked first, then made durable, then applied: a failed write leaves the state as
// it was.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "common/base/status.h"
#include "scheduler/state/cluster_state.h"

namespace penstock {

// Where commands are made durable (journal.h; in tests, memory).
class CommandLog {
 public:
  virtual ~CommandLog() = default;
  // Returns when `command` is durable. An error: it is not, and may be appended again; the message names the
  // directory.
  virtual Status Append(const Command& command, int64_t at_ms) = 0;
};

class CommittedState {
 public:
  // `wall_ms`: since 1970, when a command is made; empty: it does not matter.
  CommittedState(ClusterState state, CommandLog& log, std::function<int64_t()> wall_ms = {})
      : state_(std::move(state)), log_(log), wall_ms_(std::move(wall_ms)) {}

  const ClusterState& operator*() const { return state_; }
  const ClusterState* operator->() const { return &state_; }
  const StateData& data() const { return state_.data(); }

  Status Commit(const Command& command);
  // Of the log; ok again after the next command that it took.
  const Status& log_status() const { return log_status_; }
  uint64_t commits() const { return commits_; }

 private:
  ClusterState state_;
  CommandLog& log_;
  const std::function<int64_t()> wall_ms_;
  Status log_status_;
  uint64_t commits_ = 0;
};

}  // namespace penstock
