#include "scheduler/scheduler_service.h"

#include <glog/logging.h>

#include "common/base/strings.h"
#include "common/cluster/wire.h"
#include "model/metrics.h"

namespace penstock {
namespace {

constexpr uint32_t kMaxEndpoints = 256;
constexpr uint32_t kMaxReports = 4096;
constexpr uint64_t kLongestWaitMs = 1000;     // of calls that wait for something to change
constexpr uint32_t kMaxTextBytes = 64 << 10;  // of an error, a damage

// The text as JSON can hold it: bytes that are no UTF-8 are replaced, so that the journal says exactly what
// memory does.
std::string ReadText(capnp::Text::Reader in) {
  const nlohmann::json text = std::string(in.cStr(), in.size());
  return nlohmann::json::parse(text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))
      .get<std::string>();
}

// Runs a method's body and puts its Status into the answer.
template <typename Context, typename Fn>
kj::Promise<void> Answer(Context& context, Fn fn) {
  Status status;
  try {
    status = fn();
  } catch (const std::exception& e) {
    status = Internal(StrCat("scheduler: ", e.what()));
    LOG(ERROR) << status.ToString();
  }
  WriteStatus(status, context.getResults().initStatus());
  return kj::READY_NOW;
}

Result<std::vector<ShardLine>> ReadLines(capnp::List<proto::ShardReport>::Reader in, size_t shards) {
  if (in.size() > shards)
    return InvalidArgument(StrCat("reports of ", in.size(), " shards, the cluster has ", shards));
  std::vector<ShardLine> lines;
  lines.reserve(in.size());
  for (auto report : in) {
    if (report.getShard() >= shards)
      return InvalidArgument(StrCat("a report of shard ", report.getShard(), ", the cluster has ", shards));
    if (report.getDamage().size() > kMaxTextBytes)
      return InvalidArgument("a report with a damage of too many characters");
    lines.push_back({.shard = report.getShard(),
                     .incarnation = report.getIncarnation(),
                     .epoch = report.getEpoch(),
                     .applied = report.getApplied(),
                     .logged = report.getLogged(),
                     .synced = report.getSynced(),
                     .core = report.getCore(),
                     .rows = report.getRows(),
                     .bytes = report.getBytes(),
                     .damage = report.hasDamage() ? ReadText(report.getDamage()) : ""});
  }
  return lines;
}

template <typename Builder>
void WriteTables(const std::map<TableId, TableSpec>& tables, Builder out) {
  uint32_t i = 0;
  for (const auto& [id, spec] : tables) WriteTableSpec(spec, out[i++]);
}

Status ReadError(proto::Status::Reader in) {
  const Status status = ReadStatus(in);
  return status.ok() ? status : Status(status.code(), ReadText(in.getMessage()), status.retry_after_ms());
}

ReportedProgress ReadProgress(proto::Progress::Reader in) {
  return {
      .job = in.getJob(),
      .token = in.getToken(),
      .recorded = in.getRecorded(),
      .tally = {.examples = in.getExamples(), .loss_sum = in.getLossSum(), .bad_records = in.getBadRecords()},
      .done = in.getDone(),
      .result = ReadText(in.getResult()),
      .error = ReadError(in.getError()),
      .clock = in.getClock()};
}

void WriteLease(const GivenLease& lease, proto::Lease::Builder out) {
  const JobRecord& job = *lease.job;
  const PartitionRecord seat{.token = lease.seat};
  const PartitionRecord& partition = lease.seat != 0 ? seat : job.partitions[lease.partition];
  out.setJob(job.id);
  out.setJobName(job.name);
  out.setSpec(job.spec);
  out.setPhase(static_cast<proto::Lease::Phase>(job.phase));
  out.setPass(job.pass);
  out.setPartition(lease.partition);
  out.setPartitions(static_cast<uint32_t>(job.partitions.size()));
  out.setToken(partition.token);
  out.setProducer(partition.producer);
  out.setBegin(partition.recorded);
  out.setPosition(lease.position);
  out.setClock(lease.clock);
  out.setBest(job.finishing && job.policy.keep_best && FindBest(job.history, job.policy).pass > 0);
}

}  // namespace

// --- nodes ---

Status SchedulerService::Register(RegisterContext& context) {
  const auto params = context.getParams();
  RegisterRequest request{
      .role = params.getRole() == proto::Role::SERVER ? NodeRole::kServer : NodeRole::kWorker,
      .node = params.getNode(),
      .name = ReadText(params.getName()),
      .endpoints = {},
      .http = ReadText(params.getHttpEndpoint()),
      .lines = {},
      .highest_term = params.getHighestTerm(),
      .highest_map_version = params.getHighestMapVersion()};
  if (params.getRole() > proto::Role::WORKER)
    return InvalidArgument("register: a role that this version does not know");
  if (params.getEndpoints().size() > kMaxEndpoints)
    return InvalidArgument("register: more than 256 endpoints");
  for (auto endpoint : params.getEndpoints()) request.endpoints.push_back(ReadText(endpoint));
  ASSIGN_OR_RETURN(request.lines, ReadLines(params.getShards(), plane_.data().shards.size()));
  ASSIGN_OR_RETURN(const RegisterAnswer answer, plane_.Register(request, clock_()));
  const StateData& data = plane_.data();
  auto results = context.getResults();
  results.setNode(answer.node);
  results.setCluster(data.cluster);
  results.setTerm(data.term);
  results.setShardCount(static_cast<uint32_t>(data.shards.size()));
  WriteTables(data.tables, results.initTables(static_cast<uint32_t>(data.tables.size())));
  results.setSession(answer.session);
  return Status::Ok();
}

