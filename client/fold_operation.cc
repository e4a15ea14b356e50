#include "client/fold_operation.h"

#include <utility>

#include "client/shard_groups.h"
#include "common/cluster/wire.h"

namespace penstock {

FoldOperation::FoldOperation(uint64_t deadline_ms, uint32_t shards, Completion<bool> done)
    : Operation(deadline_ms, GroupsOf(AllShards(shards))), done_(std::move(done)) {}

kj::Promise<Operation::Answer> FoldOperation::Send(proto::DataPlane::Client& server,
                                                   std::span<const uint32_t> groups) {
  return server.foldRequest().send().then(
      [count = groups.size()](capnp::Response<proto::DataPlane::FoldResults>&& results) -> Answer {
        const Status status = ReadStatus(results.getStatus());
        if (!status.ok()) return status;
        return std::vector<GroupOutcome>(count);
      });
}

void FoldOperation::Complete(Status status) {
  if (status.ok()) {
    done_(true);
  } else {
    done_(std::move(status));
  }
}

}  // namespace penstock
