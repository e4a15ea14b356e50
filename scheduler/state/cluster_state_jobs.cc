// Commands about jobs: their partitions, leases, progress, passes and ends.
#include <algorithm>
#include <cmath>
#include <set>

#include "common/base/strings.h"
#include "scheduler/jobs/job_course.h"
#include "scheduler/state/cluster_state.h"

namespace penstock {

std::string_view ToString(JobState state) {
  constexpr std::string_view kNames[] = {"running", "done", "failed", "cancelled", "paused"};
  return kNames[static_cast<size_t>(state)];
}
std::string_view ToString(JobPhase phase) {
  constexpr std::string_view kNames[] = {"train", "evaluate_train", "evaluate_test", "keep_best"};
  return kNames[static_cast<size_t>(phase)];
}
std::string_view ToString(PartitionState state) {
  constexpr std::string_view kNames[] = {"free", "leased", "done"};
  return kNames[static_cast<size_t>(state)];
}

Status ClusterState::CheckLease(JobId id, uint32_t partition, LeaseToken token) const {
  const JobRecord* job = FindJob(id);
  if (job == nullptr || partition >= job->partitions.size() || job->partitions[partition].token != token ||
      job->partitions[partition].state != PartitionState::kLeased) {
    return Internal("job " + std::to_string(id) + " has no lease " + std::to_string(token) +
                    " of partition " + std::to_string(partition));
  }
  return Status::Ok();
}

// --- submission ---

Status ClusterState::CheckIt(const SubmitJob& c) const {
  if (c.job <= data_.last_job) return Internal("job " + std::to_string(c.job) + " is not a new one");
  if (c.train_partitions == 0 && (c.passes > 0 || c.evaluate_train))
    return Internal("a job without training partitions");
  if (c.test_partitions == 0 && c.evaluate_test) return Internal("a job without test partitions");
  if (c.passes == 0 && !c.evaluate_train && !c.evaluate_test) return Internal("a job with nothing to do");
  TableId next = data_.last_table + 1;
  std::set<std::string> names;
  for (const auto& spec : c.tables) {
    PENSTOCK_RETURN_IF_ERROR(CheckNewTable(spec, next++));
    if (!names.insert(spec.name).second) return InvalidArgument("table '" + spec.name + "' is named twice");
  }
  return Status::Ok();
}

void ClusterState::Do(const SubmitJob& c) {
  JobRecord job;
  job.id = c.job;
  job.name = c.name;
  job.spec = c.spec;
  job.passes = c.passes;
  job.train_partitions = c.train_partitions;
  job.train_records = c.train_records;
  job.test_partitions = c.test_partitions;
  job.evaluate_train = c.evaluate_train;
  job.evaluate_test = c.evaluate_test;
  job.policy = c.policy;
  job.submitted_ms = c.at_ms;
  job.phase = c.passes > 0       ? JobPhase::kTrain
              : c.evaluate_train ? JobPhase::kEvaluateTrain
                                 : JobPhase::kEvaluateTest;
  for (const auto& spec : c.tables) {
    AddTable(spec);
    job.tables.push_back(spec.id);
  }
  job.finishing = c.passes == 0;
  OpenStretch(job);
  data_.last_job = c.job;
  data_.jobs[c.job] = std::move(job);
}

// --- leases ---

Status ClusterState::CheckIt(const LeasePartitions& c) const {
  const NodeRecord* node = FindNode(c.node);
  if (node == nullptr || node->session != c.session)
    return Internal("no such session of node " + std::to_string(c.node));
  LeaseToken last_token = data_.last_token;
  ProducerId next_producer = data_.next_producer;
  std::set<std::pair<JobId, uint32_t>> seen;
  for (const auto& lease : c.leases) {
    const JobRecord* job = FindJob(lease.job);
    const bool free = job != nullptr && job->state == JobState::kRunning &&
                      lease.partition < job->partitions.size() &&
                      job->partitions[lease.partition].state == PartitionState::kFree;
    if (!free || !seen.emplace(lease.job, lease.partition).second) {
      return Internal("partition " + std::to_string(lease.partition) + " of job " +
                      std::to_string(lease.job) + " is not free");
    }
    if (lease.token <= last_token) return Internal("tokens must rise");
    last_token = lease.token;
    // The producer of a partition is given once; every later lease repeats it.
    const ProducerId given = job->partitions[lease.partition].producer;
    const ProducerId expected = !Pushes(job->phase) ? 0 : given != 0 ? given : next_producer++;
    if (lease.producer != expected) return Internal("a wrong producer " + std::to_string(lease.producer));
  }
  return Status::Ok();
}

void ClusterState::Do(const LeasePartitions& c) {
  for (const auto& lease : c.leases) {
    JobRecord& job = data_.jobs[lease.job];
    PartitionRecord& partition = job.partitions[lease.partition];
    partition.state = PartitionState::kLeased;
    partition.node = c.node;
    partition.session = c.session;
    partition.token = lease.token;
    partition.leased_ms = c.at_ms;
    partition.producer = lease.producer;
    data_.last_token = lease.token;
    data_.next_producer = std::max(data_.next_producer, lease.producer + 1);
    if (job.started_ms == 0) job.started_ms = c.at_ms;
  }
}

void ClusterState::FreePartition(PartitionRecord& partition) {
  partition.state = PartitionState::kFree;
  partition.node = 0;
  partition.session = 0;
  partition.token = 0;
  partition.before += partition.now;
  partition.now = {};
}

Status ClusterState::CheckIt(const FreeLeases& c) const {
  for (const auto& lease : c.leases)
    PENSTOCK_RETURN_IF_ERROR(CheckLease(lease.job, lease.partition, lease.token));
  return Status::Ok();
}

void ClusterState::Do(const FreeLeases& c) {
  for (const auto& lease : c.leases) {
    PartitionRecord& partition = data_.jobs[lease.job].partitions[lease.partition];
    FreePartition(partition);
    if (lease.failed) ++partition.failures;
  }
}

// --- progress ---

Status ClusterState::CheckIt(const RecordProgress& c) const {
  for (const auto& p : c.progress) {
    PENSTOCK_RETURN_IF_ERROR(CheckLease(p.job, p.partition, p.token));
    if (!std::isfinite(p.tally.loss_sum)) return Internal("a loss that is no number");
  }
  return Status::Ok();
}

void ClusterState::Progress(const LeaseProgressRecord& p) {
  PartitionRecord& partition = data_.jobs[p.job].partitions[p.partition];
  if (p.recorded > partition.recorded) partition.failures = 0;
  partition.recorded = std::max(partition.recorded, p.recorded);
  partition.now = p.tally;
}

void ClusterState::Do(const RecordProgress& c) {
  for (const auto& p : c.progress) Progress(p);
}

Status ClusterState::CheckIt(const FinishPartition& c) const {
  if (!std::isfinite(c.progress.tally.loss_sum)) return Internal("a loss that is no number");
  return CheckLease(c.progress.job, c.progress.partition, c.progress.token);
}

void ClusterState::Do(const FinishPartition& c) {
  Progress(c.progress);
  PartitionRecord& partition = data_.jobs[c.progress.job].partitions[c.progress.partition];
  SetDone(partition);
  partition.result = c.result;
}

void ClusterState::SetDone(PartitionRecord& partition) {
  partition.state = PartitionState::kDone;
  if (partition.producer != 0) AddProducer(&complete_, partition.producer);
}

// --- rounds ---

Status ClusterState::CheckRounds(JobId id) const {
  const JobRecord* job = FindJob(id);
  if (job != nullptr && !IsOver(job->state) && job->policy.sync() && job->phase == JobPhase::kTrain)
    return Status::Ok();
  return Internal("job " + std::to_string(id) + " has no rounds now");
}

Status ClusterState::CheckIt(const OpenStreams& c) const {
  PENSTOCK_RETURN_IF_ERROR(CheckRounds(c.job));
  if (c.first != data_.next_producer || FindJob(c.job)->partitions[0].producer != 0)
    return Internal("wrong producers of streams");
  return Status::Ok();
}

void ClusterState::Do(const OpenStreams& c) {
  JobRecord& job = data_.jobs[c.job];
  for (auto& stream : job.partitions) stream.producer = data_.next_producer++;
  if (job.started_ms == 0) job.started_ms = c.at_ms;
}

Status ClusterState::CheckIt(const CommitRound& c) const {
  PENSTOCK_RETURN_IF_ERROR(CheckRounds(c.job));
  const JobRecord& job = *FindJob(c.job);
  if (c.round != job.round + 1 || c.round > (job.pass + 1) * job.policy.rounds)
    return Internal("round " + std::to_string(c.round) + " after round " + std::to_string(job.round));
  if (c.streams.size() != job.partitions.size()) return Internal("a round of other streams");
  for (const Tally& tally : c.streams) {
    if (!std::isfinite(tally.loss_sum)) return Internal("a loss that is no number");
  }
  return Status::Ok();
}

void ClusterState::Do(const CommitRound& c) {
  JobRecord& job = data_.jobs[c.job];
  job.round = c.round;
  job.round_examples = 0;
  for (size_t s = 0; s < c.streams.size(); ++s) {
    job.round_examples += c.streams[s].examples;
    job.partitions[s].now += c.streams[s];
    job.partitions[s].recorded = c.round - job.pass * job.policy.rounds;
  }
}

Status ClusterState::CheckIt(const FinishStreams& c) const {
  PENSTOCK_RETURN_IF_ERROR(CheckRounds(c.job));
  const JobRecord& job = *FindJob(c.job);
  if (job.round == (job.pass + 1) * job.policy.rounds) return Status::Ok();
  return Internal("job " + std::to_string(c.job) + " has rounds to do");
}

void ClusterState::Do(const FinishStreams& c) {
  for (auto& stream : data_.jobs[c.job].partitions) SetDone(stream);
}

void ClusterState::RewindJobs() {
  ++data_.rewind;
  complete_ = {};
  for (auto& [id, job] : data_.jobs) {
    if (IsOver(job.state) || !Pushes(job.phase)) continue;
    if (job.phase == JobPhase::kTrain) job.round = job.pass * job.policy.rounds;
    for (auto& partition : job.partitions) {
      const ProducerId producer = partition.producer;
      partition = PartitionRecord{};
      partition.producer = producer;  // the marks of what survived drop the re-run
    }
  }
}

// --- passes, phases, ends ---

void ClusterState::CloseStretch(JobRecord& job) {
  Tally sum;
  for (auto& partition : job.partitions) {
    sum += partition.before;
    sum += partition.now;
    // Only now: until its pass is over, a rewind may need the producer again.
    if (partition.producer != 0) FinishProducer(partition.producer);
    if (partition.state != PartitionState::kDone) continue;
    if (job.phase == JobPhase::kEvaluateTrain) job.train_results.push_back(partition.result);
    if (job.phase == JobPhase::kEvaluateTest) job.test_results.push_back(partition.result);
  }
  job.partitions.clear();
  if (job.phase != JobPhase::kTrain) return;
  job.trained += sum;
  job.last_pass = sum;
}

void ClusterState::KeepEvaluation(JobRecord& job, const std::vector<PassMetrics>& evaluated,
                                  const std::string& stopped) {
  job.history.insert(job.history.end(), evaluated.begin(), evaluated.end());
  if (!stopped.empty()) job.stopped = stopped;
}

void ClusterState::OpenStretch(JobRecord& job) {
  job.partitions.assign(job.phase == JobPhase::kEvaluateTest ? job.test_partitions : job.train_partitions,
                        PartitionRecord{});
}

Status ClusterState::CheckIt(const AdvanceJob& c) const {
  const JobRecord* job = FindJob(c.job);
  if (job == nullptr || job->state != JobState::kRunning)
    return Internal("job " + std::to_string(c.job) + " does not run");
  for (const auto& partition : job->partitions) {
    if (partition.state != PartitionState::kDone)
      return Internal("job " + std::to_string(c.job) + " has partitions to do");
  }
  const bool next_pass = !job->finishing && !c.finishing && c.phase == JobPhase::kTrain &&
                         c.pass == job->pass + 1 && c.pass < job->passes;
  const bool next_phase = c.phase != JobPhase::kTrain && c.pass == job->pass &&
                          (c.phase != job->phase || c.finishing > job->finishing) &&
                          c.finishing >= job->finishing;
  if (next_pass || next_phase) return Status::Ok();
  return Internal("job " + std::to_string(c.job) + " cannot go there");
}

void ClusterState::Do(const AdvanceJob& c) {
  JobRecord& job = data_.jobs[c.job];
  CloseStretch(job);
  KeepEvaluation(job, c.evaluated, c.stopped);
  // The parts of an evaluation between passes are in its history entry.
  if (!job.finishing) job.train_results.clear(), job.test_results.clear();
  if (c.finishing && !job.finishing) job.trained_ms = c.at_ms;
  job.finishing = c.finishing;
  job.phase = c.phase;
  job.pass = c.pass;
  OpenStretch(job);
  PruneFinished();
}

Status ClusterState::CheckIt(const PauseJob& c) const {
  const JobRecord* job = FindJob(c.job);
  if (job == nullptr) return NotFound("there is no job " + std::to_string(c.job));
  if (job->state == (c.paused ? JobState::kRunning : JobState::kPaused)) return Status::Ok();
  return FailedPrecondition(
      StrCat("job ", c.job, " '", job->name, "' is ", ToString(job->state), ": ",
             c.paused ? "only a running job can be paused" : "only a paused job can be resumed"));
}

void ClusterState::Do(const PauseJob& c) {
  JobRecord& job = data_.jobs[c.job];
  if (!c.paused) EndPause(job, c.at_ms);
  job.state = c.paused ? JobState::kPaused : JobState::kRunning;
  if (c.paused) job.paused_at_ms = c.at_ms;
}

void ClusterState::EndPause(JobRecord& job, int64_t at_ms) {
  if (job.state != JobState::kPaused) return;
  job.paused_ms += std::max<int64_t>(at_ms - job.paused_at_ms, 0);
  job.paused_at_ms = 0;
}

Status ClusterState::CheckIt(const EndJob& c) const {
  const JobRecord* job = FindJob(c.job);
  if (job == nullptr) return NotFound("there is no job " + std::to_string(c.job));
  if (IsOver(job->state)) {
    return FailedPrecondition("job " + std::to_string(c.job) + " '" + job->name + "' is " +
                              std::string(ToString(job->state)));
  }
  if (!IsOver(c.state)) return Internal("an end must be one");
  return Status::Ok();
}

void ClusterState::Do(const EndJob& c) {
  JobRecord& job = data_.jobs[c.job];
  CloseStretch(job);
  EndPause(job, c.at_ms);
  KeepEvaluation(job, c.evaluated, c.stopped);
  // A part of an evaluation is none.
  if (!job.finishing && c.state != JobState::kDone) job.train_results.clear(), job.test_results.clear();
  if (!job.finishing) job.trained_ms = c.at_ms;
  job.state = c.state;
  job.error = c.error;
  job.ended_ms = c.at_ms;
  PruneFinished();
}

Status ClusterState::CheckIt(const RemoveJobs& c) const {
  for (const JobId id : c.jobs) {
    const JobRecord* job = FindJob(id);
    if (job == nullptr) return NotFound(StrCat("there is no job ", id));
    if (!IsOver(job->state)) {
      return FailedPrecondition(StrCat("job ", id, " '", job->name, "' is ", ToString(job->state),
                                       ": only a job that has ended can be removed, and cancelling ends it"));
    }
  }
  return Status::Ok();
}

void ClusterState::Do(const RemoveJobs& c) {
  for (const JobId id : c.jobs) {
    const auto job = data_.jobs.find(id);
    if (job == data_.jobs.end()) continue;  // named twice
    for (const TableId table : job->second.tables) {
      if (c.drop_tables && data_.tables.contains(table)) EraseTable(table);
    }
    data_.jobs.erase(job);
  }
}

}  // namespace penstock
