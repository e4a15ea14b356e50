#include "tools/cli/bench_arguments.h"

#include <CLI/CLI.hpp>

#include "tools/bench/row_oracle.h"
#include "tools/cli/argument_checks.h"

namespace penstock {
namespace {

class BenchParser {
 public:
  BenchParser(CLI::App* bench, Arguments* arguments, const CommandParts& parts)
      : bench_(bench), a_(*arguments), parts_(parts) {}

  void Add() {
    AddLimit();
    AddRows("pull", Work::kPull, "Pulls of random rows");
    AddRows("push", Work::kPush, "Pushes to random rows");
    AddRows("step", Work::kStep, "Steps: pull then push of random rows");
    AddDense();
    AddLatency();
    AddPairs();
    AddServer();
    AddMemory();
    AddMove();
    AddTraining();
    AddAll();
    parts_.command(bench_, "worker", "A worker process of the others")->group("");
  }

 private:
  CLI::App* Measurement(const std::string& name, const std::string& help) {
    CLI::App* command = parts_.command(bench_, name, help);
    parts_.output(command);
    command
        ->add_option("--limit-seconds", a_.limit_seconds,
                     "of each measurement of the machine's limits, of which there are 35 (default 0.15)")
        ->check(CLI::Range(0.001, 60.0));
    return command;
  }

  void AddLimit() {
    Pin(Measurement("limit", "What the machine can do: TCP on loopback, ping-pong, memcpy"));
  }

  CLI::Option* Pin(CLI::App* command) {
    return command->add_flag("--pin", a_.pin,
                             "keep each process on a processor of its own, as far as there are so many");
  }

  // A cluster of its own, or a running one.
  void Cluster(CLI::App* command, uint64_t* memory_lag_ms) {
    CLI::Option* scheduler = parts_.target(command);
    CLI::Option* data_dir = command->get_option("--data-dir");
    command->add_option("--servers", a_.servers, "of its own cluster (default 1)")
        ->check(CLI::Range(1, 4096))
        ->excludes(scheduler)
        ->excludes(data_dir);
    command
        ->add_option("--copies", a_.copies,
                     "of each shard, in its own cluster; at most as many as servers (default 1)")
        ->check(CLI::Range(1, 3))
        ->excludes(scheduler)
        ->excludes(data_dir);
    Pin(command)->excludes(scheduler)->excludes(data_dir);
    command->add_option("--memory-lag-ms", *memory_lag_ms,
                        "server.memory_lag_ms, of its own cluster or as the running one has it (default "
                        "5000); --seconds must be at least twice that where rows are pushed");
  }

  void LogOff(CLI::App* command) {
    command
        ->add_flag("--skip-log-off", a_.skip_log_off,
                   "leave out the comparison with a cluster that neither logs nor folds meanwhile")
        ->excludes(command->get_option("--scheduler"))
        ->excludes(command->get_option("--data-dir"));
  }

  void Spin(CLI::App* command, const std::string& help) {
    command->add_option("--spin-us", a_.workload.spin_us,
                        "server.spin_us of its own cluster, and spin_us of the clients (" + help + ")");
  }

  // What the options of a command are unless they are named.
  void Defaults(CLI::App* command, const WorkloadOptions& defaults, uint64_t mib = 0, uint32_t pairs = 10) {
    // Called when the parser is gone.
    command->preparse_callback([&arguments = a_, defaults, mib, pairs](size_t) {
      arguments.workload = defaults;
      arguments.mib = mib;
      arguments.pairs = pairs;
    });
  }

  void Rows(CLI::App* command, const std::string& rows, const std::string& dim) {
    command->add_option("--rows", a_.workload.rows, "of the table, of which keys are drawn (" + rows + ")");
    command->add_option("--dim", a_.workload.dim, "floats in a row (" + dim + ")");
  }

  void Table(CLI::App* command, const std::string& optimizer) {
    WorkloadOptions& o = a_.workload;
    command->add_option("--optimizer", o.optimizer, RowOracle::Allowed() + " (" + optimizer + ")");
    command->add_option("--durability", o.durability, "memory, logged or synced (default memory)");
    command->add_option("--codec", o.codec, "of the values on the wire: f32 or bf16 (default f32)");
  }

  void Batches(CLI::App* command) {
    WorkloadOptions& o = a_.workload;
    command->add_option("--keys", o.keys, "in a batch, distinct unless skewed (default 10000)");
    command->add_option("--skew", o.skew,
                        "zipf:EXPONENT: draw from it; keys may repeat, and rows are counted as they stand "
                        "(default: uniformly)");
    command->add_option("--inflight", o.inflight, "batches in flight of each worker (default 2)");
    command->add_option("--workers", o.workers, "processes that pull and push (default 1)");
    command->add_option("--batches", o.batches,
                        "drawn by each worker before the clock starts (default 500; fewer need less memory)");
  }

