#include "client/round_operations.h"

#include <algorithm>
#include <utility>

#include "client/shard_groups.h"
#include "common/cluster/wire.h"

namespace penstock {

CommitRoundOperation::CommitRoundOperation(uint64_t deadline_ms, RoundToCommit commit, uint32_t shards,
                                           Completion<bool> done)
    : Operation(deadline_ms, GroupsOf(AllShards(shards))),
      commit_(std::move(commit)),
      done_(std::move(done)) {}

kj::Promise<Operation::Answer> CommitRoundOperation::Send(proto::DataPlane::Client& server,
                                                          std::span<const uint32_t> groups) {
  auto call = server.commitRoundRequest();
  call.setRound(commit_.round);
  call.setExamples(commit_.examples);
  call.setStep(commit_.step);
  call.setRewind(commit_.rewind);
  auto tables = call.initTables(commit_.tables.size());
  for (size_t t = 0; t < commit_.tables.size(); ++t) tables.set(t, commit_.tables[t]);
  WriteShards(*this, groups, call.initShards(groups.size()));
  return call.send().then(
      [count = groups.size()](capnp::Response<proto::DataPlane::CommitRoundResults>&& results) -> Answer {
        const Status status = ReadStatus(results.getStatus());
        if (!status.ok()) return status;
        return Readable(ReadShards(results.getShards(), count), count);
      });
}

void CommitRoundOperation::Complete(Status status) {
  if (status.ok()) {
    done_(true);
  } else {
    done_(std::move(status));
  }
}

ClocksOperation::ClocksOperation(uint64_t deadline_ms, TableId table, uint32_t shards,
                                 Completion<std::vector<WorkerClock>> done)
    : Operation(deadline_ms, GroupsOf(AllShards(shards))), table_(table), done_(std::move(done)) {}

kj::Promise<Operation::Answer> ClocksOperation::Send(proto::DataPlane::Client& server,
                                                     std::span<const uint32_t> groups) {
  auto call = server.clocksRequest();
  call.setTable(table_);
  return call.send().then(
      [this, count = groups.size()](capnp::Response<proto::DataPlane::ClocksResults>&& results) -> Answer {
        const Status status = ReadStatus(results.getStatus());
        if (!status.ok()) return status;
        for (auto seen : results.getClocks()) {
          WorkerClock& clock = clocks_[seen.getWorker()];
          clock.worker = seen.getWorker();
          clock.clock = std::max(clock.clock, seen.getClock());
          clock.lead = std::max(clock.lead, seen.getLead());
        }
        return std::vector<GroupOutcome>(count);
      });
}

void ClocksOperation::Complete(Status status) {
  if (!status.ok()) return done_(std::move(status));
  std::vector<WorkerClock> all;
  for (const auto& [worker, clock] : clocks_) all.push_back(clock);
  done_(std::move(all));
}

}  // namespace penstock
