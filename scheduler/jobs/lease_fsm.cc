#include "scheduler/jobs/lease_fsm.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>

#include "common/base/mutant.h"
#include "common/base/peer_json.h"
#include "common/base/strings.h"
#include "scheduler/jobs/job_course.h"

namespace penstock {
namespace {

std::string Describe(const JobRecord& job) { return StrCat("job ", job.id, " '", job.name, "'"); }

std::string Describe(const JobRecord& job, uint32_t partition) {
  std::string text = StrCat(Describe(job), ": ", ToString(job.phase));
  if (job.phase == JobPhase::kTrain) StrAppend(&text, " pass ", job.pass + 1);
  return StrCat(text, ", partition ", partition);
}

}  // namespace

LeaseFsm::LeaseFsm(CommittedState& state, const LeaseOptions& options, Now now)
    : state_(state), options_(options) {
  Adopt(now.ms);
  flushed_ms_ = now.ms;
}

void LeaseFsm::Adopt(int64_t now_ms) {
  for (const auto& [id, job] : state_.data().jobs) {
    for (uint32_t i = 0; i < job.partitions.size(); ++i) {
      const PartitionRecord& partition = job.partitions[i];
      if (partition.state != PartitionState::kLeased) continue;
      held_[partition.token] = {.job = id,
                                .partition = i,
                                .seen_ms = now_ms,
                                .recorded = partition.recorded,
                                .answered = partition.recorded,
                                .tally = partition.now,
                                .since_ms = now_ms,
                                .begin = partition.recorded};
      if (job.policy.ssp() && job.phase == JobPhase::kTrain)
        clocks_.Adopt(id, partition.token, partition.node);
    }
  }
}

void LeaseFsm::Forget() {
  std::vector<LeaseToken> ended;
  for (const auto& [token, held] : held_) {
    const JobRecord* job = state_->FindJob(held.job);
    const bool holds = job != nullptr && held.partition < job->partitions.size() &&
                       job->partitions[held.partition].token == token &&
                       job->partitions[held.partition].state == PartitionState::kLeased;
    if (!holds) ended.push_back(token);
  }
  for (const LeaseToken token : ended) Drop(token);
}

void LeaseFsm::Drop(LeaseToken token) {
  const auto held = held_.find(token);
  clocks_.Leave(held->second.job, token);
#if defined(PENSTOCK_MUTANTS)
  ended_[token] = {held->second.job, held->second.partition};
#endif
  held_.erase(held);
}

// --- giving ---

bool LeaseFsm::Cool(JobId job, uint32_t partition, int64_t now_ms) const {
  auto it = cooling_.find({job, partition});
  return it != cooling_.end() && now_ms < it->second.until_ms;
}

std::map<JobId, std::deque<uint32_t>> LeaseFsm::FreePartitions(uint32_t count, Now now) {
  std::map<JobId, std::deque<uint32_t>> free;
  for (const auto& [id, job] : state_.data().jobs) {
    if (job.state != JobState::kRunning) continue;
    const bool training = job.phase == JobPhase::kTrain;
    // A sync job gives out seats (sync_jobs.h). Nobody joins the clocks before their minimum is known.
    if (training && (job.policy.sync() || !clocks_.Known(id))) continue;
    for (const uint32_t i : order_.OpenOf(job)) {
      if (job.partitions[i].state != PartitionState::kFree || Cool(id, i, now.ms)) continue;
      free[id].push_back(i);
      if (free[id].size() == count) break;
    }
  }
  return free;
}

LeasePartitions LeaseFsm::Plan(NodeId node, uint64_t session, uint32_t count, Now now) {
  const StateData& data = state_.data();
  LeasePartitions command{.node = node, .session = session, .leases = {}, .at_ms = now.wall_ms};
  LeaseToken token = data.last_token;
  ProducerId producer = data.next_producer;
  auto free = FreePartitions(count, now);
  FairShare share = share_;
  for (const auto& [id, partitions] : free) share.Offer(id, 0);
  for (const auto& [held_token, held] : held_) {
    if (!held.pushed) share.Count(held.job);
  }
  while (!share.empty() && command.leases.size() < count) {
    const JobId id = share.Next();
    const JobRecord& job = data.jobs.at(id);
    const uint32_t i = free[id].front();
    free[id].pop_front();
    if (free[id].empty()) share.Withdraw(id);
    const PartitionRecord& partition = job.partitions[i];
    const ProducerId its = !Pushes(job.phase) ? 0 : partition.producer != 0 ? partition.producer : producer++;
    command.leases.push_back({.job = id, .partition = i, .token = ++token, .producer = its});
  }
  return command;
}

bool LeaseFsm::ShardsReady() const {
  const auto& shards = state_.data().shards;
  return !state_->AnyQuarantined() &&
         std::none_of(shards.begin(), shards.end(), [](const ShardRecord& s) { return s.node == 0; });
}

std::optional<LeaseFsm::Offer> LeaseFsm::Next(Now now) {
  const LeasePartitions plan = Plan(0, 0, 1, now);
  if (plan.leases.empty() || !ShardsReady()) return std::nullopt;
  Offer offer{.job = plan.leases[0].job};
  for (const auto& [token, held] : held_) offer.leases += held.job == offer.job && !held.pushed;
  return offer;
}

// The slowest lease of a training pass that is much slower than `node`. Waiting for logs is nobody's
// slowness.
std::optional<LeaseToken> LeaseFsm::SlowerLease(NodeId node, Now now) const {
  std::optional<LeaseToken> slowest;
  double least = WorkerPaces::kMuchSlower;
  for (const auto& [token, held] : held_) {
    const JobRecord& job = *state_->FindJob(held.job);
    const PartitionRecord& partition = job.partitions[held.partition];
    const int64_t ms = now.ms - held.since_ms;
    if (held.from_slower || held.pushed || partition.node == node || ms < options_.slow_ms ||
        job.state != JobState::kRunning || job.phase != JobPhase::kTrain)
      continue;
    const auto part = paces_.Compare(held.job, node, held.answered - held.begin, ms);
    if (!part || *part >= least) continue;
    least = *part;
    slowest = token;
  }
  return slowest;
}

// What is free after the partition of a slower worker has been freed, or no leases.
Result<LeasePartitions> LeaseFsm::TakeFromSlower(NodeId node, uint64_t session, Now now) {
  const auto token = SlowerLease(node, now);
  if (!token) return LeasePartitions{};
  const Held held = held_.at(*token);
  const JobRecord& job = *state_->FindJob(held.job);
  LOG(INFO) << Describe(job, held.partition) << ": goes from node " << job.partitions[held.partition].node
            << ", which is slow (minibatches " << held.begin << " to " << held.answered << " in "
            << now.ms - held.since_ms << " ms), to node " << node;
  PENSTOCK_RETURN_IF_ERROR(Flush());
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(
      FreeLeases{{{.job = held.job, .partition = held.partition, .token = *token, .failed = false}}}));
  Drop(*token);
  return Plan(node, session, 1, now);
}

