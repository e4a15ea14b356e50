#include "common/cluster/node_session.h"

#include <glog/logging.h>
#include <unistd.h>

#include <algorithm>

#include "common/base/log.h"
#include "common/base/machine.h"

namespace penstock {
namespace {

// Between two heartbeats, also when each is answered at once.
constexpr uint64_t kLeastPauseMs = 20;

}  // namespace

kj::Promise<void> NodeSession::Run() {
  const uint64_t begun_ms = NowMs();
  ask_again_ = false;
  return Next()
      .catch_([this](kj::Exception&& e) { Complain(Internal(e.getDescription().cStr())); })
      .then([this, begun_ms] { return loop_.Sleep(PauseMs(begun_ms)); })
      .then([this] { return Run(); });
}

uint64_t NodeSession::NowMs() const {
  return static_cast<uint64_t>((loop_.timer().now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS);
}

uint64_t NodeSession::PauseMs(uint64_t begun_ms) const {
  if (!ask_again_) return heartbeat_ms_;
  const uint64_t least = std::min(kLeastPauseMs, heartbeat_ms_);
  const uint64_t passed = NowMs() - begun_ms;
  return passed >= least ? 0 : least - passed;
}

kj::Promise<void> NodeSession::Next() { return session_ == 0 ? Register() : Heartbeat(); }

template <typename Response>
Status NodeSession::StatusOf(Result<Response>& response) {
  if (response.ok()) return ReadStatus((*response).getStatus());
  scheduler_.Drop();
  return response.status();
}

void NodeSession::Complain(const Status& status) {
  if (status.code() == Code::kPermissionDenied) host_.OnRefused(status);
  if (status.message() == last_complaint_) return;
  last_complaint_ = status.message();
  LOG(WARNING) << name_ << ": " << status.ToString();
}

kj::Promise<void> NodeSession::Register() {
  return scheduler_.Get().then([this](Result<proto::Scheduler::Client>&& scheduler) -> kj::Promise<void> {
    if (!scheduler.ok()) {
      Complain(scheduler.status());
      return kj::READY_NOW;
    }
    auto request = kj::heap(scheduler->registerRequest());
    auto filled = host_.FillRegister(*request);
    return filled.then([this, request = kj::mv(request)]() mutable {
      request->setPid(static_cast<uint32_t>(::getpid()));
      request->setLogPath(LogFile());
      if (!request->hasHost()) request->setHost(MachineName());
      using Response = capnp::Response<proto::Scheduler::RegisterResults>;
      return WithDeadline<Response>(loop_.timer(), 10 * 1000, request->send(), "register with the scheduler")
          .then([this](Result<Response>&& response) {
            Status status = StatusOf(response);
            if (status.ok() && (*response).getTerm() < term_) {
              status = Unavailable("a scheduler of term " + std::to_string((*response).getTerm()) +
                                   " answered, term " + std::to_string(term_) + " was seen before");
            }
            if (status.ok()) status = host_.OnRegistered(*response);
            if (!status.ok()) return Complain(status.Prepend("register"));
            node_ = (*response).getNode();
            session_ = (*response).getSession();
            term_ = (*response).getTerm();
            last_complaint_.clear();
            ask_again_ = true;  // to hear what it shall hold
            LOG(INFO) << name_ << ": registered as node " << node_ << " with the scheduler of term " << term_;
          });
    });
  });
}

kj::Promise<void> NodeSession::ReportLast() {
  if (session_ == 0) return kj::READY_NOW;
  auto sent =
      scheduler_.Get().then([this](Result<proto::Scheduler::Client>&& scheduler) -> kj::Promise<void> {
        if (scheduler.ok()) return SendLast(*scheduler);
        Complain(scheduler.status());
        return kj::READY_NOW;
      });
  return loop_.timer()
      .timeoutAfter(kLastReportMs * kj::MILLISECONDS, kj::mv(sent))
      .catch_([this](kj::Exception&& e) {
        LOG(WARNING) << name_
                     << ": the scheduler has not heard the last report: " << e.getDescription().cStr();
      });
}

kj::Promise<void> NodeSession::SendLast(proto::Scheduler::Client scheduler) {
  auto request = kj::heap(scheduler.heartbeatRequest());
  request->setNode(node_);
  request->setSession(session_);
  auto filled = host_.FillHeartbeat(*request);
  return filled.then([this, request = kj::mv(request)]() mutable {
    request->setHold(false);
    // Its connections are closed by now, which says nothing of those at the other end.
    for (auto shard : request->getShards()) shard.disownBackups();
    return request->send().then([this](capnp::Response<proto::Scheduler::HeartbeatResults>&& response) {
      if (Status status = ReadStatus(response.getStatus()); !status.ok())
        Complain(status.Prepend("last report"));
    });
  });
}

kj::Promise<void> NodeSession::Heartbeat() {
  return scheduler_.Get().then([this](Result<proto::Scheduler::Client>&& scheduler) -> kj::Promise<void> {
    if (!scheduler.ok()) {
      Complain(scheduler.status());
      return kj::READY_NOW;
    }
    auto request = kj::heap(scheduler->heartbeatRequest());
    request->setNode(node_);
    request->setSession(session_);
    auto filled = host_.FillHeartbeat(*request);
    return filled.then([this, request = kj::mv(request)]() mutable {
      using Response = capnp::Response<proto::Scheduler::HeartbeatResults>;
      const bool held = request->getHold();
      return WithDeadline<Response>(loop_.timer(), 10 * 1000 + heartbeat_ms_, request->send(), "heartbeat")
          .then([this, held](Result<Response>&& response) {
            Status status = StatusOf(response);
            if (status.code() == Code::kFailedPrecondition) {
              LOG(WARNING) << name_ << ": the session has ended, registering again: " << status.message();
              session_ = 0;
              return;
            }
            if (status.ok() && (*response).getTerm() < term_) {
              status = Unavailable("a scheduler of term " + std::to_string((*response).getTerm()) +
                                   " answered, term " + std::to_string(term_) + " was seen before");
            }
            if (status.ok()) {
              term_ = (*response).getTerm();
              status = host_.OnHeartbeat(*response);
            }
            if (!status.ok()) return Complain(status.Prepend("heartbeat"));
            last_complaint_.clear();
            ask_again_ = held;
          });
    });
  });
}

}  // namespace penstock
