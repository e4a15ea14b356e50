// PowerCutEnv: a RocksDB environment in memory that can lose power.
//
// Files are only ever appended to, as RocksDB does. CutPower(): a file keeps what was synced and a prefix of
// the rest, by the seed; names (creations, links, renamings, removals) keep their order, as journaling file
// systems do: all up to the last sync of a directory and some of those after it. StopAfter(n) makes every
// operation after the n-th fail until CutPower, but for reads of files that are open: RocksDB 7.8.3 ends the
// process when it cannot read a file that it ingests. Thread-safe.
#pragma once

#include <rocksdb/env.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace penstock {

class PowerCutEnv final : public rocksdb::EnvWrapper {
 public:
  explicit PowerCutEnv(uint64_t seed) : rocksdb::EnvWrapper(rocksdb::Env::Default()), random_(seed) {}

  void StopAfter(uint64_t operations);
  // One operation of another disk that shares the power: false when it is gone.
  bool Step();
  uint64_t operations() const { return operations_; }
  void CutPower();

  rocksdb::Status NewSequentialFile(const std::string& path, std::unique_ptr<rocksdb::SequentialFile>* file,
                                    const rocksdb::EnvOptions&) override;
  rocksdb::Status NewRandomAccessFile(const std::string& path,
                                      std::unique_ptr<rocksdb::RandomAccessFile>* file,
                                      const rocksdb::EnvOptions&) override;
  rocksdb::Status NewWritableFile(const std::string& path, std::unique_ptr<rocksdb::WritableFile>* file,
                                  const rocksdb::EnvOptions&) override;
  rocksdb::Status ReopenWritableFile(const std::string& path, std::unique_ptr<rocksdb::WritableFile>* file,
                                     const rocksdb::EnvOptions&) override;
  rocksdb::Status NewDirectory(const std::string& path, std::unique_ptr<rocksdb::Directory>* dir) override;
  rocksdb::Status FileExists(const std::string& path) override;
  rocksdb::Status GetChildren(const std::string& dir, std::vector<std::string>* names) override;
  rocksdb::Status GetChildrenFileAttributes(const std::string& dir,
                                            std::vector<FileAttributes>* files) override;
  rocksdb::Status DeleteFile(const std::string& path) override;
  rocksdb::Status CreateDir(const std::string& path) override;
  rocksdb::Status CreateDirIfMissing(const std::string& path) override;
  rocksdb::Status GetFileSize(const std::string& path, uint64_t* size) override;
  rocksdb::Status GetFileModificationTime(const std::string& path, uint64_t* time) override;
  rocksdb::Status RenameFile(const std::string& from, const std::string& to) override;
  rocksdb::Status LinkFile(const std::string& from, const std::string& to) override;
  rocksdb::Status NumFileLinks(const std::string& path, uint64_t* count) override;
  rocksdb::Status AreFilesSame(const std::string& a, const std::string& b, bool* same) override;
  rocksdb::Status LockFile(const std::string& path, rocksdb::FileLock** lock) override;
  rocksdb::Status UnlockFile(rocksdb::FileLock* lock) override;
  rocksdb::Status NewLogger(const std::string& path, std::shared_ptr<rocksdb::Logger>* logger) override;
  rocksdb::Status GetAbsolutePath(const std::string& path, std::string* out) override;
  rocksdb::Status IsDirectory(const std::string& path, bool* is_dir) override;

 private:
  struct Inode {
    std::string bytes;
    size_t synced = 0;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;
  class Reader;
  class Writer;
  class Dir;

  rocksdb::Status Power(const std::string& path);
  rocksdb::Status Find(const std::string& path, std::shared_ptr<Inode>* inode);
  void Change(std::function<void(Names&)> change);

  std::mutex mutex_;
  std::mt19937_64 random_;
  uint64_t operations_ = 0;
  uint64_t stop_after_ = ~uint64_t{0};
  Names names_, synced_names_;
  std::vector<std::function<void(Names&)>> unsynced_;
  std::set<std::string> dirs_;
};

}  // namespace penstock
