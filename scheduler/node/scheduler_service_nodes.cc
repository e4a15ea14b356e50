// SchedulerService: registrations and heartbeats.
#include "common/base/strings.h"
#include "common/cluster/wire.h"
#include "common/net/identity.h"
#include "scheduler/node/scheduler_service.h"
#include "scheduler/node/service_text.h"

namespace penstock {
namespace {

constexpr size_t kMaxPathBytes = 4096;
constexpr uint32_t kMaxEndpoints = 256;
constexpr uint32_t kMaxWorkerEndpoints = 4;  // they serve nobody yet
constexpr size_t kMaxEndpointBytes = 300;    // a host name and a port
constexpr uint32_t kMaxBackupReports = 16;

Result<std::vector<BackupLine>> ReadBackups(capnp::List<proto::BackupReport>::Reader in) {
  if (in.size() > kMaxBackupReports)
    return InvalidArgument(StrCat("a report of ", in.size(), " backups of a shard"));
  std::vector<BackupLine> backups;
  for (auto report : in) {
    PENSTOCK_ASSIGN_OR_RETURN(std::string failed,
                              ReadLine(report.getFailed(), kMaxTextBytes, "a report of a backup's failure"));
    backups.push_back({.node = report.getNode(),
                       .incarnation = report.getIncarnation(),
                       .caught_up = report.getCaughtUp(),
                       .failed = std::move(failed),
                       .seeded_bytes = report.getSeededBytes(),
                       .behind_bytes = report.getBehindBytes()});
  }
  return backups;
}

Result<std::vector<ShardLine>> ReadLines(capnp::List<proto::ShardReport>::Reader in, size_t shards) {
  if (in.size() > shards)
    return InvalidArgument(StrCat("reports of ", in.size(), " shards, the cluster has ", shards));
  std::vector<ShardLine> lines;
  lines.reserve(in.size());
  for (auto report : in) {
    if (report.getShard() >= shards)
      return InvalidArgument(StrCat("a report of shard ", report.getShard(), ", the cluster has ", shards));
    PENSTOCK_ASSIGN_OR_RETURN(std::string damage,
                              ReadLine(report.getDamage(), kMaxTextBytes, "a report of a damage"));
    PENSTOCK_ASSIGN_OR_RETURN(auto backups, ReadBackups(report.getBackups()));
    lines.push_back({.shard = report.getShard(),
                     .incarnation = report.getIncarnation(),
                     .epoch = report.getEpoch(),
                     .applied = report.getApplied(),
                     .logged = report.getLogged(),
                     .synced = report.getSynced(),
                     .core = report.getCore(),
                     .rows = report.getRows(),
                     .bytes = report.getBytes(),
                     .damage = std::move(damage),
                     .seen = report.getSeen(),
                     .complete = report.getComplete(),
                     .backups = std::move(backups),
                     .served_rows = report.getServedRows(),
                     .fenced = report.getFenced(),
                     .delay_ms = report.getDelayMs()});
  }
  return lines;
}

template <typename Builder>
void WriteTables(const std::map<TableId, TableSpec>& tables, Builder out) {
  uint32_t i = 0;
  for (const auto& [id, spec] : tables) WriteTableSpec(spec, out[i++]);
}

// The scheduler gives a name to who has none.
Status CheckNodeName(capnp::Text::Reader name) {
  return name.size() == 0 ? Status::Ok() : CheckPeerName({name.begin(), name.size()});
}

Result<std::string> ReadAddress(capnp::Text::Reader in) {
  return ReadLine(in, kMaxEndpointBytes, "register: an address");
}

void WriteFollows(const std::vector<NodeFollow>& follows, capnp::List<proto::ShardFollow>::Builder out) {
  for (uint32_t i = 0; i < out.size(); ++i) {
    out[i].setShard(follows[i].shard);
    out[i].setIncarnation(follows[i].incarnation);
    out[i].setEpoch(follows[i].epoch);
  }
}

void WriteGrant(const NodeGrant& grant, proto::ShardGrant::Builder out) {
  out.setShard(grant.grant.shard);
  out.setIncarnation(grant.incarnation);
  out.setEpoch(grant.grant.epoch);
  out.setMinLsn(grant.grant.min_lsn);
  out.setMinCopies(grant.min_copies);
  out.setRewind(grant.rewind);
  out.setFence(grant.fence);
  auto backups = out.initBackups(static_cast<uint32_t>(grant.backups.size()));
  for (uint32_t i = 0; i < backups.size(); ++i) {
    backups[i].setNode(grant.backups[i].node);
    backups[i].setName(grant.backups[i].name);
    backups[i].setIncarnation(grant.backups[i].incarnation);
    backups[i].setEndpoint(grant.backups[i].endpoint);
    backups[i].setInSync(grant.backups[i].in_sync);
  }
}

}  // namespace

Status SchedulerService::Register(RegisterContext& context) {
  const auto params = context.getParams();
  PENSTOCK_RETURN_IF_ERROR(CheckNodeName(params.getName()).Prepend("register"));
  PENSTOCK_ASSIGN_OR_RETURN(std::string http, ReadAddress(params.getHttpEndpoint()));
  PENSTOCK_ASSIGN_OR_RETURN(std::string log,
                            ReadLine(params.getLogPath(), kMaxPathBytes, "register: a path of a log"));
  PENSTOCK_ASSIGN_OR_RETURN(std::string host, ReadAddress(params.getHost()));
  PENSTOCK_ASSIGN_OR_RETURN(std::string zone, ReadAddress(params.getZone()));
  RegisterRequest request{
      .role = params.getRole() == proto::Role::SERVER ? NodeRole::kServer : NodeRole::kWorker,
      .node = params.getNode(),
      .name = ReadLine(params.getName()),
      .endpoints = {},
      .http = std::move(http),
      .lines = {},
      .highest_term = params.getHighestTerm(),
      .highest_map_version = params.getHighestMapVersion(),
      .process = {.pid = params.getPid(), .log = std::move(log)},
      .host = std::move(host),
      .zone = std::move(zone),
      .memory = params.getMemoryBytes()};
  if (params.getRole() > proto::Role::WORKER)
    return InvalidArgument("register: a role that this version does not know");
  if (!OfNode()) {
    PENSTOCK_RETURN_IF_ERROR(MayServe(request.role, "register"));
    request.highest_term = request.highest_map_version = 0;
  }
  const uint32_t most = request.role == NodeRole::kServer ? kMaxEndpoints : kMaxWorkerEndpoints;
  if (params.getEndpoints().size() > most)
    return InvalidArgument(StrCat("register: more than ", most, " endpoints"));
  for (auto endpoint : params.getEndpoints()) {
    PENSTOCK_ASSIGN_OR_RETURN(std::string address, ReadAddress(endpoint));
    request.endpoints.push_back(std::move(address));
  }
  PENSTOCK_ASSIGN_OR_RETURN(request.lines, ReadLines(params.getShards(), plane_.data().shards.size()));
  if (!OfNode()) request.lines.clear();
  if (request.role == NodeRole::kWorker)
    PENSTOCK_RETURN_IF_ERROR(plane_.MakeRoomForWorker(request, clock_()));
  PENSTOCK_ASSIGN_OR_RETURN(const RegisterAnswer answer, plane_.Register(request, clock_()));
  NoteHeard(answer.node);
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
  const WantedState& wanted = answer.wanted;
  results.setTerm(data.term);
  results.setMapVersion(answer.map_version);
  results.setRewind(wanted.rewind);
  results.setMayLeave(wanted.may_leave);
  auto grants = results.initGrants(static_cast<uint32_t>(wanted.grants.size()));
  for (uint32_t i = 0; i < grants.size(); ++i) WriteGrant(wanted.grants[i], grants[i]);
  WriteFollows(wanted.follows, results.initFollows(static_cast<uint32_t>(wanted.follows.size())));
  WriteFollows(wanted.discards, results.initDiscards(static_cast<uint32_t>(wanted.discards.size())));
  results.setTableVersion(data.table_version);
  if (params.getTableVersion() < data.table_version) {
    WriteTables(data.tables, results.initTables(static_cast<uint32_t>(data.tables.size())));
    auto dropped = results.initDroppedTables(static_cast<uint32_t>(data.dropped_tables.size()));
    for (uint32_t i = 0; i < data.dropped_tables.size(); ++i) dropped.set(i, data.dropped_tables[i]);
  }
  const NodeRecord* node = plane_.state().FindNode(params.getNode());
  if (node->role != NodeRole::kServer) return;
  results.setForgetFloor(plane_.state().ForgetFloor());
  WriteProducerRanges(wanted.finished, [&](uint32_t size) { return results.initFinishedProducers(size); });
  WriteProducerRanges(plane_.state().complete_producers(),
                      [&](uint32_t size) { return results.initCompleteProducers(size); });
}

// Workers have no port that could refuse anybody.
void SchedulerService::NoteHeard(NodeId id) {
  const NodeRecord* node = plane_.state().FindNode(id);
  if (node != nullptr && node->role == NodeRole::kServer && !node->endpoints.empty())
    watch_.OnHeard(id, node->endpoints.front(), caller_.connection);
}

// Of callers that are no nodes.
Status SchedulerService::MayServe(NodeRole role, std::string_view method) const {
  if (role != NodeRole::kServer) return Status::Ok();
  return PermissionDenied(StrCat("'", method, "' of a server is not for the ", ToString(caller_.access),
                                 " token, allowed is node"));
}

// --- heartbeats ---

Result<HeartbeatAnswer> SchedulerService::Beat(proto::Scheduler::HeartbeatParams::Reader params) {
  PENSTOCK_ASSIGN_OR_RETURN(std::string note, ReadLine(params.getNote(), kMaxTextBytes, "a note"));
  PENSTOCK_ASSIGN_OR_RETURN(std::string trouble, ReadLine(params.getTrouble(), kMaxTextBytes, "a trouble"));
  HeartbeatRequest request{.node = params.getNode(),
                           .map_version = params.getMapVersion(),
                           .session = params.getSession(),
                           .lines = {},
                           .busy = params.getBusy(),
                           .words = {.note = std::move(note),
                                     .trouble = std::move(trouble),
                                     .leaving = params.getLeaving(),
                                     .loading = params.getLoading()}};
  if (!OfNode()) {
    const NodeRecord* node = plane_.state().FindNode(request.node);
    if (node != nullptr) PENSTOCK_RETURN_IF_ERROR(MayServe(node->role, "heartbeat"));
    request.map_version = 0;
  }
  try {
    PENSTOCK_ASSIGN_OR_RETURN(request.lines, ReadLines(params.getShards(), plane_.data().shards.size()));
    if (!OfNode()) request.lines.clear();
    auto answer = plane_.Heartbeat(std::move(request), clock_());
    if (answer.ok()) NoteHeard(params.getNode());
    return answer;
  } catch (const std::exception& e) {
    LOG(ERROR) << "scheduler: heartbeat: " << e.what();
    return Internal(StrCat("scheduler: ", e.what()));
  }
}

bool SchedulerService::WorthSaying(proto::Scheduler::HeartbeatParams::Reader params,
                                   const WantedState& wanted) const {
  if (!params.getHold() || params.getTableVersion() < wanted.table_version) return true;
  auto it = told_.find(params.getNode());
  return it == told_.end() || it->second.session != params.getSession() || it->second.wanted != wanted;
}

kj::Promise<void> SchedulerService::AnswerHeartbeat(HeartbeatContext context, Result<HeartbeatAnswer> answer,
                                                    uint64_t until_ms) {
  const auto params = context.getParams();
  if (answer.ok() && !WorthSaying(params, answer->wanted) && held_.NowMs() < until_ms) {
    return held_.Wait(until_ms - held_.NowMs()).then([this, context, until_ms]() mutable {
      const auto asked = context.getParams();
      return AnswerHeartbeat(context, plane_.Wanted(asked.getNode(), asked.getSession(), clock_()), until_ms);
    });
  }
  WriteStatus(answer.status(), context.getResults().initStatus());
  if (!answer.ok()) return kj::READY_NOW;
  FillWantedState(params, *answer, context.getResults());
  if (told_.size() > plane_.data().nodes.size())  // of nodes that were removed
    std::erase_if(told_, [&](const auto& told) { return plane_.state().FindNode(told.first) == nullptr; });
  told_[params.getNode()] = {.session = params.getSession(), .wanted = std::move(answer->wanted)};
  return kj::READY_NOW;
}

void SchedulerService::WakeHeld() {
  if (plane_.wanted_version() == woken_version_) return;
  woken_version_ = plane_.wanted_version();
  held_.Wake();
}

kj::Promise<void> SchedulerService::register_(RegisterContext context) {
  return Answer(context, [&] { return Register(context); });
}

kj::Promise<void> SchedulerService::cannotStart(CannotStartContext context) {
  return Answer(context, [&]() -> Status {
    const auto params = context.getParams();
    PENSTOCK_ASSIGN_OR_RETURN(const std::string reason,
                              ReadLine(params.getReason(), kMaxTextBytes, "cannotStart: a reason"));
    PENSTOCK_RETURN_IF_ERROR(
        CheckPeerName({params.getName().begin(), params.getName().size()}).Prepend("cannotStart"));
    return plane_.CannotStart(ReadLine(params.getName()), reason);
  });
}

// A sign of life when it comes, whenever it is answered.
kj::Promise<void> SchedulerService::heartbeat(HeartbeatContext context) {
  auto answered = AnswerHeartbeat(context, Beat(context.getParams()), held_.NowMs() + hold_ms_);
  WakeHeld();
  return answered;
}

}  // namespace penstock
