#include "scheduler/jobs/sync_jobs.h"

#include <glog/logging.h>

#include "common/base/strings.h"

namespace penstock {

SyncJobs::Pass* SyncJobs::Find(JobId id) {
  const JobRecord* job = state_->FindJob(id);
  if (job == nullptr || IsOver(job->state) || job->phase != JobPhase::kTrain || !job->policy.sync()) {
    passes_.erase(id);
    return nullptr;
  }
  auto found = passes_.find(id);
  if (found != passes_.end() && found->second.pass == job->pass) return &found->second;
  passes_.erase(id);
  const uint64_t before = job->pass * job->policy.rounds;
  const uint64_t uncommitted = job->round > before ? job->round_examples : 0;
  const Pass pass{.pass = job->pass,
                  .rounds = RoundFsm(static_cast<uint32_t>(job->partitions.size()), job->round, uncommitted,
                                     before + job->policy.rounds)};
  return &passes_.emplace(id, pass).first->second;
}

std::vector<JobId> SyncJobs::Jobs() const {
  std::vector<JobId> ids;
  for (const auto& [id, pass] : passes_) ids.push_back(id);
  return ids;
}

std::optional<SyncJobs::Free> SyncJobs::FreeSeat() {
  std::optional<Free> best;
  for (const auto& [id, job] : state_.data().jobs) {
    if (job.state != JobState::kRunning) continue;
    Pass* pass = Find(id);
    if (pass == nullptr || !pass->rounds.SeatFree() || pass->rounds.over()) continue;
    const auto seats = static_cast<uint32_t>(pass->rounds.seats());
    if (!best || seats < best->seats) best = {.job = id, .seats = seats};
  }
  return best;
}

Result<LeaseToken> SyncJobs::TakeSeat(JobId id, NodeId node, uint64_t session, Now now) {
  if (state_->FindJob(id)->partitions[0].producer == 0) {
    PENSTOCK_RETURN_IF_ERROR(
        state_.Commit(OpenStreams{.job = id, .first = state_.data().next_producer, .at_ms = now.wall_ms}));
  }
  const LeaseToken seat = kFirstSeat | state_.data().term << 32 | ++last_seat_;
  Find(id)->rounds.TakeSeat(seat, node, session, now.ms);
  return seat;
}

Status SyncJobs::Sign(NodeId node, uint64_t session, JobId id, LeaseToken seat, Now now) {
  Pass* pass = Find(id);
  const JobRecord* job = state_->FindJob(id);
  if (job == nullptr) return NotFound(StrCat("there is no job ", id));
  if (job->state != JobState::kRunning) {
    if (pass != nullptr) pass->rounds.LeaveSeat(seat);
    return Cancelled(StrCat("job ", id, " '", job->name, "' is ", ToString(job->state)));
  }
  if (pass != nullptr && pass->rounds.Sign(seat, node, session, now.ms)) return Status::Ok();
  return FailedPrecondition(StrCat("job ", id, " '", job->name, "': seat ", seat, " has ended"));
}

void SyncJobs::LeaveSeat(JobId id, LeaseToken seat) {
  if (Pass* pass = Find(id)) pass->rounds.LeaveSeat(seat);
}

Status SyncJobs::Journal(JobId id, Pass& pass) {
  if (pass.rounds.Complete()) {
    PENSTOCK_RETURN_IF_ERROR(state_.Commit(
        CommitRound{.job = id, .round = pass.rounds.round(), .streams = pass.rounds.Tallies()}));
    pass.rounds.Journaled();
  }
  const JobRecord& job = *state_->FindJob(id);
  if (pass.rounds.over() && job.partitions[0].state != PartitionState::kDone)
    PENSTOCK_RETURN_IF_ERROR(state_.Commit(FinishStreams{.job = id}));
  return Status::Ok();
}

Result<SyncAnswer> SyncJobs::Ask(NodeId node, uint64_t session, const SyncQuestion& question, Now now) {
  Pass* pass = Find(question.job);
  // What it has done counts also when its job has been paused meanwhile.
  const bool seated = pass != nullptr && pass->rounds.Sign(question.seat, node, session, now.ms);
  if (seated) {
    pass->rounds.Finish(question.finished);
    pass->rounds.Committed(question.committed);
    PENSTOCK_RETURN_IF_ERROR(Journal(question.job, *pass));
  }
  if (!seated || !Sign(node, session, question.job, question.seat, now).ok())
    return SyncAnswer{.action = {.kind = SyncAction::Kind::kEnd}};
  SyncAnswer answer{.action = pass->rounds.Next(question.seat)};
  if (answer.action.kind == SyncAction::Kind::kWork)
    answer.producer = state_->FindJob(question.job)->partitions[answer.action.stream].producer;
  return answer;
}

void SyncJobs::Forget() {
  for (const JobId id : Jobs()) {
    Pass* pass = Find(id);
    if (pass == nullptr) continue;
    pass->rounds.LeaveGone([this](NodeId node, uint64_t session, int64_t) {
      const NodeRecord* record = state_->FindNode(node);
      return record == nullptr || record->session != session;
    });
  }
}

void SyncJobs::Tick(Now now, const std::function<bool(NodeId)>& is_dead) {
  for (const JobId id : Jobs()) {
    Pass* pass = Find(id);
    if (pass == nullptr) continue;
    pass->rounds.LeaveGone([&](NodeId node, uint64_t, int64_t seen_ms) {
      const bool gone = is_dead(node) || now.ms - seen_ms >= lease_ms_;
      LOG_IF(WARNING, gone) << "job " << id << ": node " << node << " is silent, its seat ends";
      return gone;
    });
    if (Status status = Journal(id, *pass); !status.ok())
      LOG(WARNING) << "job " << id << ": " << status.ToString();  // tried again at the next tick
  }
}

void SyncJobs::Forgive(int64_t ms) {
  for (auto& [id, pass] : passes_) pass.rounds.Forgive(ms);
}

}  // namespace penstock
