// SchedulerService: decodes the control plane's RPCs (proto/control.capnp), checks what peers send, and
// answers from ControlPlane.
//
// Heartbeats that ask for it are answered when there is something new to say to their node, or after
// `hold_ms` (scheduler.heartbeat_ms): so a promotion reaches the new primary at once, and nobody asks more
// often.
//
// One capability for all connections; lives on the scheduler's loop. Every answer carries a Status; nothing
// is thrown at a peer.
#pragma once

#include <glog/logging.h>

#include <functional>

#include "common/base/strings.h"
#include "common/cluster/wire.h"
#include "common/net/access.h"
#include "proto/control.capnp.h"
#include "scheduler/node/control_plane.h"
#include "scheduler/node/node_watch.h"
#include "scheduler/node/waiting_room.h"

namespace penstock {

class SchedulerService final : public proto::Scheduler::Server, public KnowsCaller {
 public:
  // `held` is where heartbeats wait: it must be woken after whatever else changes the plane.
  SchedulerService(ControlPlane& plane, WaitingRoom& room, WaitingRoom& held, NodeWatch& watch,
                   uint64_t hold_ms, std::function<Now()> clock)
      : plane_(plane), room_(room), held_(held), watch_(watch), hold_ms_(hold_ms), clock_(std::move(clock)) {}

  void BeginCall(const ProvenPeer& caller) override { caller_ = caller; }
  void OnClosed(uint64_t connection) override { watch_.OnClosed(connection); }
  kj::Promise<void> register_(RegisterContext context) override;
  kj::Promise<void> heartbeat(HeartbeatContext context) override;
  kj::Promise<void> cannotStart(CannotStartContext context) override;
  kj::Promise<void> shardMap(ShardMapContext context) override;
  kj::Promise<void> createTable(CreateTableContext context) override;
  kj::Promise<void> openTable(OpenTableContext context) override;
  kj::Promise<void> dropTable(DropTableContext context) override;
  kj::Promise<void> newProducers(NewProducersContext context) override;
  kj::Promise<void> submitJob(SubmitJobContext context) override;
  kj::Promise<void> cancelJob(CancelJobContext context) override;
  kj::Promise<void> pauseJob(PauseJobContext context) override;
  kj::Promise<void> resumeJob(ResumeJobContext context) override;
  kj::Promise<void> lease(LeaseContext context) override;
  kj::Promise<void> report(ReportContext context) override;
  kj::Promise<void> clock(ClockContext context) override;
  kj::Promise<void> minibatch(MinibatchContext context) override;
  kj::Promise<void> inspect(InspectContext context) override;
  kj::Promise<void> acceptLoss(AcceptLossContext context) override;
  kj::Promise<void> setCopies(SetCopiesContext context) override;
  kj::Promise<void> forceShard(ForceShardContext context) override;
  kj::Promise<void> moveShard(MoveShardContext context) override;
  kj::Promise<void> drainNode(DrainNodeContext context) override;
  kj::Promise<void> rebalance(RebalanceContext context) override;
  kj::Promise<void> removeJob(RemoveJobContext context) override;
  kj::Promise<void> removeNode(RemoveNodeContext context) override;

 private:
  // What a node was told last.
  struct Told {
    uint64_t session = 0;
    WantedState wanted;
  };

  // Runs a method's body, puts its Status into the answer, and lets held answers look again.
  template <typename Context, typename Fn>
  kj::Promise<void> Answer(Context& context, Fn fn) {
    Status status;
    try {
      status = fn();
    } catch (const std::exception& e) {
      status = Internal(StrCat("scheduler: ", e.what()));
      LOG(ERROR) << status.ToString();
    }
    WriteStatus(status, context.getResults().initStatus());
    WakeHeld();
    return kj::READY_NOW;
  }
  void WakeHeld();
  // Whether what the caller says of terms, versions and shards counts.
  bool OfNode() const { return caller_.access == Access::kNode || caller_.access == Access::kEverything; }
  void NoteHeard(NodeId node);

  Status MayServe(NodeRole role, std::string_view method) const;
  Status Register(RegisterContext& context);
  Result<HeartbeatAnswer> Beat(proto::Scheduler::HeartbeatParams::Reader params);
  bool WorthSaying(proto::Scheduler::HeartbeatParams::Reader params, const WantedState& wanted) const;
  kj::Promise<void> AnswerHeartbeat(HeartbeatContext context, Result<HeartbeatAnswer> answer,
                                    uint64_t until_ms);
  void FillWantedState(proto::Scheduler::HeartbeatParams::Reader params, const HeartbeatAnswer& answer,
                       proto::Scheduler::HeartbeatResults::Builder results);

  // Answer when there is something to say, at `until_ms` at the latest.
  kj::Promise<void> AnswerClock(ClockContext context, uint64_t until_ms);
  kj::Promise<void> AnswerMinibatch(MinibatchContext context, SyncQuestion question, uint64_t until_ms);

  ControlPlane& plane_;
  WaitingRoom& room_;
  WaitingRoom& held_;
  NodeWatch& watch_;
  const uint64_t hold_ms_;
  const std::function<Now()> clock_;
  ProvenPeer caller_;           // of the call that begins
  uint64_t woken_version_ = 0;  // of the plane, when the held ones looked last
  std::map<NodeId, Told> told_;
};

}  // namespace penstock