Result<LeaseAnswer> LeaseFsm::Lease(NodeId node, uint64_t session, uint32_t count, Now now) {
  LeaseAnswer answer{.rewind = state_.data().rewind};
  LeasePartitions command;
  if (ShardsReady()) command = Plan(node, session, count, now);
  bool from_slower = false;
  if (command.leases.empty() && count > 0 && ShardsReady()) {
    PENSTOCK_ASSIGN_OR_RETURN(command, TakeFromSlower(node, session, now));
    from_slower = !command.leases.empty();
  }
  if (command.leases.empty()) {
    answer.retry_after_ms = options_.idle_retry_ms;
    return answer;
  }
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(command));
  for (const auto& lease : command.leases) {
    const JobRecord* job = state_->FindJob(lease.job);
    held_[lease.token] = {.job = lease.job,
                          .partition = lease.partition,
                          .seen_ms = now.ms,
                          .recorded = job->partitions[lease.partition].recorded,
                          .answered = job->partitions[lease.partition].recorded,
                          .tally = {},
                          .since_ms = now.ms,
                          .begin = job->partitions[lease.partition].recorded,
                          .from_slower = from_slower};
    share_.Serve(lease.job);
    const bool ssp = job->policy.ssp() && job->phase == JobPhase::kTrain;
    answer.leases.push_back({.job = job,
                             .partition = lease.partition,
                             .position = order_.PositionOf(*job, lease.partition),
                             .clock = ssp ? clocks_.Join(lease.job, lease.token, node) : 0});
  }
  return answer;
}

// --- reports ---

