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

Status BestCopy::Copy(Producer& producer, Sequence k) {
  const Piece& piece = pieces_[k];
  PENSTOCK_ASSIGN_OR_RETURN(const PullResult rows,
                            client_.Pull({{context_.tables()[piece.table].id, piece.keys}}).get());
  std::vector<TablePush> push;
  push.push_back({context_.best_tables()[piece.table].id, piece.keys, rows.values[0]});
  PENSTOCK_RETURN_IF_ERROR(task_.MayPush());
  return client_.PushAt(producer, k, push, {.rewind = task_.info().rewind}).get().status();
}

Status BestCopy::Run(const Examples& examples) {
  Cut(examples);
  auto producer = client_.AttachProducer(task_.info().producer, task_.info().begin);
  task_.Plan(pieces_.size(), 1);
  for (Sequence next = task_.info().begin;;) {
    const LeaseWindow window{
        .next = next, .recorded = producer->recorded(), .in_flight = 0, .rewound = producer->rewound()};
    Status came;
    switch (task_.Next(window)) {
      case LeaseStep::kMinibatch:
        came = Copy(*producer, next);
        next += came.ok();
        break;
      case LeaseStep::kAwait:
        break;  // nothing is in flight between two steps
      case LeaseStep::kRewind: {
        PENSTOCK_ASSIGN_OR_RETURN(next, patience_.Rewind(task_, *producer));
        break;
      }
      case LeaseStep::kFlush:
        came = client_.Flush();
        break;
      case LeaseStep::kEnd:
        return task_.Conclude(window);
    }
    task_.Note(came);
    Report(*producer);
  }
}

void BestCopy::Report(const Producer& producer) {
  const uint64_t recorded = std::min<uint64_t>(producer.recorded(), pieces_.size());
  task_.Update([&](LeaseProgress& p) { p.recorded = recorded; });
}

}  // namespace penstock
