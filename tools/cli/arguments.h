// Arguments: the command line of `penstock` as values; nothing is carried out here.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "tools/bench/dense.h"
#include "tools/bench/log_append.h"
#include "tools/bench/memory.h"
#include "tools/bench/workload.h"
#include "tools/cli/print.h"

namespace penstock {

// Which cluster. Neither of them: the one in the default data directory.
struct TargetArguments {
  std::string data_dir;
  std::string scheduler;   // host:port
  std::string token_file;  // with scheduler
};

struct Arguments {
  std::string command;  // "up", "node ls", ...
  TargetArguments target;
  OutputFormat output = OutputFormat::kTable;

  // up, and those that make a cluster of their own
  std::optional<uint32_t> servers;
  std::optional<uint32_t> workers;
  std::optional<std::string> config;
  std::vector<std::string> assignments;
  bool detach = false;
  std::optional<std::string> address, join, join_token, node_name;
  uint32_t ready_seconds = 60;

  // train, evaluate
  std::string job_file;
  std::string report;
  bool local = false;
  std::string data;
  std::string labels;

  // of one thing
  std::string name;           // table, key of an option, kind of a sample
  uint32_t id = 0;            // job, shard
  std::vector<uint32_t> ids;  // shards
  bool all = false;           // instead of ids; of shards: also those with which all is well
  uint32_t node = 0;
  std::string from, to;  // nodes, by name or id
  std::string wanted;    // likewise
  bool cancel = false;   // of moves
  std::string word;      // on, off; empty: neither
  bool explain = false;
  bool wait = false;
  double timeout_seconds = 0;             // with wait; 0: as long as it goes on
  std::optional<uint32_t> wanted_copies;  // nothing: say how many there are
  uint32_t copies = 1;                    // of a bench's own cluster
  uint32_t min_copies = 1;
  std::vector<uint64_t> keys;
  bool follow = false;  // events: go on with what comes
  uint64_t after = 0;   // events: only those after that number
  bool dry_run = false;
  bool drop_tables = false;  // of a job that is removed
  bool pids = false;         // alone, of all nodes

  // bench
  bool pin = false;
  double limit_seconds = 0.15;
  bool skip_log_off = false;
  bool quick = false;
  WorkloadOptions workload;  // of everything with rows; of all commands: repeats, seed
  DenseOptions dense;
  MemoryOptions memory;
  LogOptions log;
  uint32_t pairs = 10;
  uint64_t seed_bytes_per_s = 0;   // move: server.seed_bytes_per_s
  uint64_t over_rows = 1'000'000;  // of the smaller table
  uint64_t mib = 0;                // recover: of unfolded log; parse: of each file
  std::string model;               // train: empty: all
  uint64_t records = 500'000;
  std::optional<uint32_t> passes;  // train: nothing: 2, or as the job file says
};

// Fills `arguments`, or gives the code to end with: 0 after --help and --version, 2 after a mistake, both of
// which are said on out and err.
std::optional<int> ParseArguments(int argc, const char* const* argv, Arguments* arguments, std::ostream& out,
                                  std::ostream& err);

}  // namespace penstock
