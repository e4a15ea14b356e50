// NodeSession: a server's or worker's standing with the scheduler: registers, then reports up and takes
// wanted state down every heartbeat, and registers again whenever the scheduler says that the session has
// ended.
//
// A host that sets `hold` in its heartbeats is answered when there is something new, and the next heartbeat
// follows at once: what changes reaches it without delay, and what it reports is no older for it.
//
// Lives on its loop's thread. Answers of a lower term than one seen before are dropped and logged (rule 21).
// While the scheduler is away it goes on trying; nothing else stops.
#pragma once

#include <string>

#include "common/cluster/scheduler_link.h"
#include "common/net/kj_loop.h"

namespace penstock {

class NodeSession {
 public:
  // What the node says and hears. All called on the loop.
  class Host {
   public:
    virtual ~Host() = default;
    // Resolves when `params` is filled (role, node, name, endpoints, shards, highest term and map version).
    virtual kj::Promise<void> FillRegister(proto::Scheduler::RegisterParams::Builder params) = 0;
    // Fills shards, busy, tableVersion, and hold as it likes.
    virtual kj::Promise<void> FillHeartbeat(proto::Scheduler::HeartbeatParams::Builder params) = 0;
    // A failure here (of the disk, say) is logged and ends the session; it is tried again.
    virtual Status OnRegistered(proto::Scheduler::RegisterResults::Reader results) = 0;
    virtual Status OnHeartbeat(proto::Scheduler::HeartbeatResults::Reader results) = 0;
    // The scheduler refused this node for good (another cluster, a wrong token): the process should end with
    // this.
    virtual void OnRefused(Status status) = 0;
  };

  NodeSession(KjLoop& loop, SchedulerLink& scheduler, Host& host, std::string name, uint64_t heartbeat_ms)
      : loop_(loop),
        scheduler_(scheduler),
        host_(host),
        name_(std::move(name)),
        heartbeat_ms_(heartbeat_ms) {}

  // Never resolves; destroying it ends the session.
  kj::Promise<void> Run();
  // After that: one more heartbeat, of what the node has at its end; what it is told to hold the host does
  // not hear. Resolves when it is answered, or after kLastReportMs; that, and a refusal, is logged.
  kj::Promise<void> ReportLast();
  static constexpr uint64_t kLastReportMs = 1000;

  NodeId node() const { return node_; }
  uint64_t session() const { return session_; }  // 0: not registered now
  uint64_t term() const { return term_; }
  void set_term(uint64_t term) { term_ = term; }

 private:
  kj::Promise<void> Register();
  kj::Promise<void> Heartbeat();
  kj::Promise<void> Next();
  template <typename Response>
  Status StatusOf(Result<Response>& response);
  kj::Promise<void> SendLast(proto::Scheduler::Client scheduler);
  void Complain(const Status& status);
  uint64_t PauseMs(uint64_t begun_ms) const;
  uint64_t NowMs() const;

  KjLoop& loop_;
  SchedulerLink& scheduler_;
  Host& host_;
  const std::string name_;
  const uint64_t heartbeat_ms_;
  NodeId node_ = 0;
  uint64_t session_ = 0;
  uint64_t term_ = 0;
  // The last call was answered, and was a register, or a heartbeat that could be held.
  bool ask_again_ = false;
  std::string last_complaint_;  // so that an absent scheduler is logged once and not twice a second
};

}  // namespace penstock
