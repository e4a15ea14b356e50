// The declarations of the process options, one function a section.
#include "common/config/cluster_options.h"

#include <bit>
#include <cstdlib>

#include "common/base/strings.h"

namespace penstock {
namespace {

constexpr double kMiB = 1 << 20;
constexpr double kTiB = kMiB * kMiB;
constexpr double kDayMs = 86400e3;
constexpr double kMaxSpinUs = 100e3;
constexpr double kMaxConnections = 1e6;

void Declare(OptionSet& set, ClusterOptions::Cluster& o) {
  set.DescribeSection("cluster", "What all processes of the cluster share.");
  set.Add("cluster", "name", &o.name,
          {.help = "Name of the cluster, in logs and in the status page.", .required = true});
  set.Add("cluster", "data_dir", &o.data_dir,
          {.help = "Folder of this process for all that survives a restart: node id, log, base, journal. A "
                   "relative path is "
                   "relative to the folder the process is started in.",
           .required = true});
  set.Add("cluster", "scheduler", &o.scheduler,
          {.help = "Where servers, workers and clients find the scheduler: host:port, or the path of the "
                   "address file that the scheduler writes in its data_dir."});
}

void Declare(OptionSet& set, ClusterOptions::Scheduler& o) {
  set.DescribeSection("scheduler",
                      "The process that knows who is in the cluster and which server holds which shard.");
  set.Add("scheduler", "listen", &o.listen,
          {.help = "Address to listen on. Beyond loopback a token file is needed.", .required = true});
  set.Add(
      "scheduler", "advertise_host", &o.advertise_host,
      {.help =
           "Host name or address that others reach it by; needed where it listens on all addresses. Empty: "
           "the address it listens on."});
  set.Add("scheduler", "port", &o.port, {.help = "RPC port; 0: any free one.", .max = 65535});
  set.Add("scheduler", "http_port", &o.http_port,
          {.help = "Port of metrics and health; 0: any free one.", .max = 65535});
  set.Add("scheduler", "heartbeat_ms", &o.heartbeat_ms,
          {.help = "How often servers and workers report.", .unit = "ms", .min = 10, .max = 60000});
  set.Add(
      "scheduler", "suspect_ms", &o.suspect_ms,
      {.help = "Silence after which a node is shown as suspect.", .unit = "ms", .min = 20, .max = 600000});
  set.Add("scheduler", "dead_ms", &o.dead_ms,
          {.help = "Silence after which a node counts as dead. At least suspect_ms.",
           .unit = "ms",
           .min = 20,
           .max = 3600000});
  set.Add("scheduler", "lease_ms", &o.lease_ms,
          {.help = "Silence of a worker after which its data partitions are leased to others.",
           .unit = "ms",
           .min = 100,
           .max = 3600000});
  set.Add("scheduler", "shards", &o.shards,
          {.help = "Slices of the key space, the unit of placement; a power of two, fixed when the cluster "
                   "is created.",
           .min = 2,
           .max = 65536});
  set.Add("scheduler", "servers", &o.servers,
          {.help = "How many servers to wait for before the shards of a new cluster are placed.",
           .min = 1,
           .max = 4096});
  set.Add(
      "scheduler", "copies", &o.copies,
      {.help =
           "On how many servers each shard of a new cluster is kept; a push at `logged` or `synced` is "
           "answered when all of them that are in sync have it. Later `penstock cluster copies` changes it.",
       .min = 1,
       .max = 3});
  set.Add(
      "scheduler", "min_copies", &o.min_copies,
      {.help = "With fewer copies of a shard in sync, pushes at `logged` and `synced` are refused. At most "
               "copies; of a new cluster, as that.",
       .min = 1,
       .max = 3});
  set.Add("scheduler", "balance_delay_ms", &o.balance_delay_ms,
          {.help = "How long the same servers must have been there before shards move to even out what they "
                   "hold and do. `penstock cluster rebalance` does it now, or has it done no more.",
           .unit = "ms",
           .max = kDayMs});
  set.Add(
      "scheduler", "keep_jobs", &o.keep_jobs,
      {.help = "How many jobs that have ended are kept in the list of jobs; older ones are forgotten, and "
               "their tables stay. `penstock job rm` removes single ones.",
       .min = 1,
       .max = 100000});
  set.Add("scheduler", "max_connections", &o.max_connections,
          {.help = "RPC connections at a time; further ones are refused as overloaded.",
           .min = 8,
           .max = kMaxConnections});
}

void DeclareServerNetwork(OptionSet& set, ClusterOptions::Server& o) {
  set.Add("server", "listen", &o.listen,
          {.help = "Address to listen on. Beyond loopback a token file is needed.", .required = true});
  set.Add(
      "server", "advertise_host", &o.advertise_host,
      {.help =
           "Host name or address that others reach it by; needed where it listens on all addresses. Empty: "
           "the address it listens on."});
  set.Add("server", "port", &o.port,
          {.help = "RPC port of the first core, the next cores take the following ones; 0: any free ones.",
           .max = 65535});
  set.Add("server", "http_port", &o.http_port,
          {.help = "Port of metrics and health; 0: any free one.", .max = 65535});
  set.Add(
      "server", "host", &o.host,
      {.help = "Name of its machine. Copies of a shard are moved to different ones where there are enough. "
               "Empty: the machine's own name."});
  set.Add("server", "zone", &o.zone,
          {.help = "Name of what the machine stands in and fails with, such as a rack. Copies of a shard are "
                   "moved to different ones where there are enough. Empty: none."});
  set.Add("server", "cores", &o.cores,
          {.help = "Event loops, one thread and one port each; the server's shards are spread over them.",
           .min = 1,
           .max = 256});
  set.Add(
      "server", "spin_us", &o.spin_us,
      {.help = "How long a core looks for the next call before it sleeps. More answers small calls sooner "
               "while calls follow each other, and takes a processor for each core meanwhile.",
       .unit = "us",
       .max = kMaxSpinUs});
  set.Add("server", "max_connections", &o.max_connections,
          {.help = "RPC connections of a core at a time; further ones are refused as overloaded.",
           .min = 8,
           .max = kMaxConnections});
}

void DeclareServerCopies(OptionSet& set, ClusterOptions::Server& o) {
  set.Add("server", "copy_wait_ms", &o.copy_wait_ms,
          {.help = "How long a push that was applied waits until its shards' other copies have confirmed it; "
                   "then it ends as outcome unknown.",
           .unit = "ms",
           .min = 100,
           .max = kDayMs});
  set.Add("server", "copy_tail_bytes", &o.copy_tail_bytes,
          {.help = "Deltas that a core keeps in memory for copies which have not confirmed them yet. Beyond "
                   "it the slowest copy is given up and made anew. It comes on top of the memory budget.",
           .unit = "bytes",
           .min = 64 * kMiB,
           .max = kTiB});
  set.Add(
      "server", "seed_bytes_per_s", &o.seed_bytes_per_s,
      {.help = "What this server sends of its rows, in bytes a second of all its cores, to copies that are "
               "made anew: for moves, and after failures. 0: no bound. Changes that are pushed meanwhile "
               "come on top.",
       .unit = "bytes",
       .max = kTiB});
  set.Add("server", "drain_on_stop", &o.drain_on_stop,
          {.help = "On SIGTERM or SIGINT what this server holds goes to other servers first, and the server "
                   "then ends. It is "
                   "drained until it is started again."});
  set.Add("server", "drain_ms", &o.drain_ms,
          {.help = "How long that may take; then the server ends with what is left. It ends at once when no "
                   "other server can take it, and after some seconds when the scheduler does not answer.",
           .unit = "ms",
           .max = kDayMs});
}

void DeclareServerStorage(OptionSet& set, ClusterOptions::Server& o) {
  set.Add("server", "memory_budget_bytes", &o.memory_budget_bytes,
          {.help = "Memory for rows, indexes and marks, divided over the cores. Beyond it rows leave memory "
                   "and are read from disk when they are asked for; pushes are refused as overloaded while "
                   "too few can leave. Caches and buffers come on top, about a third of it. 0: half of the "
                   "memory of the machine or of its control group. At least 16 MiB.",
           .unit = "bytes",
           .max = 64 * kTiB});
  set.Add("server", "segment_bytes", &o.segment_bytes,
          {.help = "Size of one file of the delta log.", .unit = "bytes", .min = kMiB, .max = 16384 * kMiB});
  set.Add(
      "server", "fold_bytes", &o.fold_bytes,
      {.help =
           "Length of the delta log at which it is folded into the base, at least segment_bytes. 0: about "
           "twice what the live rows take in memory, at least 64 MiB, as far as recovery_seconds and an "
           "eighth of the free disk allow. Either way at most what is free of the memory budget, or a "
           "quarter of it, and half of log_limit_bytes.",
       .unit = "bytes",
       .max = kTiB});
  set.Add(
      "server", "recovery_seconds", &o.recovery_seconds,
      {.help = "How long a start may replay the delta log, at the speed that starts have shown here (100 MiB "
               "a second before the first): longer logs are folded.",
       .unit = "s",
       .min = 1,
       .max = 3600});
  set.Add("server", "log_limit_bytes", &o.log_limit_bytes,
          {.help = "Length of the delta log at which pushes are refused as overloaded until a fold has "
                   "shortened it. At least "
                   "fold_bytes.",
           .unit = "bytes",
           .min = 2 * kMiB,
           .max = 16 * kTiB});
  set.Add(
      "server", "damaged_limit_bytes", &o.damaged_limit_bytes,
      {.help = "Damaged files that are kept in the data directory, as `damaged`, to be looked at. Beyond it "
               "the oldest are removed, which the status says; the latest stay.",
       .unit = "bytes",
       .max = 16 * kTiB});
  set.Add("server", "max_unit_bytes", &o.max_unit_bytes,
          {.help = "Largest unit of a push: what it holds of one table for one shard.",
           .unit = "bytes",
           .min = 1024,
           .max = 64 * kMiB});
  set.Add("server", "memory_lag_ms", &o.memory_lag_ms,
          {.help = "How long a changed row of a table of durability `memory` may wait before it is logged.",
           .unit = "ms",
           .min = 1,
           .max = kDayMs});
  set.Add("server", "expire_interval_ms", &o.expire_interval_ms,
          {.help = "How often the rows of tables with rules of expiry are looked through, and how long a row "
                   "that is small by expiry.min_norm may stay after its last push.",
           .unit = "ms",
           .min = 100,
           .max = kDayMs});
}

void Declare(OptionSet& set, ClusterOptions::Server& o) {
  set.DescribeSection("server", "A process that holds shards.");
  DeclareServerNetwork(set, o);
  DeclareServerStorage(set, o);
  DeclareServerCopies(set, o);
}

void Declare(OptionSet& set, ClusterOptions::Worker& o) {
  set.DescribeSection("worker", "A process that trains.");
  set.Add("worker", "listen", &o.listen,
          {.help = "Address that metrics and health listen on.", .required = true});
  set.Add("worker", "http_port", &o.http_port,
          {.help = "Port of metrics and health; 0: any free one.", .max = 65535});
  set.Add("worker", "poll_ms", &o.poll_ms,
          {.help = "How often an idle worker asks for a partition.", .unit = "ms", .min = 10, .max = 60000});
  set.Add("worker", "data_memory_bytes", &o.data_memory_bytes,
          {.help = "Parsed partitions that a worker keeps in memory, so that later passes need not read them "
                   "again. The partition in work and the next one, which is read ahead, come on top; 0: only "
                   "these.",
           .unit = "bytes",
           .max = 64 * kTiB});
  set.Add(
      "worker", "data_roots", &o.data_roots,
      {.help = "Folders below which the files of jobs must stand that were submitted with a client's "
               "token. Empty: such jobs can read no files. Jobs of the operator read what the worker may."});
}

void Declare(OptionSet& set, ClusterOptions::Client& o) {
  set.DescribeSection("client", "Whoever pulls and pushes: workers, tools, programs.");
  set.Add("client", "deadline_ms", &o.deadline_ms,
          {.help = "Time for one pull or push, retries included.", .unit = "ms", .min = 1, .max = kDayMs});
  set.Add("client", "connect_timeout_ms", &o.connect_timeout_ms,
          {.help = "Time for one attempt to connect, handshake included.",
           .unit = "ms",
           .min = 1,
           .max = 600000});
  set.Add("client", "spin_us", &o.spin_us,
          {.help = "How long a worker looks for the next answer before it sleeps, as server.spin_us does for "
                   "calls.",
           .unit = "us",
           .max = kMaxSpinUs});
}

void Declare(OptionSet& set, ClusterOptions::Security& o) {
  set.DescribeSection("security", "Who may take part.");
  set.Add("security", "token_file", &o.token_file,
          {.help = "File whose first line is the token that this process proves: that of nodes, for "
                   "servers, workers and the scheduler. Empty: no token, on loopback only."});
  set.Add("security", "operator_token_file", &o.operator_token_file,
          {.help = "The token of operators, which scheduler and servers accept for what is not for clients. "
                   "Empty, with client_token_file: token_file has the one token of the cluster, which may "
                   "do everything."});
  set.Add("security", "client_token_file", &o.client_token_file,
          {.help = "The token of programs and notebooks, which scheduler and servers accept for tables, "
                   "pushes, pulls and jobs."});
}

void Declare(OptionSet& set, ClusterOptions::Log& o) {
  set.DescribeSection("log", "Messages of the processes.");
  set.Add("log", "level", &o.level,
          {.help = "The least grave messages to keep.", .choices = {"info", "warning", "error"}});
  set.Add("log", "dir", &o.dir,
          {.help = "Folder of the log files. Empty: all messages go to standard error."});
  set.Add("log", "max_mib", &o.max_mib,
          {.help = "Size at which the next log file is begun.", .unit = "MiB", .min = 1, .max = 4095});
  set.Add("log", "keep_days", &o.keep_days,
          {.help = "Age at which log files are deleted; 0: never.", .unit = "days", .max = 36500});
}

Status AtLeast(std::string_view name, uint64_t value, std::string_view other, uint64_t least) {
  if (value >= least) return Status::Ok();
  return InvalidArgument(StrCat(name, " = ", value, ": must be at least ", other, " (", least, ")"));
}

}  // namespace

void ClusterOptions::Declare(OptionSet& options) {
  penstock::Declare(options, cluster);
  penstock::Declare(options, scheduler);
  penstock::Declare(options, server);
  penstock::Declare(options, worker);
  penstock::Declare(options, client);
  penstock::Declare(options, security);
  penstock::Declare(options, log);
}

Status ClusterOptions::Check() const {
  if (!std::has_single_bit(scheduler.shards)) {
    return InvalidArgument(
        StrCat("scheduler.shards = ", scheduler.shards, ": must be a power of two from 2 to 65536"));
  }
  // One late report must not make a node suspect.
  PENSTOCK_RETURN_IF_ERROR(AtLeast("scheduler.suspect_ms", scheduler.suspect_ms,
                                   "twice scheduler.heartbeat_ms", 2 * uint64_t{scheduler.heartbeat_ms}));
  PENSTOCK_RETURN_IF_ERROR(
      AtLeast("scheduler.dead_ms", scheduler.dead_ms, "scheduler.suspect_ms", scheduler.suspect_ms));
  PENSTOCK_RETURN_IF_ERROR(AtLeast("scheduler.lease_ms", scheduler.lease_ms, "twice scheduler.heartbeat_ms",
                                   2 * uint64_t{scheduler.heartbeat_ms}));
  PENSTOCK_RETURN_IF_ERROR(
      AtLeast("scheduler.copies", scheduler.copies, "scheduler.min_copies", scheduler.min_copies));
  // A piece of a seed has 1 MiB, and a copy that has heard nothing for long counts as unreachable.
  if (server.seed_bytes_per_s != 0) {
    PENSTOCK_RETURN_IF_ERROR(AtLeast("server.seed_bytes_per_s", server.seed_bytes_per_s, "1 MiB", 1 << 20));
  }
  if (server.memory_budget_bytes != 0) {
    PENSTOCK_RETURN_IF_ERROR(
        AtLeast("server.memory_budget_bytes", server.memory_budget_bytes, "16 MiB", 16 << 20));
  }
  if (server.fold_bytes != 0) {
    PENSTOCK_RETURN_IF_ERROR(
        AtLeast("server.fold_bytes", server.fold_bytes, "server.segment_bytes", server.segment_bytes));
  }
  PENSTOCK_RETURN_IF_ERROR(
      AtLeast("server.log_limit_bytes", server.log_limit_bytes, "server.fold_bytes", server.fold_bytes));
  if (security.operator_token_file.empty() != security.client_token_file.empty() ||
      (security.token_file.empty() && !security.client_token_file.empty())) {
    return InvalidArgument(
        "security.operator_token_file and security.client_token_file: set both, beside security.token_file, "
        "or neither");
  }
  PENSTOCK_RETURN_IF_ERROR(AtLeast("server.log_limit_bytes", server.log_limit_bytes,
                                   "twice server.segment_bytes", 2 * server.segment_bytes));
  if (server.port != 0 && server.port + server.cores - 1 > 65535) {
    return InvalidArgument(StrCat("server.port = ", server.port, ": with server.cores = ", server.cores,
                                  " the last port would be beyond 65535"));
  }
  return Status::Ok();
}

std::string ClusterSampleIntro() {
  return "Options of the processes of a Penstock cluster, all at their defaults. Made from the declarations "
         "in "
         "common/config/cluster_options.cc; a test fails when the two differ.\n"
         "Each option can also be set by the environment (PENSTOCK_<SECTION>_<NAME>) and by --set "
         "section.name=value, which wins.";
}

Result<ClusterOptions> LoadClusterOptions(const std::string& config,
                                          const std::vector<std::string>& assignments) {
  ClusterOptions values;
  OptionSet options;
  values.Declare(options);
  if (!config.empty()) PENSTOCK_RETURN_IF_ERROR(options.LoadFile(config));
  PENSTOCK_RETURN_IF_ERROR(options.LoadEnvironment([](const char* name) { return std::getenv(name); }));
  for (const auto& assignment : assignments) PENSTOCK_RETURN_IF_ERROR(options.Set(assignment, "--set"));
  PENSTOCK_RETURN_IF_ERROR(options.Validate());
  PENSTOCK_RETURN_IF_ERROR(values.Check());
  return values;
}

}  // namespace penstock
