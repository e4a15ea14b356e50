#include "scheduler/state/committed_state.h"

#include <glog/logging.h>

namespace penstock {

Status CommittedState::Commit(const Command& command) {
  PENSTOCK_RETURN_IF_ERROR(state_.Check(command));
  const bool failed_before = !log_status_.ok();
  const int64_t at_ms = wall_ms_ ? wall_ms_() : 0;
  log_status_ = log_.Append(command, at_ms);
  if (!log_status_.ok()) {
    // Once, not with every command of a full disk's minutes.
    if (!failed_before) LOG(ERROR) << log_status_.ToString();
    return log_status_;
  }
  if (failed_before) LOG(INFO) << "the journal takes commands again";
  const Status applied = state_.Apply(command, at_ms);
  CHECK(applied.ok()) << applied.ToString();  // it was checked against the same state
  ++commits_;
  return Status::Ok();
}

}  // namespace penstock
