#include "common/cluster/scheduler_link.h"

namespace penstock {

kj::Promise<Result<proto::Scheduler::Client>> SchedulerLink::Get() {
  auto endpoint = ResolveAddress(address_);
  if (!endpoint.ok()) return Result<proto::Scheduler::Client>(endpoint.status());
  endpoint_ = *endpoint;
  return connections_.Get(endpoint_).then(
      [](Result<capnp::Capability::Client>&& service) -> Result<proto::Scheduler::Client> {
        if (!service.ok()) return service.status().Prepend("scheduler");
        return service->castAs<proto::Scheduler>();
      });
}

}  // namespace penstock
