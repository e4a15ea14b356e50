// PowerCutFileLayer: a file layer in memory that can lose power, and whose operations can be made to fail.
//
// PowerCut() keeps what was synced and loses or keeps each of the rest by the seed, in no order: every 4 KiB
// block of every write since the file's last sync, every truncation, and every creation, removal and renaming
// since the directory's last sync. Files that were open must not be used afterwards. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "server/storage/file_layer.h"

namespace penstock {

class PowerCutFileLayer final : public FileLayer {
 public:
  explicit PowerCutFileLayer(uint64_t seed) : random_(seed) {}

  void PowerCut();
  // Asked before each operation ("create", "write", "sync", "sync_dir", "remove", ...): an errno other than 0
  // makes it fail. A write that fails has written a part of what it should. It may block, and holds up that
  // operation alone.
  using Failure = std::function<int(const std::string& operation, const std::string& path)>;
  void FailWith(Failure failure);

  // Damages a file: as if the disk had changed these bytes.
  void Overwrite(const std::string& path, uint64_t offset, const std::string& bytes);
  // Removes a file as if it had never been.
  void Lose(const std::string& path);
  std::vector<char> Contents(const std::string& path);

  Result<std::unique_ptr<File>> Create(const std::string& path, uint64_t preallocate) override;
  Result<std::unique_ptr<File>> Open(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& dir) override;
  Status Remove(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status SyncDir(const std::string& dir) override;
  Status MakeDir(const std::string& dir) override;
  uint32_t BootId() override;  // another one after each cut
  void SetBoot(uint32_t boot);

 private:
  struct Change {  // a block written, or (truncate) a new size
    bool truncate = false;
    uint64_t offset = 0;
    std::vector<char> bytes;
  };
  struct Inode {
    std::vector<char> synced, current;
    std::vector<Change> unsynced;
  };
  struct NameChange {  // `to` empty: removal; `from` empty: creation
    std::string from, to;
    std::shared_ptr<Inode> inode;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;
  class OpenFile;

  static void Apply(const Change& change, std::vector<char>* bytes);
  static void Apply(const NameChange& change, Names* names);
  Status Check(const std::string& operation, const std::string& path);
  bool Coin() { return random_() % 2 == 0; }

  std::mutex mutex_;
  std::mt19937_64 random_;
  Failure failure_;
  uint32_t boot_ = 1;
  Names synced_names_, names_;
  std::vector<NameChange> name_changes_;
  std::vector<std::string> dirs_;
};

}  // namespace penstock
