// Logging: glog set up for one process: one file that rotates, old ones deleted, the node's name in every
// line.
//
//   PENSTOCK_ASSIGN_OR_RETURN(auto logging, Logging::Start({.program = "penstock-server", .dir =
//   "data/log"}));
//   ...
//   logging->SetNode("server-2");   // once the scheduler gave it a name
//
// Lines read "I 2026-03-01T12:00:00.000123Z server-2 4711 core.cc:88] message". Without a directory all goes
// to standard error; with one, standard error still gets ERROR and FATAL. Files are
// <dir>/<program>.<time>.<pid>, and <dir>/<program>.INFO points to the latest. glog is one per process, so is
// this: a second Start while one is alive is kFailedPrecondition.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/base/status.h"

namespace penstock {

// The file that this process logs to, an absolute path; empty: standard error. Any thread.
std::string LogFile();

struct LogOptions {
  std::string program;         // "penstock-server"
  std::string node = {};       // name in each line; empty: the program's
  std::string level = "info";  // info, warning or error: the least grave to keep
  std::string dir = {};        // made if it is missing; empty: standard error
  uint32_t max_mib = 64;       // size at which the next file is begun
  uint32_t keep_days =
      14;  // age at which files of this program in `dir` are deleted (looked for every 5 minutes); 0: never
};

class Logging {
 public:
  // kInvalidArgument for an unknown level; what the system says, naming the directory, if that cannot be
  // written.
  static Result<std::unique_ptr<Logging>> Start(const LogOptions& options);
  // Writes out what is buffered; messages after it go to standard error.
  ~Logging();
  Logging(const Logging&) = delete;
  Logging& operator=(const Logging&) = delete;

  // Any thread.
  void SetNode(std::string node);

 private:
  explicit Logging(std::string program) : program_(std::move(program)) {}
  const std::string program_;  // glog keeps a pointer to it
};

}  // namespace penstock
