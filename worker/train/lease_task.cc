#include "worker/train/lease_task.h"

namespace penstock {

std::string LeaseInfo::Describe() const {
  std::string text = "job '" + job_name + "' (" + std::to_string(job) + "), ";
  switch (phase) {
    case proto::Lease::Phase::TRAIN:
      text += "pass " + std::to_string(pass);
      break;
    case proto::Lease::Phase::EVALUATE_TRAIN:
      text += "evaluation on training data";
      break;
    case proto::Lease::Phase::EVALUATE_TEST:
      text += "evaluation on test data";
      break;
    case proto::Lease::Phase::KEEP_BEST:
      text += "copy of the best weights";
      break;
  }
  return text + ", partition " + std::to_string(partition);
}

Result<LeaseInfo> ReadLease(proto::Lease::Reader lease) {
  LeaseInfo info{.job = lease.getJob(),
                 .job_name = lease.getJobName().cStr(),
                 .spec = nlohmann::json::parse(lease.getSpec().cStr(), nullptr, /*allow_exceptions=*/false),
                 .phase = lease.getPhase(),
                 .pass = lease.getPass(),
                 .partition = lease.getPartition(),
                 .partitions = lease.getPartitions(),
                 .token = lease.getToken(),
                 .producer = lease.getProducer(),
                 .begin = lease.getBegin(),
                 .position = lease.getPosition(),
                 .clock = lease.getClock(),
                 .best = lease.getBest()};
  if (info.spec.is_discarded()) return InvalidArgument(info.Describe() + ": its specification is not JSON");
  if (info.partition >= info.partitions) {
    return InvalidArgument(info.Describe() + ": there are " + std::to_string(info.partitions) +
                           " partitions");
  }
  return info;
}

}  // namespace penstock
