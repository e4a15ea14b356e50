// WorkerProcess: a process of the benchmark's own that pulls and pushes, so that the one that measures does
// not share a processor's time with it.
//
// It is the running program with the hidden command `bench worker` (bench_worker.h), driven through pipes: an
// order is a line of JSON, and so is its answer. One thread; the process ends with this object.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "common/base/status.h"
#include "tools/launch/child_process.h"

namespace penstock {

class WorkerProcess {
 public:
  static Result<WorkerProcess> Start();
  WorkerProcess(WorkerProcess&& other) noexcept;
  WorkerProcess& operator=(WorkerProcess&&) = delete;
  ~WorkerProcess();

  pid_t pid() const { return child_.pid(); }
  Status Send(const nlohmann::json& order);
  // Its answer to the order. An error of its own comes as it is; kInternal: the process ended; kCancelled:
  // interrupted, which is asked while it waits.
  Result<nlohmann::json> Receive(const std::function<bool()>& interrupted);

 private:
  WorkerProcess(ChildProcess child, int in, int out) : child_(std::move(child)), in_(in), out_(out) {}
  ChildProcess child_;
  int in_ = -1, out_ = -1;  // our ends
  std::string received_;    // the beginning of a line
};

}  // namespace penstock
