// DataService: decodes the data plane's calls on one core, checks every size before any loop, and answers
// from the core.
//
// One capability a core, shared by all its connections; lives on the core's loop.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "proto/data.capnp.h"
#include "server/node/cold_pull.h"
#include "server/node/core.h"
#include "server/node/expirer.h"
#include "server/node/push_clocks.h"
#include "server/node/wire_values.h"

namespace penstock {

class DataService : public virtual proto::DataPlane::Server {
 public:
  DataService(KjLoop& loop, ServerCore& core, Expirer& expirer, ServerMetrics& metrics)
      : loop_(loop), core_(core), expirer_(expirer), metrics_(metrics) {}

  kj::Promise<void> pull(PullContext context) override;
  kj::Promise<void> push(PushContext context) override;
  kj::Promise<void> flush(FlushContext context) override;
  kj::Promise<void> stats(StatsContext context) override;
  kj::Promise<void> commitRound(CommitRoundContext context) override;
  kj::Promise<void> expire(ExpireContext context) override;
  kj::Promise<void> clocks(ClocksContext context) override;
  kj::Promise<void> fold(FoldContext context) override;

 private:
  // A push until all of its units are applied.
  struct Applying {
    Durability level = Durability::kMemory;  // what must be waited for then
    std::vector<DeltaRef> deltas;            // in which shards
    uint64_t delay_ms = 0;                   // PushDelay, the longest of these shards
    std::vector<ValuesIn> values;
    std::vector<ValuesOut> pulled;
    kj::Vector<kj::Promise<void>> waiting;  // units with cold rows

    void Note(const ServerCore::Applied& applied) {
      if (!applied.status.ok()) return;
      level = std::max(level, applied.level);
      if (applied.level != Durability::kMemory) deltas.push_back(applied.delta);
    }
  };

  // The groups of the table that are answered with values go to `parts`, and the values to `values`. `room`:
  // bytes of values that the answer may still have.
  void PullTable(uint32_t table, proto::PullRequest::Table::Reader in, bool stored,
                 proto::PullResponse::Table::Builder out, uint64_t* room, std::vector<PullPart>* parts,
                 std::vector<ValuesOut>* values);
  // Applies the table's units.
  void PushTable(proto::PushRequest::Reader request, proto::PushRequest::Table::Reader in,
                 proto::PushResponse::Table::Builder out, Applying* applying);
  kj::Promise<void> FinishPush(PushContext context, Applying& applying);
  Result<std::shared_ptr<Expirer::Scan>> BeginExpire(proto::DataPlane::ExpireParams::Reader params,
                                                     const ServerCore::Found& found);
  static Status CheckShards(size_t tables, size_t shards);
  void NoteClock(proto::PushRequest::Reader request, proto::PushRequest::Table::Reader in,
                 proto::PushResponse::Table::Builder out);

  KjLoop& loop_;
  ServerCore& core_;
  Expirer& expirer_;
  ServerMetrics& metrics_;
  std::map<TableId, PushClocks> clocks_;  // of tables that workers of jobs have pushed into
};

}  // namespace penstock