Status LeaseFsm::WhyUnknown(const ReportedProgress& progress) const {
  const JobRecord* job = state_->FindJob(progress.job);
  if (job == nullptr) return NotFound(StrCat("there is no job ", progress.job));
  if (IsOver(job->state)) return Cancelled(StrCat(Describe(*job), " is ", ToString(job->state)));
  // The answer to a `done` was lost: it is said again.
  if (progress.done && progress.token != 0) {
    for (const auto& partition : job->partitions) {
      if (partition.token == progress.token && partition.state == PartitionState::kDone) return Status::Ok();
    }
  }
  if (job->state == JobState::kPaused) return Cancelled(StrCat(Describe(*job), " is paused"));
  return FailedPrecondition(
      StrCat(Describe(*job), ": lease ", progress.token,
             " has ended: its partition was finished, rewound, or given to another worker"));
}

ReportVerdict LeaseFsm::Report(NodeId node, uint64_t session, const ReportedProgress& progress,
                               bool cluster_whole, Now now) {
  auto it = held_.find(progress.token);
#if defined(PENSTOCK_MUTANTS)
  // What an earlier holder says counts as if the present one had said it.
  if (const auto ended = ended_.find(progress.token);
      !Defended(Defence::kLeaseToken) && it == held_.end() && ended != ended_.end()) {
    ReportedProgress taken = progress;
    const JobRecord& job = *state_->FindJob(progress.job);
    if (ended->second.second < job.partitions.size())
      taken.token = job.partitions[ended->second.second].token;
    if (const auto present = held_.find(taken.token); present != held_.end()) {
      const PartitionRecord& of = job.partitions[present->second.partition];
      return Report(of.node, of.session, taken, cluster_whole, now);
    }
  }
#endif
  if (it == held_.end() || it->second.job != progress.job) return {Status::Ok(), WhyUnknown(progress)};
  Held& held = it->second;
  const PartitionRecord& partition = state_->FindJob(held.job)->partitions[held.partition];
  if (partition.node != node || partition.session != session) {
    return {Status::Ok(), FailedPrecondition(StrCat("lease ", progress.token, " is of node ", partition.node,
                                                    ", not of node ", node))};
  }
  held.seen_ms = now.ms;
  clocks_.Advance(held.job, progress.token, progress.clock);
  // Answers may overtake one another: an older report changes nothing.
  if (progress.recorded > held.recorded) cooling_.erase({held.job, held.partition});
  if (progress.recorded >= held.recorded) {
    const Tally tally = Finite(progress.tally);
    held.dirty |= progress.recorded > held.recorded || tally.examples != held.tally.examples ||
                  tally.bad_records != held.tally.bad_records;
    held.recorded = progress.recorded;
    held.tally = tally;
  }
  held.answered = std::max({held.answered, held.recorded, progress.answered});
  TakePushed(progress.token, progress.pushed || progress.done, now);
  if (!progress.error.ok()) return TakeError(progress.token, progress, cluster_whole, now);
  if (progress.done) return TakeDone(progress.token, progress, now);
  const JobRecord& job = *state_->FindJob(held.job);
  if (job.state == JobState::kPaused)
    return GiveBack(progress.token, Cancelled(StrCat(Describe(job), " is paused")));
  return {};
}

Result<uint64_t> LeaseFsm::Clock(NodeId node, uint64_t session, JobId job, LeaseToken token, uint64_t clock,
                                 Now now) {
  auto it = held_.find(token);
  if (it == held_.end() || it->second.job != job) {
    PENSTOCK_RETURN_IF_ERROR(WhyUnknown({.job = job, .token = token}));
    return FailedPrecondition(StrCat("lease ", token, " has ended"));
  }
  const PartitionRecord& partition = state_->FindJob(job)->partitions[it->second.partition];
  if (partition.node != node || partition.session != session)
    return FailedPrecondition(
        StrCat("lease ", token, " is of node ", partition.node, ", not of node ", node));
  it->second.seen_ms = now.ms;
  clocks_.Advance(job, token, clock);
  return clocks_.Minimum(job);
}

ReportVerdict LeaseFsm::GiveBack(LeaseToken token, const Status& reason) {
  const Held held = held_[token];
  if (Status status = Flush(); !status.ok()) return {status, Status::Ok()};
  const FreeLeases command{{{.job = held.job, .partition = held.partition, .token = token, .failed = false}}};
  if (Status status = state_.Commit(command); !status.ok()) return {status, Status::Ok()};
  Drop(token);
  return {Status::Ok(), reason};
}

