// RunPenstock and CommandCluster: the command `penstock` and a cluster made by `penstock up`, as a user has
// them.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "client/client.h"
#include "common/base/status.h"
#include "tests/cluster/child_program.h"

namespace penstock {

struct CommandResult {
  int code = -1;  // -1: it had not ended at the deadline, and was killed
  std::string out, err;
};

// A temporary folder, removed with all that is in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  // Makes the file and gives its path.
  std::string Write(const std::string& name, const std::string& contents) const;

 private:
  std::string path_;
};

CommandResult RunPenstock(const std::vector<std::string>& arguments, int deadline_ms = 60000);

class CommandCluster {
 public:
  struct Options {
    int servers = 1;
    int workers = 1;
    std::vector<std::string> set;  // "section.key=value"
  };
  explicit CommandCluster(const Options& options) : options_(options) {}

  // Starts `penstock up` in the foreground and waits until it says that the cluster is up. The first time
  // with the numbers and settings of the options, then as the folder remembers them.
  Status Up(int deadline_ms = 60000);
  // `penstock down`: its exit code, or that of `penstock up` where that is not 0.
  int Down();
  // kill -9 of the launcher and of all its children at once; waits until all have ended. How many there were.
  int KillAll();
  // Children of the launcher by name ("scheduler", "server-1", ...).
  std::map<std::string, pid_t> Children() const;
  // What `penstock up` printed, in all its lives.
  std::string Output() const;

  std::string data_dir() const { return folder_.path() + "/data"; }
  const TemporaryFolder& folder() const { return folder_; }
  // A client of the present life of the cluster.
  Result<std::unique_ptr<Client>> Connect() const;
  // Starts `penstock train JOB --data-dir ... --report REPORT` with `assignments` in the background.
  Result<ChildProgram> Train(const std::string& job_file, const std::vector<std::string>& assignments) const;
  std::string report() const { return folder_.path() + "/report.json"; }
  std::string TrainOutput() const;

 private:
  const Options options_;
  TemporaryFolder folder_;
  std::optional<ChildProgram> launcher_;
  int lives_ = 0;
};

}  // namespace penstock