  void Repeats(CLI::App* command, const std::string& seconds) {
    WorkloadOptions& o = a_.workload;
    if (!seconds.empty()) command->add_option("--seconds", o.seconds, "of each repeat (" + seconds + ")");
    command->add_option("--repeats", o.repeats, "default 5");
    command->add_option("--seed", o.seed, "of what is drawn (default 1)");
  }

  void AddRows(const std::string& name, Work work, const std::string& help) {
    WorkloadOptions& o = a_.workload;
    CLI::App* command = Measurement(name, help + ", in a cluster of its own or in a running one");
    Defaults(command, {.work = work});
    Cluster(command, &o.memory_lag_ms);
    LogOff(command);
    Spin(command, "default 0");
    Batches(command);
    Rows(command, "default 1000000", "default 16");
    Table(command, "default sgd");
    Repeats(command, "default 10");
  }

  void AddDense() {
    DenseOptions& o = a_.dense;
    CLI::App* command = Measurement("dense", "Pushes and pulls of a dense tensor");
    Cluster(command, &o.memory_lag_ms);
    LogOff(command);
    command->add_option("--mib", o.mib, "of the tensor (default 64)");
    command->add_option("--slice-mib", o.slice_mib, "of one call (default 4)");
    command->add_option("--dim", o.dim, "floats in a row of its table (default 4096)");
    command->add_option("--durability", o.durability, "memory, logged or synced (default memory)");
    command->add_option("--inflight", o.inflight, "calls in flight (default 4)");
    command->add_option("--seconds", o.seconds, "of each repeat (default 10)");
    command->add_option("--repeats", o.repeats, "default 5");
  }

  void AddLatency() {
    WorkloadOptions& o = a_.workload;
    CLI::App* command = Measurement("latency", "Pulls and pushes of one row, one after the other");
    Defaults(command, {.keys = 1, .inflight = 1, .batches = 10000, .spin_us = 1000});
    Cluster(command, &o.memory_lag_ms);
    Spin(command, "of a second measurement; 0: none; default 1000");
    Rows(command, "default 1000000", "default 16");
    Table(command, "default sgd");
    Repeats(command, "default 10");
  }

  void Pairs(CLI::App* command, const std::string& count) {
    Cluster(command, &a_.workload.memory_lag_ms);
    Batches(command);
    command->add_option("--pairs", a_.pairs, "measured one after the other (" + count + ")")
        ->check(CLI::Range(1, 1000));
    command->add_option("--seconds", a_.workload.seconds, "of each half of a pair (default 10)");
    command->add_option("--seed", a_.workload.seed, "of what is drawn (default 1)");
  }

  void AddPairs() {
    CLI::App* logged = Measurement("logged", "Steps at durability logged over the same at memory, in pairs");
    Defaults(logged, {.dim = 64});
    Pairs(logged, "default 10");
    Rows(logged, "default 1000000", "default 64");
    CLI::App* large =
        Measurement("large", "Steps over a large table over the same over a small one, in pairs");
    Defaults(large, {.rows = 10'000'000}, 0, 5);
    Pairs(large, "default 5");
    Rows(large, "default 10000000", "default 16");
    large->add_option("--over", a_.over_rows, "rows of the small table (default 1000000)");
  }

  void AddServer() {
    WorkloadOptions& o = a_.workload;
    CLI::App* store = Measurement("store", "The code of a server without network and log: pulls and pushes");
    Defaults(store, {.work = Work::kPull, .seconds = 1});
    store->add_option("--keys", o.keys, "in a batch (default 10000)");
    Rows(store, "default 1000000", "default 16");
    store->add_option("--optimizer", o.optimizer, RowOracle::Allowed() + " (default sgd)");
    Repeats(store, "default 1");

    CLI::App* log = Measurement("log", "Appending deltas to a delta log, written and synced");
    LogOptions& l = a_.log;
    log->add_option("--keys", l.keys, "rows of a delta (default 10000)");
    log->add_option("--dim", l.dim, "floats in a row (default 64)");
    log->add_option("--mib", l.mib, "of deltas in each repeat (default 256)");
    log->add_option("--repeats", l.repeats, "default 5");

    CLI::App* resident = Measurement("resident", "Memory of a server with a full table, after a fold");
    Defaults(resident, {.rows = 10'000'000, .optimizer = "adagrad"});
    Rows(resident, "default 10000000", "default 16");
    resident->add_option("--optimizer", o.optimizer, RowOracle::Allowed() + " (default adagrad)");
    resident->add_option("--repeats", o.repeats, "pushes of all rows, fold and look (default 5)");

    CLI::App* recover = Measurement("recover", "Restart of a server that was killed: replay of its log");
    Defaults(recover, {.dim = 64, .seconds = 0.2, .memory_lag_ms = 100}, 1024);
    Rows(recover, "default 1000000", "default 64");
    recover->add_option("--mib", a_.mib, "of unfolded log, at least (default 1024)")
        ->check(CLI::Range(1, 16384));
    recover->add_option("--repeats", o.repeats, "kills (default 5)");
  }

