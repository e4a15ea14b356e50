// Scheduler: one scheduler process put together: loop, journal, control plane, RPC port, HTTP port, address
// files.
//
// In its data directory: journal/, address and http_address (one line host:port each, written when it
// listens).
#pragma once

#include <memory>
#include <string>

#include "common/config/cluster_options.h"

namespace penstock {

class Scheduler {
 public:
  // Listens, then opens the journal and begins a new term, so that a port in use changes nothing. Errors name
  // what is in the way: the address, the directory, the damaged file.
  static Result<std::unique_ptr<Scheduler>> Start(const ClusterOptions& options);
  ~Scheduler();  // Stop()

  void Stop();
  std::string endpoint() const;
  std::string http_endpoint() const;

 private:
  class Impl;
  explicit Scheduler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock
