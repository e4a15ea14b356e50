#include "worker/train/lease_forecast.h"

#include "common/base/shuffle.h"

namespace penstock {

std::optional<uint32_t> LeaseForecast::After(const LeaseInfo& lease, const JobTrain& train) {
  if (lease.phase == phase_ && lease.pass == pass_ && lease.position > position_)
    stride_ = lease.position - position_;
  phase_ = lease.phase;
  pass_ = lease.pass;
  position_ = lease.position;
  uint32_t pass = lease.pass;
  uint64_t next = uint64_t{lease.position} + stride_;
  if (next >= lease.partitions) {
    next -= lease.partitions;
    if (!lease.training() || ++pass >= train.passes || next >= lease.partitions) return std::nullopt;
  }
  return PartitionOrder(lease.training() && train.shuffle, train.seed, pass, lease.partitions)[next];
}

}  // namespace penstock