  void AddMove() {
    WorkloadOptions& o = a_.workload;
    CLI::App* command =
        Measurement("move",
                    "Shards go from server to server: an idle pair, under steps, and one that is "
                    "pushed to as fast as it goes; in a cluster of its own");
    Defaults(command, {.rows = 4'000'000, .dim = 64});
    command->add_option("--servers", a_.servers, "at least 2; an idle pair is measured with 2 (default 2)")
        ->check(CLI::Range(2, 64));
    command->add_option("--copies", a_.copies, "of each shard; an idle pair is measured with 1 (default 1)")
        ->check(CLI::Range(1, 3));
    command->add_option("--seed-bytes-per-s", a_.seed_bytes_per_s,
                        "server.seed_bytes_per_s of the cluster (default 0: no bound)");
    command->add_option(
        "--memory-lag-ms", o.memory_lag_ms,
        "server.memory_lag_ms of the cluster (default 5000); --seconds must be at least twice that");
    Batches(command);
    Rows(command, "default 4000000", "default 64");
    Table(command, "default sgd");
    Repeats(command, "default 10");
  }

  void AddTraining() {
    CLI::App* train = Measurement("train", "Examples a second of training jobs, in a cluster of its own");
    Defaults(train, {});
    CLI::Option* model =
        train->add_option("--model", a_.model, "linear, fm or deep on a generated click log (default: each)")
            ->check(OneOf({"linear", "fm", "deep"}));
    CLI::Option* records = train->add_option("--records", a_.records, "of the click log (default 500000)")
                               ->check(CLI::Range(1, 1'000'000'000));
    train->add_option("--job", a_.job_file, "this job file instead")
        ->type_name("JOB.toml")
        ->excludes(model)
        ->excludes(records);
    train->add_option("--passes", a_.passes, "of each job (default 2; with --job as the file says)")
        ->check(CLI::Range(1, 1'000'000));
    train->add_option("--servers", a_.servers, "default 1")->check(CLI::Range(1, 4096));
    train->add_option("--workers", a_.workers, "default 1")->check(CLI::Range(1, 4096));
    Pin(train);
    Repeats(train, "");
    CLI::App* parse = Measurement("parse", "Readers of training data, on one core");
    Defaults(parse, {}, 64);
    parse->add_option("--mib", a_.mib, "of each file (default 64)")->check(CLI::Range(1, 65536));
    Repeats(parse, "");
  }

  void AddAll() {
    CLI::App* all = parts_.command(bench_, "all", "Every row of the table of docs/benchmarks.md");
    all->add_option("--report", a_.report, "write the table to this file")->type_name("FILE");
    all->add_option("--job", a_.job_file, "train this job, too (conf/jobs/fashion_mnist_mlp.toml)")
        ->type_name("JOB.toml");
    all->add_flag("--quick", a_.quick, "each as small as it goes: to see that it runs, not how fast");
    Pin(all);
  }

  void AddMemory() {
    CLI::App* command = Measurement(
        "memory",
        "A table larger than the server's memory: contents, speed and memory, in a cluster of its own");
    MemoryOptions& o = a_.memory;
    command->add_option("--budget-bytes", o.budget_bytes, "server.memory_budget_bytes (default 512 MiB)");
    command->add_option("--rows", o.rows, "of the table (default 16000000)");
    command->add_option("--dim", o.dim, "floats in a row (default 64)");
    command->add_option("--keys", o.keys, "rows of a step (default 10000)");
    command->add_option("--zipf", o.zipf, "exponent of the skewed steps (default 1.05)");
    command->add_option("--durability", o.durability, "memory, logged or synced (default memory)");
    command->add_option("--inflight", o.inflight, "steps in flight (default 4)");
    command->add_option("--seconds", o.seconds, "of each repeat (default 5)");
    command->add_option("--repeats", o.repeats, "default 5");
    command->add_option("--seed", o.seed, "of the drawn rows (default 1)");
  }

  CLI::App* const bench_;
  Arguments& a_;
  const CommandParts parts_;
};

}  // namespace

void AddBenchCommands(CLI::App* bench, Arguments* arguments, const CommandParts& parts) {
  BenchParser(bench, arguments, parts).Add();
}

}  // namespace penstock
