// Workers: the worker processes of one measurement, which all measure in the same window of time.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "tools/bench/worker_process.h"

namespace penstock {

struct WorkersOptions {
  uint32_t count = 1;
  std::string scheduler, token_file;    // as of ClientOptions
  uint64_t spin_us = 0;                 // as well
  std::optional<size_t> pin_from = {};  // worker i runs on the processor pin_from + i (ProcessorAt)
};

class Workers {
 public:
  // `interrupted` is asked while it waits, here and later.
  Workers(const WorkersOptions& options, std::function<bool()> interrupted)
      : options_(options), interrupted_(std::move(interrupted)) {}

  // Starts the processes and has each prepare; order(i) is what worker i is told beside where the cluster is.
  Status Prepare(const std::function<nlohmann::json(uint32_t)>& order);
  // All begin together and work for so long. `meanwhile` is called a quarter in. One answer a worker.
  Result<std::vector<nlohmann::json>> Go(double seconds, nlohmann::json order,
                                         const std::function<Status()>& meanwhile = nullptr);

 private:
  Result<std::vector<nlohmann::json>> ReceiveAll();

  const WorkersOptions options_;
  const std::function<bool()> interrupted_;
  std::vector<WorkerProcess> processes_;
};

}  // namespace penstock
