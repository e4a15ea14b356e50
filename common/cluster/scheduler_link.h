// SchedulerLink: how a process reaches its scheduler, wherever that is listening now.
//
// Lives on its loop's thread. The address may be a file (see ResolveAddress), which is read again at every
// attempt, so a scheduler that came back on another port is found.
#pragma once

#include <memory>
#include <string>

#include "common/cluster/wire.h"
#include "common/net/connection_cache.h"
#include "proto/control.capnp.h"

namespace penstock {

class SchedulerLink {
 public:
  SchedulerLink(KjLoop& loop, ConnectionCache& connections, std::string address)
      : loop_(loop), connections_(connections), address_(std::move(address)) {}

  // One attempt. Errors name the scheduler and its address.
  kj::Promise<Result<proto::Scheduler::Client>> Get();
  // What was sent to it was not answered: the connection may be dead and nobody have said so. The next
  // attempt makes another.
  void Drop() { connections_.Drop(endpoint_); }

  // Sends the request that `make` builds and gives its answer, or a Status: of the connection, or the one in
  // the answer's `status`. Method M: e.g. [](proto::Scheduler::Client& s) { auto r = s.openTableRequest();
  // r.setName(...); return r; }
  template <typename Make>
  auto Call(std::string what, uint64_t deadline_ms, Make make) -> kj::Promise<Result<
      decltype(make(std::declval<proto::Scheduler::Client&>()).send().wait(std::declval<kj::WaitScope&>()))>>;

  const std::string& address() const { return address_; }

 private:
  KjLoop& loop_;
  ConnectionCache& connections_;
  const std::string address_;
  std::string endpoint_;  // of the last attempt
};

template <typename Make>
auto SchedulerLink::Call(std::string what, uint64_t deadline_ms, Make make) -> kj::Promise<Result<
    decltype(make(std::declval<proto::Scheduler::Client&>()).send().wait(std::declval<kj::WaitScope&>()))>> {
  using Response =
      decltype(make(std::declval<proto::Scheduler::Client&>()).send().wait(std::declval<kj::WaitScope&>()));
  return Get().then(
      [this, what = std::move(what), deadline_ms, make = std::move(make)](
          Result<proto::Scheduler::Client>&& scheduler) mutable -> kj::Promise<Result<Response>> {
        if (!scheduler.ok()) return Result<Response>(scheduler.status().Prepend(what));
        const std::string context = what + " (scheduler at " + endpoint_ + ")";
        return WithDeadline<Response>(loop_.timer(), deadline_ms, make(*scheduler).send(), context)
            .then([this, context, endpoint = endpoint_](Result<Response>&& response) -> Result<Response> {
              if (!response.ok()) {
                connections_.Drop(endpoint);  // broken or stuck: connect afresh next time
                return response;
              }
              const Status status = ReadStatus(response->getStatus());
              if (!status.ok()) return status.Prepend(context);
              return response;
            });
      });
}

}  // namespace penstock
