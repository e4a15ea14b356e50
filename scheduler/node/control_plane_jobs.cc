// ControlPlane: jobs, and the leases and seats of those who work on them.
#include <glog/logging.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/strings.h"
#include "scheduler/jobs/job_submission.h"
#include "scheduler/node/control_plane.h"

namespace penstock {
namespace {

constexpr int64_t kSeenMs = 60'000;   // an ended job is kept so long in any case
constexpr uint32_t kMostLeases = 64;  // of an answer: each may bring a job of 1 MiB

}  // namespace

Result<JobId> ControlPlane::Submit(const std::string& spec, Now now, bool limit_files) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  const auto open = static_cast<size_t>(
      std::ranges::count_if(data().jobs, [](const auto& job) { return !IsOver(job.second.state); }));
  if (open >= options_.most_open_jobs)
    return Overloaded(StrCat("job: ", open, " jobs have not ended, and no more may be: cancel some"), 1000);
  PENSTOCK_RETURN_IF_ERROR(CheckRoomForTables());
  PENSTOCK_ASSIGN_OR_RETURN(const SubmitJob command, ReadSubmission(spec, limit_files, *state_, now.wall_ms));
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(command));
  LOG(INFO) << "job " << command.job << " '" << command.name << "' is submitted";
  return command.job;
}

// Their specifications travel together.
Status ControlPlane::CheckRoomForTables() const {
  if (data().tables.size() < options_.most_tables) return Status::Ok();
  return FailedPrecondition(
      StrCat("there are ", data().tables.size(), " tables, and no more may be made: drop some"));
}

Status ControlPlane::Cancel(JobId job, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  PENSTOCK_RETURN_IF_ERROR(leases_.Cancel(job, now));
  sync_.Forget();
  return Status::Ok();
}

Status ControlPlane::Pause(JobId job, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  return leases_.Pause(job, now);
}

Status ControlPlane::Resume(JobId job, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  return leases_.Resume(job, now);
}

Status ControlPlane::RemoveJob(JobId id, bool drop_tables) {
  PENSTOCK_RETURN_IF_ERROR(CheckLeads());
  PENSTOCK_RETURN_IF_ERROR(CommitRemoval({.jobs = {id}, .drop_tables = drop_tables}));
  LOG(INFO) << "job " << id << " is removed" << (drop_tables ? ", and its tables" : "");
  return Status::Ok();
}

Status ControlPlane::CommitRemoval(const RemoveJobs& command) {
  PENSTOCK_RETURN_IF_ERROR(state_.Commit(command));
  leases_.Forget();
  sync_.Forget();
  return Status::Ok();
}

// Those that ended first. Whoever follows a job must see how it ended, so none goes right after its end.
Status ControlPlane::ForgetOldJobs(Now now) {
  std::vector<std::pair<int64_t, JobId>> ended;
  for (const auto& [id, job] : state_.data().jobs) {
    if (IsOver(job.state)) ended.emplace_back(job.ended_ms, id);
  }
  if (ended.size() <= options_.keep_jobs) return Status::Ok();
  std::sort(ended.begin(), ended.end());
  ended.resize(ended.size() - options_.keep_jobs);
  RemoveJobs command;
  for (const auto& [ended_ms, id] : ended) {
    if (now.wall_ms - ended_ms >= kSeenMs) command.jobs.push_back(id);
  }
  if (command.jobs.empty()) return Status::Ok();
  PENSTOCK_RETURN_IF_ERROR(CommitRemoval(command));
  LOG(INFO) << command.jobs.size() << " old jobs are forgotten, the last of them job " << command.jobs.back()
            << ", as " << options_.keep_jobs << " that have ended are kept; their tables stay";
  return Status::Ok();
}

Result<LeaseAnswer> ControlPlane::Lease(NodeId node, uint64_t session, uint32_t count, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckSession(node, session));
  if (state_->FindNode(node)->role != NodeRole::kWorker)
    return InvalidArgument(StrCat("lease: node ", node, " is no worker"));
  if (count < 1 || count > kMostLeases)
    return InvalidArgument(StrCat("lease: count is ", count, ", allowed is 1 to ", kMostLeases));
  nodes_.OnSign(node, now.ms);
  const auto seat = leases_.ShardsReady() ? sync_.FreeSeat() : std::nullopt;
  const auto other = seat ? leases_.Next(now) : std::nullopt;
  // Fairly between jobs: whose has the fewest workers.
  if (!seat || (other && other->leases < seat->seats)) return leases_.Lease(node, session, count, now);
  PENSTOCK_ASSIGN_OR_RETURN(const LeaseToken token, sync_.TakeSeat(seat->job, node, session, now));
  return LeaseAnswer{.leases = {{.job = state_->FindJob(seat->job), .seat = token}},
                     .rewind = state_.data().rewind};
}

Result<uint64_t> ControlPlane::Clock(NodeId node, uint64_t session, JobId job, LeaseToken token,
                                     uint64_t clock, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckSession(node, session));
  nodes_.OnSign(node, now.ms);
  return leases_.Clock(node, session, job, token, clock, now);
}

Result<SyncAnswer> ControlPlane::Minibatch(NodeId node, uint64_t session, const SyncQuestion& question,
                                           Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckSession(node, session));
  nodes_.OnSign(node, now.ms);
  PENSTOCK_ASSIGN_OR_RETURN(const SyncAnswer answer, sync_.Ask(node, session, question, now));
  if (answer.action.kind == SyncAction::Kind::kEnd) {
    if (const JobRecord* job = state_->FindJob(question.job))
      PENSTOCK_RETURN_IF_ERROR(leases_.MoveOn(*job, now));
  }
  return answer;
}

// A line about a seat.
ReportVerdict ControlPlane::ReportSeat(NodeId node, uint64_t session, const ReportedProgress& line, Now now) {
  const Status known = sync_.Sign(node, session, line.job, line.token, now);
  if (!line.done && line.error.ok()) return {Status::Ok(), known};
  sync_.LeaveSeat(line.job, line.token);
  const JobRecord* job = state_->FindJob(line.job);
  if (line.error.ok() || !known.ok() || IsTransient(line.error, state_->AnyQuarantined())) return {};
  const NodeRecord* worker = state_->FindNode(node);
  const std::string error = StrCat("job ", job->id, " '", job->name, "': pass ", job->pass + 1, " on ",
                                   worker->name, ": ", line.error.ToString());
  const Status failed = leases_.Fail(*job, error, now);
  sync_.Forget();
  return {failed, Status::Ok()};
}

Result<std::vector<Status>> ControlPlane::Report(NodeId node, uint64_t session,
                                                 const std::vector<ReportedProgress>& progress, Now now) {
  PENSTOCK_RETURN_IF_ERROR(CheckSession(node, session));
  nodes_.OnSign(node, now.ms);
  RefreshMap(now);
  const bool whole = CountShards(ShardState::kServing) == map_.size();
  std::vector<Status> results;
  for (const auto& line : progress) {
    ReportVerdict verdict = SyncJobs::IsSeat(line.token) ? ReportSeat(node, session, line, now)
                                                         : leases_.Report(node, session, line, whole, now);
    PENSTOCK_RETURN_IF_ERROR(verdict.call);
    results.push_back(std::move(verdict.result));
  }
  return results;
}

}  // namespace penstock