void SchedulerService::FillWantedState(proto::Scheduler::HeartbeatParams::Reader params,
                                       const HeartbeatAnswer& answer,
                                       proto::Scheduler::HeartbeatResults::Builder results) {
  const StateData& data = plane_.data();
  results.setTerm(data.term);
  results.setMapVersion(answer.map_version);
  auto grants = results.initGrants(static_cast<uint32_t>(answer.grants.size()));
  for (uint32_t i = 0; i < answer.grants.size(); ++i) {
    grants[i].setShard(answer.grants[i].grant.shard);
    grants[i].setIncarnation(answer.grants[i].incarnation);
    grants[i].setEpoch(answer.grants[i].grant.epoch);
    grants[i].setMinLsn(answer.grants[i].grant.min_lsn);
  }
  results.setTableVersion(data.table_version);
  if (params.getTableVersion() < data.table_version) {
    WriteTables(data.tables, results.initTables(static_cast<uint32_t>(data.tables.size())));
    auto dropped = results.initDroppedTables(static_cast<uint32_t>(data.dropped_tables.size()));
    for (uint32_t i = 0; i < data.dropped_tables.size(); ++i) dropped.set(i, data.dropped_tables[i]);
  }
  const NodeRecord* node = plane_.state().FindNode(params.getNode());
  if (node->role != NodeRole::kServer) return;
  results.setForgetFloor(plane_.state().ForgetFloor());
  auto finished = results.initFinishedProducers(static_cast<uint32_t>(2 * data.finished.size()));
  for (uint32_t i = 0; i < data.finished.size(); ++i) {
    finished.set(2 * i, data.finished[i].first);
    finished.set(2 * i + 1, data.finished[i].second);
  }
}

Status SchedulerService::Heartbeat(HeartbeatContext& context) {
  const auto params = context.getParams();
  HeartbeatRequest request{
      .node = params.getNode(), .session = params.getSession(), .lines = {}, .busy = params.getBusy()};
  ASSIGN_OR_RETURN(request.lines, ReadLines(params.getShards(), plane_.data().shards.size()));
  ASSIGN_OR_RETURN(const HeartbeatAnswer answer, plane_.Heartbeat(std::move(request), clock_()));
  FillWantedState(params, answer, context.getResults());
  return Status::Ok();
}

kj::Promise<void> SchedulerService::register_(RegisterContext context) {
  return Answer(context, [&] { return Register(context); });
}
kj::Promise<void> SchedulerService::heartbeat(HeartbeatContext context) {
  return Answer(context, [&] { return Heartbeat(context); });
}

kj::Promise<void> SchedulerService::shardMap(ShardMapContext context) {
  return Answer(context, [&]() -> Status {
    ASSIGN_OR_RETURN(const ShardMap* map, plane_.Map(clock_()));
    if (map->version != context.getParams().getKnownVersion())
      WriteShardMap(*map, context.getResults().initMap());
    return Status::Ok();
  });
}

// --- tables, producers ---

kj::Promise<void> SchedulerService::createTable(CreateTableContext context) {
  return Answer(context, [&]() -> Status {
    ASSIGN_OR_RETURN(TableSpec spec, ReadTableSpec(context.getParams().getSpec()));
    ASSIGN_OR_RETURN(const TableSpec created, plane_.Create(std::move(spec), clock_()));
    WriteTableSpec(created, context.getResults().initSpec());
    return Status::Ok();
  });
}

kj::Promise<void> SchedulerService::openTable(OpenTableContext context) {
  return Answer(context, [&]() -> Status {
    ASSIGN_OR_RETURN(const TableSpec spec, plane_.Open(context.getParams().getName().cStr()));
    WriteTableSpec(spec, context.getResults().initSpec());
    return Status::Ok();
  });
}

kj::Promise<void> SchedulerService::dropTable(DropTableContext context) {
  return Answer(context, [&] { return plane_.Drop(context.getParams().getName().cStr(), clock_()); });
}

kj::Promise<void> SchedulerService::newProducers(NewProducersContext context) {
  return Answer(context, [&]() -> Status {
    ASSIGN_OR_RETURN(const ProducerId first, plane_.NewProducers(context.getParams().getCount()));
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
    ASSIGN_OR_RETURN(const JobId job, plane_.Submit(context.getParams().getSpec().cStr(), clock_()));
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
    ASSIGN_OR_RETURN(const LeaseAnswer answer,
                     plane_.Lease(params.getNode(), params.getSession(), params.getCount(), clock_()));
    auto results = context.getResults();
    auto leases = results.initLeases(static_cast<uint32_t>(answer.leases.size()));
    for (uint32_t i = 0; i < answer.leases.size(); ++i) WriteLease(answer.leases[i], leases[i]);
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
      if (line.getResult().size() > Evaluation::kMaxJsonBytes ||
          line.getError().getMessage().size() > kMaxTextBytes) {
        return InvalidArgument(StrCat("report: a result of more than ", Evaluation::kMaxJsonBytes,
                                      " bytes, or an error of more than ", kMaxTextBytes));
      }
      progress.push_back(ReadProgress(line));
    }
    ASSIGN_OR_RETURN(const auto verdicts,
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
    ASSIGN_OR_RETURN(const auto json,
                     plane_.Inspect(params.getWhat().cStr(), params.getName().cStr(), clock_()));
    context.getResults().setJson(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return Status::Ok();
  });
}

kj::Promise<void> SchedulerService::acceptLoss(AcceptLossContext context) {
  return Answer(context, [&] { return plane_.Accept(context.getParams().getShard(), clock_()); });
}

}  // namespace penstock
