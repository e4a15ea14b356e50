#include "scheduler/node/scheduler_service.h"

#include "common/base/strings.h"
#include "common/cluster/wire.h"
#include "model/metrics.h"
#include "scheduler/node/service_text.h"

namespace penstock {
namespace {

constexpr uint32_t kMaxReports = 4096;
constexpr uint32_t kMaxKnownJobs = 64;     // of a worker that asks for leases
constexpr uint64_t kLongestWaitMs = 1000;  // of calls that wait for something to change

Result<ReportedProgress> ReadProgress(proto::Progress::Reader in) {
  Status error = ReadStatus(in.getError());
  PENSTOCK_ASSIGN_OR_RETURN(const std::string message,
                            ReadLine(in.getError().getMessage(), kMaxTextBytes, "report: an error"));
  if (!error.ok()) error = Status(error.code(), message, error.retry_after_ms());
  PENSTOCK_ASSIGN_OR_RETURN(std::string result,
                            ReadText(in.getResult(), Evaluation::kMaxJsonBytes, "report: a result"));
  return ReportedProgress{
      .job = in.getJob(),
      .token = in.getToken(),
      .recorded = in.getRecorded(),
      .answered = in.getAnswered(),
      .pushed = in.getPushed(),
      .tally = {.examples = in.getExamples(), .loss_sum = in.getLossSum(), .bad_records = in.getBadRecords()},
      .done = in.getDone(),
      .result = std::move(result),
      .error = std::move(error),
      .clock = in.getClock()};
}

void WriteLease(const GivenLease& lease, uint64_t rewind, capnp::List<uint32_t>::Reader known_jobs,
                proto::Lease::Builder out) {
  const JobRecord& job = *lease.job;
  const PartitionRecord seat{.token = lease.seat};
  const PartitionRecord& partition = lease.seat != 0 ? seat : job.partitions[lease.partition];
  out.setJob(job.id);
  out.setJobName(job.name);
  // A text of megabytes where there are many partitions.
  bool known = false;
  for (const JobId id : known_jobs) known |= id == job.id;
  if (!known) out.setSpec(job.spec);
  out.setPhase(static_cast<proto::Lease::Phase>(job.phase));
  out.setPass(job.pass);
  out.setPartition(lease.partition);
  out.setPartitions(static_cast<uint32_t>(job.partitions.size()));
  out.setToken(partition.token);
  out.setProducer(partition.producer);
  out.setBegin(partition.recorded);
  out.setPosition(lease.position);
  out.setClock(lease.clock);
  out.setRewind(Pushes(job.phase) ? rewind : 0);
  out.setLimitFiles(job.limit_files);
  out.setBest(job.finishing && job.policy.keep_best && FindBest(job.history, job.policy).pass > 0);
}

}  // namespace

kj::Promise<void> SchedulerService::shardMap(ShardMapContext context) {
  return Answer(context, [&]() -> Status {
    PENSTOCK_ASSIGN_OR_RETURN(const ShardMap* map, plane_.Map(clock_()));
    if (map->version != context.getParams().getKnownVersion())
      WriteShardMap(*map, context.getResults().initMap());
    return Status::Ok();
  });
}

// --- tables, producers ---

kj::Promise<void> SchedulerService::createTable(CreateTableContext context) {
  return Answer(context, [&]() -> Status {
    PENSTOCK_ASSIGN_OR_RETURN(TableSpec spec, ReadTableSpec(context.getParams().getSpec()));
    PENSTOCK_ASSIGN_OR_RETURN(const TableSpec created, plane_.Create(std::move(spec), clock_()));
    WriteTableSpec(created, context.getResults().initSpec());
    return Status::Ok();
  });
}

kj::Promise<void> SchedulerService::openTable(OpenTableContext context) {
  return Answer(context, [&]() -> Status {
    PENSTOCK_ASSIGN_OR_RETURN(const TableSpec spec, plane_.Open(context.getParams().getName().cStr()));
    WriteTableSpec(spec, context.getResults().initSpec());
    return Status::Ok();
  });
}

kj::Promise<void> SchedulerService::dropTable(DropTableContext context) {
  return Answer(context, [&] { return plane_.Drop(context.getParams().getName().cStr(), clock_()); });
}

kj::Promise<void> SchedulerService::newProducers(NewProducersContext context) {
  return Answer(context, [&]() -> Status {
    PENSTOCK_ASSIGN_OR_RETURN(const ProducerId first, plane_.NewProducers(context.getParams().getCount()));
    auto results = context.getResults();
    results.setFirst(first);
    results.setShardCount(static_cast<uint32_t>(plane_.data().shards.size()));
    results.setCluster(plane_.data().cluster);
    return Status::Ok();
  });
}

// --- jobs ---

kj::Promise<void> SchedulerService::submitJob(SubmitJobContext context) {
  return Answer(context, [&]() -> Status {
    PENSTOCK_ASSIGN_OR_RETURN(const JobId job, plane_.Submit(context.getParams().getSpec().cStr(), clock_(),
                                                             caller_.access == Access::kClient));
    context.getResults().setJob(job);
    return Status::Ok();
  });
}

kj::Promise<void> SchedulerService::cancelJob(CancelJobContext context) {
  return Answer(context, [&] { return plane_.Cancel(context.getParams().getJob(), clock_()); });
}

kj::Promise<void> SchedulerService::pauseJob(PauseJobContext context) {
  return Answer(context, [&] { return plane_.Pause(context.getParams().getJob(), clock_()); });
}

kj::Promise<void> SchedulerService::resumeJob(ResumeJobContext context) {
  return Answer(context, [&] { return plane_.Resume(context.getParams().getJob(), clock_()); });
}

kj::Promise<void> SchedulerService::lease(LeaseContext context) {
  return Answer(context, [&]() -> Status {
    const auto params = context.getParams();
    if (params.getKnownJobs().size() > kMaxKnownJobs)
      return InvalidArgument(StrCat("lease: more than ", kMaxKnownJobs, " known jobs"));
    PENSTOCK_ASSIGN_OR_RETURN(const LeaseAnswer answer, plane_.Lease(params.getNode(), params.getSession(),
                                                                     params.getCount(), clock_()));
    auto results = context.getResults();
    auto leases = results.initLeases(static_cast<uint32_t>(answer.leases.size()));
    for (uint32_t i = 0; i < answer.leases.size(); ++i)
      WriteLease(answer.leases[i], answer.rewind, params.getKnownJobs(), leases[i]);
    results.setRetryAfterMs(answer.retry_after_ms);
    return Status::Ok();
  });
}

kj::Promise<void> SchedulerService::report(ReportContext context) {
  return Answer(context, [&]() -> Status {
    const auto params = context.getParams();
    if (params.getProgress().size() > kMaxReports)
      return InvalidArgument(StrCat("report: more than ", kMaxReports, " leases"));
    std::vector<ReportedProgress> progress;
    for (auto line : params.getProgress()) {
      PENSTOCK_ASSIGN_OR_RETURN(ReportedProgress read, ReadProgress(line));
      progress.push_back(std::move(read));
    }
    PENSTOCK_ASSIGN_OR_RETURN(const auto verdicts,
                              plane_.Report(params.getNode(), params.getSession(), progress, clock_()));
    auto results = context.getResults().initResults(static_cast<uint32_t>(verdicts.size()));
    for (uint32_t i = 0; i < verdicts.size(); ++i) WriteStatus(verdicts[i], results[i]);
    return Status::Ok();
  });
}

kj::Promise<void> SchedulerService::AnswerClock(ClockContext context, uint64_t until_ms) {
  const auto params = context.getParams();
  const auto minimum = plane_.Clock(params.getNode(), params.getSession(), params.getJob(), params.getToken(),
                                    params.getClock(), clock_());
  if (minimum.ok() && *minimum < params.getWant() && room_.NowMs() < until_ms) {
    return room_.Wait(until_ms - room_.NowMs()).then([this, context, until_ms]() mutable {
      return AnswerClock(context, until_ms);
    });
  }
  WriteStatus(minimum.status(), context.getResults().initStatus());
  if (minimum.ok()) context.getResults().setMinimum(*minimum);
  return kj::READY_NOW;
}

kj::Promise<void> SchedulerService::clock(ClockContext context) {
  auto answered = AnswerClock(context, room_.NowMs() + kLongestWaitMs);
  room_.Wake();
  return answered;
}

kj::Promise<void> SchedulerService::AnswerMinibatch(MinibatchContext context, SyncQuestion question,
                                                    uint64_t until_ms) {
  const auto params = context.getParams();
  const auto answer = plane_.Minibatch(params.getNode(), params.getSession(), question, clock_());
  if (answer.ok() && answer->action.kind == SyncAction::Kind::kWait && room_.NowMs() < until_ms) {
    question.finished = {};
    question.committed = 0;
    return room_.Wait(until_ms - room_.NowMs()).then([this, context, question, until_ms]() mutable {
      return AnswerMinibatch(context, question, until_ms);
    });
  }
  auto results = context.getResults();
  WriteStatus(answer.status(), results.initStatus());
  if (!answer.ok()) return kj::READY_NOW;
  results.setAction(static_cast<proto::Scheduler::SyncAction>(answer->action.kind));
  results.setRound(answer->action.round);
  results.setStream(answer->action.stream);
  results.setProducer(answer->producer);
  results.setExamples(answer->action.examples);
  results.setStep(answer->action.round);
  return kj::READY_NOW;
}

kj::Promise<void> SchedulerService::minibatch(MinibatchContext context) {
  const auto params = context.getParams();
  const auto finished = params.getFinished();
  const SyncQuestion question{.job = params.getJob(),
                              .seat = params.getToken(),
                              .finished = {.round = finished.getRound(),
                                           .stream = finished.getStream(),
                                           .tally = {.examples = finished.getExamples(),
                                                     .loss_sum = finished.getLossSum(),
                                                     .bad_records = finished.getBadRecords()}},
                              .committed = params.getCommitted()};
  auto answered = AnswerMinibatch(context, question, room_.NowMs() + kLongestWaitMs);
  room_.Wake();
  return answered;
}

// --- operator ---

kj::Promise<void> SchedulerService::inspect(InspectContext context) {
  return Answer(context, [&]() -> Status {
    const auto params = context.getParams();
    PENSTOCK_ASSIGN_OR_RETURN(const auto json,
                              plane_.Inspect(params.getWhat().cStr(), params.getName().cStr(), clock_()));
    context.getResults().setJson(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return Status::Ok();
  });
}

kj::Promise<void> SchedulerService::setCopies(SetCopiesContext context) {
  return Answer(context, [&] {
    const auto params = context.getParams();
    return plane_.SetCopies(params.getCopies(), params.getMinCopies(), clock_());
  });
}

kj::Promise<void> SchedulerService::forceShard(ForceShardContext context) {
  return Answer(context, [&] {
    const auto params = context.getParams();
    return plane_.Force(params.getShard(), params.getNode(), clock_());
  });
}

kj::Promise<void> SchedulerService::moveShard(MoveShardContext context) {
  return Answer(context, [&] {
    const auto params = context.getParams();
    return plane_.MoveShard(params.getShard(), params.getFrom(), params.getTo(), clock_());
  });
}

kj::Promise<void> SchedulerService::drainNode(DrainNodeContext context) {
  return Answer(context, [&] {
    const auto params = context.getParams();
    return plane_.Drain(params.getNode(), params.getDrained(), clock_());
  });
}

kj::Promise<void> SchedulerService::rebalance(RebalanceContext context) {
  return Answer(context, [&]() -> Status {
    switch (context.getParams().getWord()) {
      case proto::Scheduler::Word::NOW:
        return plane_.Rebalance(clock_());
      case proto::Scheduler::Word::ON:
        return plane_.SetBalance(true);
      case proto::Scheduler::Word::OFF:
        return plane_.SetBalance(false);
    }
    return InvalidArgument("rebalance: a word that this version does not know");
  });
}

kj::Promise<void> SchedulerService::removeJob(RemoveJobContext context) {
  return Answer(context, [&] {
    const auto params = context.getParams();
    return plane_.RemoveJob(params.getJob(), params.getDropTables());
  });
}

kj::Promise<void> SchedulerService::removeNode(RemoveNodeContext context) {
  return Answer(context, [&] { return plane_.RemoveNode(context.getParams().getNode(), clock_()); });
}

kj::Promise<void> SchedulerService::acceptLoss(AcceptLossContext context) {
  return Answer(context, [&] { return plane_.Accept(context.getParams().getShard(), clock_()); });
}

}  // namespace penstock