// From then on it says nothing of its worker's pace, and its clock holds nobody back. What was lost before it
// was logged is worked off again, and counts again.
void LeaseFsm::TakePushed(LeaseToken token, bool pushed, Now now) {
  Held& held = held_[token];
  const JobRecord& job = *state_->FindJob(held.job);
  if (held.pushed == pushed || job.phase != JobPhase::kTrain) return;
  held.pushed = pushed;
  const NodeId node = job.partitions[held.partition].node;
  if (!pushed) {
    if (job.policy.ssp()) clocks_.Join(held.job, token, node);
    return;
  }
  clocks_.Leave(held.job, token);
  paces_.Note(held.job, node, held.answered - held.begin, now.ms - held.since_ms);
}

ReportVerdict LeaseFsm::TakeDone(LeaseToken token, const ReportedProgress& progress, Now now) {
  const Held held = held_[token];
  const JobRecord& job = *state_->FindJob(held.job);
  if (IsEvaluation(job.phase)) {
    if (const auto result = ParsePeerJson(progress.result, "its result"); !result.ok()) {
      ReportedProgress failed = progress;
      failed.error = Internal(result.status().message());
      return TakeError(token, failed, true, now);
    }
  }
  const FinishPartition command{.progress = {.job = held.job,
                                             .partition = held.partition,
                                             .token = token,
                                             .recorded = held.recorded,
                                             .tally = held.tally},
                                .result = IsEvaluation(job.phase) ? progress.result : ""};
  if (Status status = state_.Commit(command); !status.ok()) return {status, Status::Ok()};
  Drop(token);
  cooling_.erase({held.job, held.partition});
  if (Status status = MoveOn(job, now); !status.ok())
    LOG(WARNING) << Describe(job) << ": " << status.ToString();  // tried again by Tick
  return {};
}

Status LeaseFsm::FailJob(const JobRecord& job, uint32_t partition, const Status& error,
                         const std::string& note, Now now) {
  return Fail(job, StrCat(Describe(job, partition), note, ": ", error.ToString()), now);
}

Status LeaseFsm::Fail(const JobRecord& job, const std::string& text, Now now) {
  PENSTOCK_RETURN_IF_ERROR(Flush());
  PENSTOCK_RETURN_IF_ERROR(
      state_.Commit(EndJob{.job = job.id, .state = JobState::kFailed, .error = text, .at_ms = now.wall_ms}));
  LOG(ERROR) << text;
  Forget();
  return Status::Ok();
}

ReportVerdict LeaseFsm::TakeError(LeaseToken token, const ReportedProgress& progress, bool cluster_whole,
                                  Now now) {
  const Held held = held_[token];
  const JobRecord& job = *state_->FindJob(held.job);
  const PartitionRecord& partition = job.partitions[held.partition];
  const NodeRecord* worker = state_->FindNode(partition.node);
  const std::string by = StrCat(" on ", worker == nullptr ? "a worker" : worker->name);
  if (!IsTransient(progress.error, state_->AnyQuarantined()))
    return {FailJob(job, held.partition, progress.error, by, now), Status::Ok()};
  if (Status status = Flush(); !status.ok()) return {status, Status::Ok()};
  if (cluster_whole && partition.failures + 1 >= options_.max_failures) {
    const std::string note = StrCat(by, " failed ", partition.failures + 1, " times without progress, last");
    return {FailJob(job, held.partition, progress.error, note, now), Status::Ok()};
  }
  const FreeLeases command{
      {{.job = held.job, .partition = held.partition, .token = token, .failed = cluster_whole}}};
  if (Status status = state_.Commit(command); !status.ok()) return {status, Status::Ok()};
  LOG(WARNING) << Describe(job, held.partition) << by << " is given back: " << progress.error.ToString();
  Drop(token);
  Cooling& cooling = cooling_[{held.job, held.partition}];
  cooling.wait_ms =
      cooling.wait_ms == 0 ? options_.cool_ms : std::min(2 * cooling.wait_ms, options_.cool_max_ms);
  cooling.until_ms = now.ms + cooling.wait_ms;
  return {};
}

Status LeaseFsm::Flush() {
  RecordProgress command;
  for (const auto& [token, held] : held_) {
    if (!held.dirty) continue;
    command.progress.push_back({.job = held.job,
                                .partition = held.partition,
                                .token = token,
                                .recorded = held.recorded,
                                .tally = held.tally});
  }
  if (command.progress.empty()) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(command));
  for (auto& [token, held] : held_) held.dirty = false;
  return Status::Ok();
}

