// DataService::expire: an operator's scans of expiry, answered in portions.
#include <algorithm>

#include "common/cluster/wire.h"
#include "server/node/data_service.h"

namespace penstock {
namespace {

constexpr uint64_t kExpireAnswerMs = 2000;  // clients take a server that is silent for much longer for hung
constexpr uint32_t kAskAgainMs = 20;

}  // namespace

Result<std::shared_ptr<Expirer::Scan>> DataService::BeginExpire(proto::DataPlane::ExpireParams::Reader params,
                                                                const ServerCore::Found& found) {
  PENSTOCK_RETURN_IF_ERROR(found.status);
  const TableId table = params.getTable();
  const TableSpec* spec = found.shard->FindSpec(table);
  if (spec == nullptr) return core_.UnknownTable(table);
  if (!spec->expiry.any()) {
    return FailedPrecondition("table '" + spec->name + "' has no rules of expiry");
  }
  return expirer_.Ask(params.getRun(), found.shard->id(), table, params.getDryRun());
}

kj::Promise<void> DataService::expire(ExpireContext context) {
  auto params = context.getParams();
  auto in = params.getShards();
  const Status status = CheckShards(1, in.size());
  WriteStatus(status, context.getResults().initStatus());
  if (!status.ok()) return kj::READY_NOW;
  std::vector<Result<std::shared_ptr<Expirer::Scan>>> begun;
  std::vector<std::shared_ptr<Expirer::Scan>> scans;
  for (auto ref : in) {
    begun.push_back(BeginExpire(params, core_.Find(ref.getShard(), ref.getEpoch())));
    if (begun.back().ok()) scans.push_back(*begun.back());
  }
  return expirer_.Wait(scans, kExpireAnswerMs)
      .then([this, context]() mutable -> kj::Promise<Status> {
        if (context.getParams().getDryRun()) return Status::Ok();
        std::vector<ShardId> shards;
        for (auto ref : context.getParams().getShards()) shards.push_back(ref.getShard());
        return core_.Flush(shards);
      })
      .then([this, context, begun = std::move(begun)](Status&& logged) mutable {
        auto results = context.getResults();
        if (!logged.ok()) WriteStatus(OutcomeUnknown(logged.message()), results.initStatus());
        auto in = context.getParams().getShards();
        auto shards = results.initShards(in.size());
        auto tallies = results.initTallies(in.size());
        for (uint32_t i = 0; i < in.size(); ++i) {
          Status status = begun[i].status();
          if (status.ok()) {
            const Expirer::Scan& scan = **begun[i];
            status = scan.done ? scan.status : Unavailable("the scan goes on", kAskAgainMs);
            tallies[i].setRows(scan.tally.rows);
            results.setRows(results.getRows() + scan.tally.rows);
            results.setExpired(results.getExpired() + scan.tally.expired());
            tallies[i].setTtl(scan.tally.ttl);
            tallies[i].setUnusedPasses(scan.tally.unused_passes);
            tallies[i].setMinNorm(scan.tally.min_norm);
          }
          SetResult(status, shards[i]);
          const auto found = core_.Find(in[i].getShard(), in[i].getEpoch());
          shards[i].setEpoch(found.epoch);
          if (found.status.ok()) shards[i].setLogged(found.slot->Logged());
        }
      });
}

}  // namespace penstock
