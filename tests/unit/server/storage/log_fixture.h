// What the tests of the log share: deltas that chain as a shard's do, records, a temporary directory, and a
// replay that keeps what it gets.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "common/base/crc32c.h"
#include "server/storage/delta_log.h"
#include "server/storage/replay.h"

namespace penstock {

inline constexpr uint64_t kTestCluster = 77;

// In memory where the system has such a place: a kill loses nothing that was written, synced or not.
class TempDir {
 public:
  TempDir() {
    const std::filesystem::path memory = "/dev/shm";
    const auto parent = access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
    std::string pattern = (parent / "penstock-log-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Of the disk, with what is reserved beyond the end of the file; 0: it is not there.
inline uint64_t DiskBytesOf(const std::string& path) {
  struct stat info = {};
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_blocks) * 512 : 0;
}

// Builds the deltas of one shard, one behind the other. Each carries its lsn as `forgetFloor` and some bytes
// in `keys`.
class DeltaMaker {
 public:
  explicit DeltaMaker(ShardId shard, Incarnation incarnation = 1)
      : shard_(shard), incarnation_(incarnation) {}

  uint64_t cluster = kTestCluster;
  Epoch epoch = 1;
  bool first_of_epoch = false;
  Lsn lsn = 0;  // the last one made
  uint32_t checksum = 0;
  std::map<Lsn, uint32_t> made;  // lsn -> checksum

  LogSection Next(size_t padding = 16) {
    const Lsn previous = lsn;
    return Make(previous + 1, previous, checksum, padding);
  }
  // A first-of-epoch delta that follows any other.
  LogSection Follow(Lsn next, Lsn previous, uint32_t previous_checksum, size_t padding = 16) {
    first_of_epoch = true;
    return Make(next, previous, previous_checksum, padding);
  }
  ShardFolded Folded() const {
    return {.incarnation = incarnation_, .epoch = epoch, .lsn = lsn, .checksum = checksum};
  }
  ShardId shard() const { return shard_; }

 private:
  LogSection Make(Lsn next, Lsn previous, uint32_t previous_checksum, size_t padding) {
    capnp::MallocMessageBuilder message;
    auto delta = message.initRoot<proto::Delta>();
    delta.setFormat(proto::DELTA_FORMAT);
    delta.setCluster(cluster);
    delta.setShard(shard_);
    delta.setEpoch(epoch);
    delta.setLsn(next);
    delta.setPreviousLsn(previous);
    delta.setPreviousChecksum(previous_checksum);
    delta.setFirstOfEpoch(first_of_epoch || next == 1);
    delta.setForgetFloor(next);
    auto keys = delta.initTables(1)[0].initKeys(static_cast<unsigned>(padding));
    for (size_t i = 0; i < padding; ++i) keys[i] = static_cast<kj::byte>(next * 31 + i * 7 + shard_);
    auto words = capnp::messageToFlatArray(message);
    const auto bytes = words.asBytes();
    lsn = next;
    checksum = Crc32c(0, bytes.begin(), bytes.size());
    made[lsn] = checksum;
    first_of_epoch = false;
    return {shard_, incarnation_, kj::mv(words), checksum};
  }

  const ShardId shard_;
  const Incarnation incarnation_;
};

template <typename... Sections>
LogRecord MakeRecord(Sections&&... sections) {
  LogRecord record;
  (record.sections.push_back(std::forward<Sections>(sections)), ...);
  return record;
}

// What a replay brought: shard -> (lsn -> checksum).
struct Replayed {
  Result<ReplayReport> report = Internal("not run");
  std::map<ShardId, std::map<Lsn, uint32_t>> deltas;
  Lsn Last(ShardId shard) const {
    const auto found = deltas.find(shard);
    return found == deltas.end() || found->second.empty() ? 0 : found->second.rbegin()->first;
  }
};

inline Replayed ReplayAll(FileLayer& files, const std::string& dir,
                          const std::map<ShardId, ShardFolded>& folded = {},
                          const std::map<ShardId, Lsn>* reported = nullptr) {
  Replayed replayed;
  const auto ask = [&] {
    std::map<ShardId, ReportedShard> answer;
    for (const auto& [shard, lsn] : *reported) answer[shard] = {.incarnation = 1, .synced = lsn};
    return answer;
  };
  replayed.report = Replay(
      files, dir, kTestCluster, folded,
      [&](ShardId shard, Incarnation, const proto::Delta::Reader& delta, uint32_t checksum) {
        replayed.deltas[shard][delta.getLsn()] = checksum;
        return Status::Ok();
      },
      "", reported == nullptr ? nullptr : SyncedReport(ask));
  return replayed;
}

inline Result<std::unique_ptr<DeltaLog>> OpenLog(FileLayer& files, const std::string& dir,
                                                 const LogTail& tail = {},
                                                 uint64_t segment_bytes = uint64_t{1} << 20,
                                                 uint32_t spares = 0) {
  return DeltaLog::Open(
      files, dir,
      {.cluster = kTestCluster, .node = 3, .segment_bytes = segment_bytes, .spare_segments = spares}, tail);
}

inline Status AppendOne(DeltaLog& log, LogRecord record) { return log.Append({&record, 1}); }

}  // namespace penstock