Status LeaseFsm::Cancel(JobId id, Now now) {
  const JobRecord* job = state_->FindJob(id);
  if (job == nullptr) return NotFound(StrCat("there is no job ", id));
  if (job->state == JobState::kCancelled) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(Flush());
  PENSTOCK_RETURN_IF_ERROR(
      state_.Commit(EndJob{.job = id, .state = JobState::kCancelled, .error = "", .at_ms = now.wall_ms}));
  LOG(INFO) << Describe(*job) << " is cancelled";
  Forget();
  return Status::Ok();
}

Status LeaseFsm::Pause(JobId id, Now now) {
  const JobRecord* job = state_->FindJob(id);
  if (job != nullptr && job->state == JobState::kPaused) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(PauseJob{.job = id, .paused = true, .at_ms = now.wall_ms}));
  LOG(INFO) << Describe(*job) << " is paused";
  return Status::Ok();
}

Status LeaseFsm::Resume(JobId id, Now now) {
  const JobRecord* job = state_->FindJob(id);
  if (job != nullptr && job->state == JobState::kRunning) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(PauseJob{.job = id, .paused = false, .at_ms = now.wall_ms}));
  LOG(INFO) << Describe(*job) << " goes on";
  return Status::Ok();
}

// --- time ---

void LeaseFsm::Forgive(int64_t ms) {
  for (auto& [token, held] : held_) {
    held.seen_ms += ms;
    held.since_ms += ms;
  }
}

Status LeaseFsm::FreeSilent(Now now) {
  FreeLeases command;
  for (const auto& [token, held] : held_) {
    if (now.ms - held.seen_ms < options_.lease_ms) continue;
    command.leases.push_back({.job = held.job, .partition = held.partition, .token = token, .failed = false});
  }
  if (command.leases.empty()) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(Flush());
  for (const auto& lease : command.leases) {
    const JobRecord& job = *state_->FindJob(lease.job);
    LOG(WARNING) << Describe(job, lease.partition) << ": node " << job.partitions[lease.partition].node
                 << " did not report for " << options_.lease_ms << " ms, the lease ends";
  }
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(command));
  Forget();
  return Status::Ok();
}

Status LeaseFsm::MoveOn(const JobRecord& job, Now now) {
  const auto finished = [](const PartitionRecord& p) { return p.state == PartitionState::kDone; };
  if (job.state != JobState::kRunning || !std::all_of(job.partitions.begin(), job.partitions.end(), finished))
    return Status::Ok();
  const auto next = NextStep(job, now.wall_ms);
  if (!next.ok()) {
    const std::string error =
        next.status().Prepend(StrCat(Describe(job), ": ", ToString(job.phase))).ToString();
    LOG(ERROR) << error;
    return state_.Commit(
        EndJob{.job = job.id, .state = JobState::kFailed, .error = error, .at_ms = now.wall_ms});
  }
  const bool stopped = !job.stopped.empty();
  PENSTOCK_RETURN_IF_ERROR(std::visit([this](const auto& command) { return state_.Commit(command); }, *next));
  if (!stopped && !job.stopped.empty()) LOG(INFO) << Describe(job) << " " << job.stopped;
  if (job.state == JobState::kDone) LOG(INFO) << Describe(job) << " is done";
  return Status::Ok();
}

Status LeaseFsm::MoveOn(Now now) {
  for (const auto& [id, job] : state_.data().jobs) PENSTOCK_RETURN_IF_ERROR(MoveOn(job, now));
  return Status::Ok();
}

Status LeaseFsm::Tick(Now now) {
  PENSTOCK_RETURN_IF_ERROR(FreeSilent(now));
  if (now.ms - flushed_ms_ >= options_.progress_ms) {
    PENSTOCK_RETURN_IF_ERROR(Flush());
    flushed_ms_ = now.ms;
  }
  const auto over = [this](JobId id) {  // or removed
    const JobRecord* job = state_->FindJob(id);
    return job == nullptr || IsOver(job->state);
  };
  std::erase_if(cooling_, [&](const auto& entry) { return over(entry.first.first); });
  paces_.Forget(over);
  for (const JobId id : clocks_.Jobs()) {
    if (over(id)) clocks_.Drop(id);
  }
  order_.Forget(over);
  return MoveOn(now);
}

}  // namespace penstock
