// DispatchFsm: which groups of a client's calls go to which endpoint, and when again; what an answer means
// for each; and as what a call ends, at the latest by its deadline.
//
// Pure: events and times (milliseconds of a clock that only rises) in, actions out; no I/O, no threads. The
// Dispatcher performs the actions on a KJ loop, the simulation in its world. After every event: NextAction
// until there is none.
//
//   Start -> send -> OnConnected -> (the message) -> OnAnswer -> end
//                 -> OnNotConnected       |  done, resend at once, look at the map, wait, fail: GroupRetry
//
// One connection an endpoint; at most max_inflight_bytes of messages on each, the others wait their turn. An
// endpoint that was not reached, or that a message was not answered by, is connected to afresh. While an
// endpoint has been silent for silent_ms the map is looked at: what it owes goes to its successors as soon as
// there are any.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/grouped_call.h"
#include "client/map_fsm.h"
#include "client/producer_window.h"

namespace penstock {

struct DispatchOptions {
  uint64_t silent_ms = 500;
  uint64_t max_inflight_bytes = 16 << 20;  // an endpoint
};

class DispatchFsm {
 public:
  using CallPtr = std::shared_ptr<GroupedCall>;
  // Groups of a call that travel together.
  struct Message {
    CallPtr call;
    std::vector<uint32_t> groups;
    uint64_t bytes = 0;
  };
  using MessagePtr = std::shared_ptr<Message>;
  // What goes to an endpoint, until a message on it fails. The next one to that endpoint begins a new one.
  struct Channel {
    std::string endpoint;
    bool broken = false;
    uint64_t inflight_bytes = 0;
    std::deque<MessagePtr> queue;
    std::vector<MessagePtr> sent;  // and not answered
    uint64_t heard_ms = 0;         // its last answer, or when it began to owe one
  };
  using ChannelPtr = std::shared_ptr<Channel>;
  // Who is woken by what was waited for. With no call: nobody.
  struct Waiting {
    std::weak_ptr<GroupedCall> call;
    std::vector<uint32_t> groups;
    std::vector<ChannelPtr> silent;
  };
  struct Action {
    enum class Kind {
      kSend,   // connect to the channel's endpoint, then OnConnected or OnNotConnected
      kDrop,   // end the connection to `endpoint`: messages on it come back unanswered
      kLook,   // look at the map, then OnWake
      kSleep,  // for `ms`, then OnWake
      kWatch,  // in `ms`: OnWatch
      kEnd,    // the call is over
    };
    Kind kind = Kind::kSend;
    ChannelPtr channel;
    MessagePtr message;
    CallPtr call;
    Waiting waiting;
    uint64_t ms = 0;
    std::string endpoint;
    Status status;
  };

  DispatchFsm(MapFsm& map, const DispatchOptions& options) : map_(map), options_(options) {}

  // Sends it; it ends at once if it has no groups. To be followed by OnDeadline after its deadline_ms, unless
  // it has ended.
  void Start(CallPtr call);
  void OnDeadline(const CallPtr& call);
  // Ends all calls with kCancelled and forgets them.
  void Cancel();

  // True: the message is to be sent now, each of its groups in its sent_epoch, and OnAnswer follows. False:
  // nobody waits for it any more.
  bool OnConnected(const ChannelPtr& channel, const MessagePtr& message, uint64_t now_ms);
  void OnNotConnected(const ChannelPtr& channel, const MessagePtr& message, const Status& status);
  // A Status in place of an answer: there was none, or (kPermissionDenied) the peer is none of ours. Returns
  // what the answer said of its shards, valid until the next event.
  std::span<const UnitPosition> OnAnswer(const ChannelPtr& channel, const MessagePtr& message,
                                         Result<GroupedCall::Answer> answer, uint64_t now_ms);
  void OnWake(const Waiting& waiting, uint64_t now_ms);
  void OnWatch(uint64_t now_ms);

  std::optional<Action> NextAction();

  // What keeps the call waiting that was begun the longest ago, of those that have waited for `for_ms` and
  // failed before: "pull: table 'user', shard 17 (node 2 at ...): unavailable: ...". Empty: there is none.
  std::string Waits(uint64_t now_ms, uint64_t for_ms) const;

 private:
  void Do(Action action) { actions_.push_back(std::move(action)); }
  void Pump(const CallPtr& call);
  // False: the shard is not to be had now; the group is parked or the call failed.
  bool Place(GroupedCall& call, uint32_t group);
  void Enqueue(const CallPtr& call, const std::string& endpoint, std::vector<uint32_t> groups);
  void Feed(const ChannelPtr& channel);
  // The outcomes of a message that failed as a whole.
  static std::vector<GroupOutcome> Refused(const Message& message, const Status& status, bool unanswered);
  void Apply(const CallPtr& call, const std::vector<uint32_t>& groups,
             const std::vector<GroupOutcome>& outcomes);
  void Break(const ChannelPtr& channel);
  bool Silent(const Channel& channel, uint64_t now_ms) const;
  // A shard that a message to `channel` was sent for is served elsewhere by now.
  bool Superseded(const Channel& channel) const;
  void WaitForMap(const CallPtr& call, std::vector<uint32_t> groups);
  // For a look that nobody waits for.
  void Look() { Do({.kind = Action::Kind::kLook}); }

  void Settle(const CallPtr& call);
  void End(const CallPtr& call, Status status);
  Status DeadlineStatus(const GroupedCall& call) const;
  static Status FailureStatus(const GroupedCall& call);
  std::shared_ptr<const std::string> Where(const ShardEntry& entry);

  MapFsm& map_;
  const DispatchOptions options_;
  // The last place that was named: groups of one message share it.
  uint32_t where_node_ = 0;
  std::string where_endpoint_;
  std::shared_ptr<const std::string> where_;
  std::unordered_map<std::string, ChannelPtr> channels_;
  bool watching_ = false;
  std::unordered_map<GroupedCall*, CallPtr> calls_;  // that have not ended
  std::vector<Action> actions_;
  size_t next_action_ = 0;
  std::vector<UnitPosition> seen_;  // of the last answer
};

}  // namespace penstock
