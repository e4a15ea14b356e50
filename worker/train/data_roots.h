// DataRoots: below which folders the jobs of clients may name files (worker.data_roots).
//
// A job that was submitted with the operator's token reads whatever its worker may read. One that came with a
// client's reads what stands below these folders alone, so that a client's token is no way to the other files
// of the workers' machines.
#pragma once

#include <string>
#include <vector>

#include "common/base/status.h"
#include "job/job_data.h"

namespace penstock {

class DataRoots {
 public:
  explicit DataRoots(std::vector<std::string> roots) : roots_(std::move(roots)) {}

  // `files` as data.train has them: names and patterns separated by commas. PermissionDenied naming the one
  // that is not below a root, or leads out of it by a link; what is outside is not looked at. NotFound naming
  // one that would be below.
  Status Check(const std::string& files) const;
  // All files of a job, labels whose name follows from that of their images among them. Errors name the
  // option.
  Status CheckJob(const JobData& data) const;

 private:
  std::vector<std::string> roots_;
};

}  // namespace penstock
