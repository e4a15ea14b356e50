#include "client/expire_operation.h"

#include <utility>

#include "client/shard_groups.h"
#include "common/cluster/wire.h"

namespace penstock {

ExpireOperation::ExpireOperation(uint64_t deadline_ms, const ExpiryRun& run, uint32_t shards,
                                 Completion<ExpiryReport> done)
    : Operation(deadline_ms, GroupsOf(AllShards(shards))), run_(run), done_(std::move(done)) {}

kj::Promise<Operation::Answer> ExpireOperation::Send(proto::DataPlane::Client& server,
                                                     std::span<const uint32_t> groups) {
  auto call = server.expireRequest();
  call.setTable(run_.table);
  call.setDryRun(run_.dry_run);
  call.setRun(run_.run);
  WriteShards(*this, groups, call.initShards(groups.size()));
  return call.send().then(
      [this, count = groups.size()](capnp::Response<proto::DataPlane::ExpireResults>&& results) -> Answer {
        const Status status = ReadStatus(results.getStatus());
        if (!status.ok()) return status;
        return Readable(Read(results, count), count);
      });
}

Operation::Answer ExpireOperation::Read(proto::DataPlane::ExpireResults::Reader results, size_t groups) {
  Answer answer = ReadShards(results.getShards(), groups);
  if (!answer.ok() || over_) return answer;
  const auto tallies = results.getTallies();
  if (tallies.size() != groups)
    return Malformed(std::to_string(tallies.size()) + " tallies of " + std::to_string(groups));
  for (size_t i = 0; i < groups; ++i) {
    if ((*answer)[i].code != Code::kOk) continue;
    report_.rows += tallies[i].getRows();
    report_.ttl += tallies[i].getTtl();
    report_.unused_passes += tallies[i].getUnusedPasses();
    report_.min_norm += tallies[i].getMinNorm();
  }
  return answer;
}

void ExpireOperation::Complete(Status status) {
  over_ = true;
  if (status.ok()) {
    done_(report_);
  } else {
    done_(std::move(status));
  }
}

}  // namespace penstock
