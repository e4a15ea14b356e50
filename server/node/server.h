// Server: one server process put together: data directory, log and base, cores, session with the scheduler,
// fold, HTTP.
//
//   Open the node file -> (first start: learn the cluster's id from the scheduler) -> base and replay ->
//   cores -> listen -> register; the rows of the base are read while they are served (row_loader.h)
//
// Start and Stop belong to the main thread. Stop ends in reverse order; what was applied is logged before it
// returns.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "common/base/status.h"
#include "common/config/cluster_options.h"

namespace penstock {

class Server {
 public:
  // Returns when the server is listening and has begun to register. kFailedPrecondition, kPermissionDenied
  // and kDataLoss name what is in the way: a port in use, a directory that cannot be written, a damaged file.
  // `interrupted` is polled while it waits for the scheduler. `suspect`: the server before this one was
  // damaged().
  static Result<std::unique_ptr<Server>> Start(const ClusterOptions& options,
                                               const std::function<bool()>& interrupted, bool suspect);
  ~Server();
  void Stop();
  // What it holds goes to other servers, until nothing is left that one of them could take, or `grace_ms`
  // have passed, or the scheduler does not answer; which of these, is logged. Before Stop.
  void Drain(uint64_t grace_ms);

  // Not ok when the scheduler refused this node for good: the process should end with it.
  Status refused() const;
  // The base turned out to be damaged while it was served: the process should stop this and start another,
  // which reads the base as a whole, and heals it or says what is in the way.
  bool damaged() const;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock
