// SimDisk: what a simulated server keeps: log, base, and its node file. The end of the process loses nothing
// that was written; a loss of power everything unsynced, by the seed.
#pragma once

#include <map>
#include <memory>

#include "common/cluster/table_spec.h"
#include "tests/unit/server/storage/power_cut_env.h"
#include "tests/unit/server/storage/power_cut_file_layer.h"

namespace penstock::sim {

// Written atomically and synced by the product (server/node/node_file.h).
struct SimNodeFile {
  NodeId node = 0;
  uint64_t term = 0, map_version = 0, table_version = 0;
  std::map<TableId, TableSpec> tables;
};

class SimDisk {
 public:
  // `with_base`: the log is folded into a real base.
  SimDisk(uint64_t seed, bool with_base) : files_(seed) {
    if (with_base) env_ = std::make_unique<PowerCutEnv>(seed);
  }

  FileLayer& files() { return files_; }
  PowerCutEnv* env() { return env_.get(); }  // nullptr: there is no base
  SimNodeFile& node_file() { return node_file_; }

  void PowerCut() {
    files_.PowerCut();
    if (env_) env_->CutPower();
  }
  // Writes or syncs ("write", "sync") fail with this errno until Mend.
  void Break(const std::string& operation, int error) {
    files_.FailWith([operation, error](const std::string& asked, const std::string&) {
      return asked == operation ? error : 0;
    });
  }
  // After `operations` more, all fail.
  void BreakAfter(uint64_t operations, int error) {
    files_.FailWith([left = operations, error](const std::string&, const std::string&) mutable {
      if (left == 0) return error;
      --left;
      return 0;
    });
  }
  void Mend() { files_.FailWith(nullptr); }
  // Bytes in the middle of the log change, though they were synced. False: there is no log.
  bool Damage(const std::string& dir, uint64_t place) {
    const auto names = files_.List(dir);
    if (!names.ok() || names->empty()) return false;
    const std::string path = dir + "/" + (*names)[place % names->size()];
    const size_t size = files_.Contents(path).size();
    if (size < 256) return false;
    files_.Overwrite(path, 80 + place % (size - 160), std::string(64, '\x5a'));
    return true;
  }

 private:
  PowerCutFileLayer files_;
  std::unique_ptr<PowerCutEnv> env_;
  SimNodeFile node_file_;
};

}  // namespace penstock::sim
