#include "common/cluster/node_session.h"

#include <glog/logging.h>

namespace penstock {

kj::Promise<void> NodeSession::Run() {
  return Next()
      .catch_([this](kj::Exception&& e) { Complain(Internal(e.getDescription().cStr())); })
      .then([this] { return loop_.Sleep(heartbeat_ms_); })
      .then([this] { return Run(); });
}

kj::Promise<void> NodeSession::Next() { return session_ == 0 ? Register() : Heartbeat(); }

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
      using Response = capnp::Response<proto::Scheduler::RegisterResults>;
      return WithDeadline<Response>(loop_.timer(), 10 * 1000, request->send(), "register with the scheduler")
          .then([this](Result<Response>&& response) {
            Status status = response.ok() ? ReadStatus((*response).getStatus()) : response.status();
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
            LOG(INFO) << name_ << ": registered as node " << node_ << " with the scheduler of term " << term_;
          });
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
      return WithDeadline<Response>(loop_.timer(), 10 * 1000, request->send(), "heartbeat")
          .then([this](Result<Response>&& response) {
            Status status = response.ok() ? ReadStatus((*response).getStatus()) : response.status();
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
          });
    });
  });
}

}  // namespace penstock
