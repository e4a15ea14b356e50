#include "worker/train/lease_task.h"

#include <glog/logging.h>

#include <chrono>

namespace penstock {

std::string LeaseInfo::Describe() const {
  std::string text = "job '" + job_name + "' (" + std::to_string(job) + "), ";
  switch (phase) {
    case proto::Lease::Phase::TRAIN:
      text += "pass " + std::to_string(pass + 1);
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
                 .best = lease.getBest(),
                 .rewind = lease.getRewind(),
                 .limit_files = lease.getLimitFiles()};
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

uint64_t LeaseTask::NowMs() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

LeaseTask::LeaseTask(LeaseInfo info, uint64_t lease_ms, uint64_t asked_ms)
    : info_(std::move(info)), run_({.rewind = info_.rewind, .lease_ms = lease_ms}, asked_ms) {
  progress_.recorded = info_.begin;
  progress_.clock = info_.clock;
}

Status LeaseTask::CheckHeld() {
  Status held = run_.MayPush(NowMs());
  if (!held.ok() && !said_ended_) {
    said_ended_ = true;
    LOG(WARNING) << info_.Describe() << ": the lease has ended: " << held.message();
  }
  return held;
}

Status LeaseTask::MayPush() {
  std::lock_guard lock(mutex_);
  return CheckHeld();
}

void LeaseTask::Drop(const std::string& why) {
  std::lock_guard lock(mutex_);
  run_.End(why);
  (void)CheckHeld();
}

void LeaseTask::Renew(uint64_t sent_ms) {
  std::lock_guard lock(mutex_);
  run_.Renew(sent_ms);
}

void LeaseTask::OnRewindNumber(uint64_t number) {
  std::lock_guard lock(mutex_);
  run_.OnRewindNumber(number);
  (void)CheckHeld();
}

void LeaseTask::Plan(uint64_t count, size_t limit) {
  std::lock_guard lock(mutex_);
  run_.Plan(count, limit);
}

LeaseStep LeaseTask::Next(const LeaseWindow& window) {
  std::lock_guard lock(mutex_);
  (void)CheckHeld();
  const LeaseReport report = run_.Report(window);
  progress_.answered = report.answered;
  progress_.pushed = report.pushed;
  return run_.Next(window, NowMs());
}

void LeaseTask::Note(const Status& status) {
  std::lock_guard lock(mutex_);
  run_.Note(status);
}

Status LeaseTask::failure() const {
  std::lock_guard lock(mutex_);
  return run_.failure();
}

void LeaseTask::Rewound() {
  std::lock_guard lock(mutex_);
  run_.Rewound();
}

Status LeaseTask::Conclude(const LeaseWindow& window) {
  std::lock_guard lock(mutex_);
  const LeaseReport report = run_.Report(window);
  progress_.done = report.done;
  return report.error;
}

}  // namespace penstock
