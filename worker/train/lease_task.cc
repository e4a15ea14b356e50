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

namespace {

constexpr size_t kKnownJobs = 16;  // texts of megabytes where there are many partitions

// Jobs are given out one after the other: the oldest is not asked for again soon.
void KeepFew(JobSpecs* specs, uint32_t wanted) {
  while (specs->size() > kKnownJobs) {
    const auto oldest = specs->begin()->first == wanted ? std::next(specs->begin()) : specs->begin();
    specs->erase(oldest);
  }
}

}  // namespace

Result<LeaseInfo> ReadLease(proto::Lease::Reader lease, JobSpecs* specs) {
  LeaseInfo info{.job = lease.getJob(),
                 .job_name = lease.getJobName().cStr(),
                 .spec = nullptr,
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
  if (lease.getSpec().size() > 0) {
    auto spec = nlohmann::json::parse(lease.getSpec().cStr(), nullptr, /*allow_exceptions=*/false);
    if (spec.is_discarded()) return InvalidArgument(info.Describe() + ": its specification is not JSON");
    (*specs)[info.job] = std::make_shared<const nlohmann::json>(std::move(spec));
    KeepFew(specs, info.job);
  }
  const auto known = specs->find(info.job);
  if (known == specs->end()) return InvalidArgument(info.Describe() + ": it came without its specification");
  info.spec = known->second;
  if (info.partition >= info.partitions) {
    return InvalidArgument(info.Describe() + ": there are " + std::to_string(info.partitions) +
                           " partitions");
  }
  return info;
}

}  // namespace penstock
