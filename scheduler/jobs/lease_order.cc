#include "scheduler/jobs/lease_order.h"

#include <algorithm>
#include <tuple>

#include "common/base/shuffle.h"

namespace penstock {

std::vector<uint32_t> PartitionOrder(const TrainPolicy& policy, uint32_t pass, uint32_t partitions) {
  return PartitionOrder(policy.shuffle, policy.seed, pass, partitions);
}

LeaseOrder::Order& LeaseOrder::Find(const JobRecord& job) {
  Order& order = orders_[job.id];
  if (order.phase == job.phase && order.pass == job.pass && order.partitions.size() == job.partitions.size())
    return order;
  order.phase = job.phase;
  order.pass = job.pass;
  const auto partitions = static_cast<uint32_t>(job.partitions.size());
  const TrainPolicy policy = job.phase == JobPhase::kTrain ? job.policy : TrainPolicy{.shuffle = false};
  order.done = 0;
  order.partitions = PartitionOrder(policy, job.pass, partitions);
  order.positions.resize(partitions);
  for (uint32_t i = 0; i < partitions; ++i) order.positions[order.partitions[i]] = i;
  return order;
}

std::span<const uint32_t> LeaseOrder::OpenOf(const JobRecord& job) {
  Order& order = Find(job);
  const auto done = [&](size_t position) {
    return job.partitions[order.partitions[position]].state == PartitionState::kDone;
  };
  // Another evaluation after the same pass, or a rewind.
  if (order.done > 0 && !done(0)) order.done = 0;
  while (order.done < order.partitions.size() && done(order.done)) {
    ++order.done;
  }
  return std::span(order.partitions).subspan(order.done);
}

uint32_t LeaseOrder::PositionOf(const JobRecord& job, uint32_t partition) {
  return Find(job).positions[partition];
}

JobId FairShare::Next() {
  const auto rank = [this](const auto& offer) {
    const auto served = served_.find(offer.first);
    return std::tuple(offer.second, served == served_.end() ? 0 : served->second);
  };
  const auto next = std::min_element(offers_.begin(), offers_.end(),
                                     [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  ++next->second;
  Serve(next->first);
  return next->first;
}

}  // namespace penstock
