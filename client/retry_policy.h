// RetryPolicy: what to do with a group of rows after each attempt to send it, and what to report when it is
// given up. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/cluster/held_before.h"

namespace penstock {

// What came of one attempt: the server's word about the group, or the failure of the call that carried it.
struct GroupOutcome {
  Code code = Code::kOk;
  uint32_t retry_after_ms = 0;
  Epoch epoch = 0;  // with kWrongEpoch: the one the server knows, 0 none
  Lsn lsn = 0;
  Lsn logged = 0;
  HeldBefore held;      // as the server says of the epoch that it answers in
  std::string message;  // with an error
  // The call failed after it was sent: the server may have received it, applied it or not.
  bool unanswered = false;
};

enum class RetryAction {
  kDone,
  kResend,      // at once: the map has been mended with the answer's epoch
  kRefreshMap,  // when the map has been looked at again
  kBackOff,     // after wait_ms, and a look at the map meanwhile
  kFail,
};

struct RetryDecision {
  RetryAction action = RetryAction::kDone;
  uint32_t wait_ms = 0;
};

// The life of one group in one call. `sent_epoch` is the epoch that the attempt named.
class GroupRetry {
 public:
  static constexpr uint32_t kMinBackOffMs = 10;
  static constexpr uint32_t kMaxBackOffMs = 1000;

  RetryDecision OnOutcome(const GroupOutcome& outcome, Epoch sent_epoch);
  // An attempt could not be made: no endpoint, or it was not reachable.
  void OnNotSent(Status status) { last_ = std::move(status); }

  bool ok() const { return ok_; }
  // An attempt was not answered, or its answer left the outcome open: the group may have been applied.
  bool open() const { return open_ && !ok_; }
  uint32_t attempts() const { return attempts_; }
  // Of the last attempt; ok before the first one.
  const Status& last() const { return last_; }

 private:
  uint32_t BackOff(uint32_t asked_ms);

  bool ok_ = false;
  bool open_ = false;
  uint32_t attempts_ = 0;
  uint32_t refusals_ = 0;  // so far, for the back-off
  Status last_;
};

}  // namespace penstock
