// SchedulerService: decodes the control plane's RPCs (proto/control.capnp), checks what peers send, and
// answers from ControlPlane.
//
// One capability for all connections; lives on the scheduler's loop. Every answer carries a Status; nothing
// is thrown at a peer.
#pragma once

#include <functional>

#include "proto/control.capnp.h"
#include "scheduler/control_plane.h"
#include "scheduler/waiting_room.h"

namespace penstock {

class SchedulerService final : public proto::Scheduler::Server {
 public:
  SchedulerService(ControlPlane& plane, WaitingRoom& room, std::function<Now()> clock)
      : plane_(plane), room_(room), clock_(std::move(clock)) {}

  kj::Promise<void> register_(RegisterContext context) override;
  kj::Promise<void> heartbeat(HeartbeatContext context) override;
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

 private:
  Status Register(RegisterContext& context);
  Status Heartbeat(HeartbeatContext& context);
  void FillWantedState(proto::Scheduler::HeartbeatParams::Reader params, const HeartbeatAnswer& answer,
                       proto::Scheduler::HeartbeatResults::Builder results);

  // Answer when there is something to say, at `until_ms` at the latest.
  kj::Promise<void> AnswerClock(ClockContext context, uint64_t until_ms);
  kj::Promise<void> AnswerMinibatch(MinibatchContext context, SyncQuestion question, uint64_t until_ms);

  ControlPlane& plane_;
  WaitingRoom& room_;
  const std::function<Now()> clock_;
};

}  // namespace penstock
