#include "worker/train/best_copy.h"

#include <absl/container/flat_hash_set.h>

#include <algorithm>

#include "data/minibatch_plan.h"

namespace penstock {
namespace {

constexpr uint32_t kExamplesAtATime = 1024;
constexpr size_t kPieceFloats = size_t{1} << 20;

}  // namespace

void BestCopy::Cut(const Examples& examples) {
  const size_t tables = context_.tables().size();
  std::vector<absl::flat_hash_set<Key>> needed(tables);
  const MinibatchPlan plan(kExamplesAtATime, /*shuffle=*/false, 0, 0, 0, examples.size());
  Batch batch;
  PreparedBatch prepared;
  for (uint64_t k = 0; k < plan.count(); ++k) {
    examples.Gather(plan.Indices(k), &batch);
    context_.model().Prepare(batch, Purpose::kTrain, &prepared);
    for (size_t t = 0; t < tables; ++t) needed[t].insert(prepared.keys[t].begin(), prepared.keys[t].end());
  }
  for (size_t t = 0; t < tables; ++t) {
    std::vector<Key> keys(needed[t].begin(), needed[t].end());
    std::sort(keys.begin(), keys.end());
    const size_t rows = std::max<size_t>(1, kPieceFloats / context_.tables()[t].dim);
    for (size_t first = 0; first < keys.size(); first += rows) {
      const size_t last = std::min(keys.size(), first + rows);
      pieces_.push_back({t,
                         {keys.begin() + static_cast<std::ptrdiff_t>(first),
                          keys.begin() + static_cast<std::ptrdiff_t>(last)}});
    }
  }
}

Status BestCopy::CopyFrom(Producer& producer) {
  PENSTOCK_ASSIGN_OR_RETURN(const Sequence begin, producer.Rewind());
  for (Sequence k = begin; k < pieces_.size(); ++k) {
    const Piece& piece = pieces_[k];
    PENSTOCK_ASSIGN_OR_RETURN(const PullResult rows,
                              client_.Pull({{context_.tables()[piece.table].id, piece.keys}}).get());
    std::vector<TablePush> push;
    push.push_back({context_.best_tables()[piece.table].id, piece.keys, rows.values[0]});
    PENSTOCK_RETURN_IF_ERROR(client_.PushAt(producer, k, push).get().status());
    Report(producer);
    if (task_.dropped()) return Cancelled("the lease was taken away");
    if (producer.rewound()) return Unavailable("a shard came back with less than it had answered", 50);
  }
  while (producer.recorded() < pieces_.size()) {
    PENSTOCK_RETURN_IF_ERROR(client_.Flush());
    if (producer.rewound()) return Unavailable("a shard came back with less than it had answered", 50);
    if (task_.dropped()) return Cancelled("the lease was taken away");
  }
  return Status::Ok();
}

Status BestCopy::Run(const Examples& examples) {
  Cut(examples);
  auto producer = client_.AttachProducer(task_.info().producer, task_.info().begin);
  for (;;) {
    const Status status = CopyFrom(*producer);
    Report(*producer);
    if (task_.dropped()) return Status::Ok();
    if (status.ok()) {
      task_.Update([](LeaseProgress& p) { p.done = true; });
      return status;
    }
    if (!Patience::Passes(status.code())) return status;
    patience_.Wait(task_, status);
  }
}

void BestCopy::Report(const Producer& producer) {
  const uint64_t recorded = std::min<uint64_t>(producer.recorded(), pieces_.size());
  task_.Update([&](LeaseProgress& p) { p.recorded = recorded; });
}

}  // namespace penstock
