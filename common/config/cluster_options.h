// ClusterOptions: everything that can be set about the processes of a cluster, as it stands in
// conf/cluster.toml.
//
// One file serves all processes: each reads the sections it needs. Times are in milliseconds, sizes in bytes.
// A port of 0 is any free one, which the process then reports. The address of the scheduler is host:port or
// the path of a file that holds it, because a scheduler on port 0 comes back on another one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/options.h"
#include "common/base/status.h"

namespace penstock {

struct ClusterOptions {
  struct Cluster {
    std::string name = "penstock";
    std::string data_dir = "penstock-data";
    std::string scheduler;  // empty: the address file in data_dir
  };
  struct Scheduler {
    std::string listen = "127.0.0.1";
    std::string advertise_host;
    uint16_t port = 0;
    uint16_t http_port = 0;
    uint32_t heartbeat_ms = 500;
    uint32_t suspect_ms = 1500;
    uint32_t dead_ms = 3000;
    uint32_t lease_ms = 10000;
    uint32_t shards = 128;
    uint32_t servers = 1;
    uint32_t copies = 1;
    uint32_t min_copies = 1;
    uint32_t balance_delay_ms = 10000;
    uint32_t keep_jobs = 100;
    uint32_t max_connections = 4096;
  };
  struct Server {
    std::string listen = "127.0.0.1";
    std::string advertise_host;
    uint16_t port = 0;
    uint16_t http_port = 0;
    std::string host;
    std::string zone;
    uint32_t cores = 1;
    uint32_t spin_us = 0;
    uint64_t memory_budget_bytes = 0;
    uint64_t segment_bytes = 16ull << 20;
    uint64_t fold_bytes = 0;
    uint32_t recovery_seconds = 10;
    uint64_t log_limit_bytes = 8ull << 30;
    uint64_t damaged_limit_bytes = 4ull << 30;
    uint64_t max_unit_bytes = 32ull << 20;
    uint32_t memory_lag_ms = 5000;
    uint32_t expire_interval_ms = 30000;
    uint32_t max_connections = 4096;
    uint32_t copy_wait_ms = 30000;
    uint64_t copy_tail_bytes = 512ull << 20;
    uint64_t seed_bytes_per_s = 0;
    bool drain_on_stop = false;
    uint64_t drain_ms = 60000;
  };
  struct Worker {
    std::string listen = "127.0.0.1";
    uint16_t http_port = 0;
    uint32_t poll_ms = 50;
    uint64_t data_memory_bytes = uint64_t{1} << 30;
    std::vector<std::string> data_roots;
  };
  struct Client {
    uint32_t deadline_ms = 30000;
    uint32_t connect_timeout_ms = 3000;
    uint32_t spin_us = 0;
  };
  struct Security {
    std::string token_file;
    std::string operator_token_file;
    std::string client_token_file;
  };
  struct Log {
    std::string level = "info";
    std::string dir;
    uint32_t max_mib = 64;
    uint32_t keep_days = 14;
  };

  Cluster cluster;
  Scheduler scheduler;
  Server server;
  Worker worker;
  Client client;
  Security security;
  Log log;

  // Binds every field; this object must then outlive `options` and stay in place.
  void Declare(OptionSet& options);
  // What one option alone cannot say: kInvalidArgument naming both options of a pair that does not fit, or a
  // number of shards that is no power of two.
  Status Check() const;
};

// Defaults, then the file, the environment and the assignments, as every process of the cluster reads them.
// Errors are kInvalidArgument.
Result<ClusterOptions> LoadClusterOptions(const std::string& config,
                                          const std::vector<std::string>& assignments);

// The comment at the top of conf/cluster.toml.
std::string ClusterSampleIntro();

}  // namespace penstock
