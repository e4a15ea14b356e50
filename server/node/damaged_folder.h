// DamagedFolder: DATA_DIR/damaged, where a server keeps what it found damaged at a start and goes on without,
// for an operator to look at: as damaged/1, damaged/2 and so on.
//
// The oldest go when all is more than the limit; the latest stays, however large. What is there, and what
// went, is said by Note, which the scheduler shows in the status as a problem, until the operator removes it.
// Errors name the path. One thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "common/base/status.h"

namespace penstock {

class DamagedFolder {
 public:
  // `limit_bytes`: server.damaged_limit_bytes.
  DamagedFolder(const std::string& data_dir, uint64_t limit_bytes);

  const std::string& path() const { return path_; }
  // Of what is put aside next: a folder that is not there yet.
  std::string Next() const;
  // Keeps to the limit.
  Status Trim();

  // What was there when it was looked at last. Trim looks, too.
  void Look();
  // At most every five seconds: an operator removes what is there.
  void LookNowAndThen();
  uint64_t bytes() const { return bytes_; }
  // In words; empty: nothing is there, and nothing went since the start.
  std::string Note() const;

 private:
  // By number. What has none is of an earlier version, and stands first.
  using Parts = std::map<uint64_t, std::vector<std::filesystem::path>>;
  Parts List() const;

  const std::string path_;
  const uint64_t limit_bytes_;
  uint64_t count_ = 0, bytes_ = 0;
  std::string latest_;  // what it holds
  std::chrono::steady_clock::time_point looked_;
  uint64_t removed_ = 0, removed_bytes_ = 0;
};

}  // namespace penstock
