#include "tools/cli/bench_arguments.h"

#include <CLI/CLI.hpp>

#include "tools/bench/row_oracle.h"

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
    AddMemory();
    parts_.command(bench_, "worker", "A worker process of the others")->group("");
  }

 private:
  CLI::App* Measurement(const std::string& name, const std::string& help) {
    CLI::App* command = parts_.command(bench_, name, help);
    parts_.output(command);
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
    Pin(command)->excludes(scheduler)->excludes(data_dir);
    command->add_option("--memory-lag-ms", *memory_lag_ms,
                        "server.memory_lag_ms, of its own cluster or as the running one has it (default "
                        "5000); --seconds must be at least twice that where rows are pushed");
    command
        ->add_flag("--skip-log-off", a_.skip_log_off,
                   "leave out the comparison with a cluster that neither logs nor folds meanwhile")
        ->excludes(scheduler)
        ->excludes(data_dir);
  }

  void AddRows(const std::string& name, Work work, const std::string& help) {
    WorkloadOptions& o = a_.workload;
    CLI::App* command = Measurement(name, help + ", in a cluster of its own or in a running one");
    command->parse_complete_callback([&o, work] { o.work = work; });
    Cluster(command, &o.memory_lag_ms);
    command->add_option("--keys", o.keys, "in a batch, distinct unless skewed (default 10000)");
    command->add_option("--rows", o.rows, "of the table, of which keys are drawn (default 1000000)");
    command->add_option("--skew", o.skew,
                        "zipf:EXPONENT: draw from it, with repetition (default: uniformly)");
    command->add_option("--dim", o.dim, "floats in a row (default 16)");
    command->add_option("--optimizer", o.optimizer, RowOracle::Allowed() + " (default sgd)");
    command->add_option("--durability", o.durability, "memory, logged or synced (default memory)");
    command->add_option("--inflight", o.inflight, "batches in flight of each worker (default 2)");
    command->add_option("--workers", o.workers, "processes that pull and push (default 1)");
    command->add_option("--batches", o.batches,
                        "drawn by each worker before the clock starts (default 500; fewer need less memory)");
    command->add_option("--seconds", o.seconds, "of each repeat (default 10)");
    command->add_option("--repeats", o.repeats, "default 5");
    command->add_option("--seed", o.seed, "of the random keys (default 1)");
  }

  void AddDense() {
    DenseOptions& o = a_.dense;
    CLI::App* command = Measurement("dense", "Pushes and pulls of a dense tensor");
    Cluster(command, &o.memory_lag_ms);
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
    command->parse_complete_callback([&o] {
      o.keys = 1;
      o.inflight = 1;
      o.batches = 10000;
    });
    Cluster(command, &o.memory_lag_ms);
    command->add_option("--rows", o.rows, "of the table, of which keys are drawn (default 1000000)");
    command->add_option("--dim", o.dim, "floats in a row (default 16)");
    command->add_option("--optimizer", o.optimizer, RowOracle::Allowed() + " (default sgd)");
    command->add_option("--durability", o.durability, "memory, logged or synced (default memory)");
    command->add_option("--seconds", o.seconds, "of each repeat (default 10)");
    command->add_option("--repeats", o.repeats, "default 5");
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
