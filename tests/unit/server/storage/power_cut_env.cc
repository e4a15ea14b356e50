// Files and names in memory, and what of them a loss of power keeps.
#include "tests/unit/server/storage/power_cut_env.h"

#include <algorithm>
#include <cstring>

namespace penstock {
namespace {

using rocksdb::Slice;
using rocksdb::Status;

class NoLogger final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
  size_t GetLogFileSize() const override { return 0; }
};

class Lock final : public rocksdb::FileLock {};

std::string Clean(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

class PowerCutEnv::Reader final : public rocksdb::SequentialFile, public rocksdb::RandomAccessFile {
 public:
  Reader(PowerCutEnv& env, std::string path, std::shared_ptr<Inode> inode)
      : env_(env), path_(std::move(path)), inode_(std::move(inode)) {}
  Status Read(uint64_t offset, size_t n, Slice* result, char* scratch) const override {
    std::lock_guard lock(env_.mutex_);
    (void)env_.Power(path_);
    const std::string& bytes = inode_->bytes;
    n = offset >= bytes.size() ? 0 : std::min<size_t>(n, bytes.size() - offset);
    std::memcpy(scratch, bytes.data() + offset, n);
    *result = Slice(scratch, n);
    return Status::OK();
  }
  Status Read(size_t n, Slice* result, char* scratch) override {
    const Status status = Read(at_, n, result, scratch);
    if (status.ok()) at_ += result->size();
    return status;
  }
  Status Skip(uint64_t n) override {
    at_ += n;
    return Status::OK();
  }
  bool use_direct_io() const override { return false; }
  size_t GetRequiredBufferAlignment() const override { return 1; }
  Status InvalidateCache(size_t, size_t) override { return Status::OK(); }

 private:
  PowerCutEnv& env_;
  const std::string path_;
  const std::shared_ptr<Inode> inode_;
  uint64_t at_ = 0;
};

class PowerCutEnv::Writer final : public rocksdb::WritableFile {
 public:
  Writer(PowerCutEnv& env, std::string path, std::shared_ptr<Inode> inode)
      : env_(env), path_(std::move(path)), inode_(std::move(inode)) {}
  using rocksdb::WritableFile::Append;
  Status Append(const Slice& data) override {
    std::lock_guard lock(env_.mutex_);
    const Status power = env_.Power(path_);
    if (power.ok()) inode_->bytes.append(data.data(), data.size());
    return power;
  }
  Status Truncate(uint64_t size) override {
    std::lock_guard lock(env_.mutex_);
    const Status power = env_.Power(path_);
    if (power.ok() && size < inode_->bytes.size()) inode_->bytes.resize(size);
    return power;
  }
  Status Close() override { return Status::OK(); }
  Status Flush() override { return Status::OK(); }
  Status Sync() override {
    std::lock_guard lock(env_.mutex_);
    const Status power = env_.Power(path_);
    if (power.ok()) inode_->synced = inode_->bytes.size();
    return power;
  }
  uint64_t GetFileSize() override {
    std::lock_guard lock(env_.mutex_);
    return inode_->bytes.size();
  }

 private:
  PowerCutEnv& env_;
  const std::string path_;
  const std::shared_ptr<Inode> inode_;
};

class PowerCutEnv::Dir final : public rocksdb::Directory {
 public:
  Dir(PowerCutEnv& env, std::string path) : env_(env), path_(std::move(path)) {}
  Status Fsync() override {
    std::lock_guard lock(env_.mutex_);
    const Status power = env_.Power(path_);
    if (!power.ok()) return power;
    env_.synced_names_ = env_.names_;
    env_.unsynced_.clear();
    return Status::OK();
  }
  Status Close() override { return Status::OK(); }

 private:
  PowerCutEnv& env_;
  const std::string path_;
};

// --- Power.

void PowerCutEnv::StopAfter(uint64_t operations) {
  std::lock_guard lock(mutex_);
  stop_after_ = operations_ + operations;
}

bool PowerCutEnv::Step() {
  std::lock_guard lock(mutex_);
  return Power("").ok();
}

Status PowerCutEnv::Power(const std::string& path) {
  if (operations_ >= stop_after_) return Status::IOError(path, "there is no power");
  ++operations_;
  return Status::OK();
}

void PowerCutEnv::CutPower() {
  std::lock_guard lock(mutex_);
  const size_t kept = unsynced_.empty() ? 0 : random_() % (unsynced_.size() + 1);
  names_ = synced_names_;
  for (size_t i = 0; i < kept; ++i) unsynced_[i](names_);
  unsynced_.clear();
  std::map<Inode*, std::shared_ptr<Inode>>
      survivors;  // files that are still open keep writing to the old ones
  for (auto& [path, inode] : names_) {
    auto& copy = survivors[inode.get()];
    if (copy == nullptr) {
      const size_t synced = std::min(inode->synced, inode->bytes.size());
      const size_t size = synced + random_() % (inode->bytes.size() - synced + 1);
      copy = std::make_shared<Inode>(Inode{inode->bytes.substr(0, size), size});
    }
    inode = copy;
  }
  synced_names_ = names_;
  stop_after_ = ~uint64_t{0};
}

Status PowerCutEnv::Find(const std::string& path, std::shared_ptr<Inode>* inode) {
  const Status power = Power(path);
  if (!power.ok()) return power;
  const auto found = names_.find(path);
  if (found == names_.end()) return Status::PathNotFound(path, "No such file or directory");
  *inode = found->second;
  return Status::OK();
}

void PowerCutEnv::Change(std::function<void(Names&)> change) {
  change(names_);
  unsynced_.push_back(std::move(change));
}

// --- Files.

Status PowerCutEnv::NewSequentialFile(const std::string& path, std::unique_ptr<rocksdb::SequentialFile>* file,
                                      const rocksdb::EnvOptions&) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Inode> inode;
  const Status found = Find(path, &inode);
  if (found.ok()) *file = std::make_unique<Reader>(*this, path, inode);
  return found;
}

Status PowerCutEnv::NewRandomAccessFile(const std::string& path,
                                        std::unique_ptr<rocksdb::RandomAccessFile>* file,
                                        const rocksdb::EnvOptions&) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Inode> inode;
  const Status found = Find(path, &inode);
  if (found.ok()) *file = std::make_unique<Reader>(*this, path, inode);
  return found;
}

Status PowerCutEnv::NewWritableFile(const std::string& path, std::unique_ptr<rocksdb::WritableFile>* file,
                                    const rocksdb::EnvOptions&) {
  std::lock_guard lock(mutex_);
  const Status power = Power(path);
  if (!power.ok()) return power;
  auto inode = std::make_shared<Inode>();
  Change([path, inode](Names& names) { names[path] = inode; });
  *file = std::make_unique<Writer>(*this, path, inode);
  return Status::OK();
}

Status PowerCutEnv::ReopenWritableFile(const std::string& path, std::unique_ptr<rocksdb::WritableFile>* file,
                                       const rocksdb::EnvOptions&) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Inode> inode;
  const Status found = Find(path, &inode);
  if (found.ok()) *file = std::make_unique<Writer>(*this, path, inode);
  return found;
}

Status PowerCutEnv::GetFileSize(const std::string& path, uint64_t* size) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Inode> inode;
  const Status found = Find(path, &inode);
  if (found.ok()) *size = inode->bytes.size();
  return found;
}

Status PowerCutEnv::GetFileModificationTime(const std::string&, uint64_t* time) {
  *time = 0;
  return Status::OK();
}

// --- Names.

Status PowerCutEnv::NewDirectory(const std::string& path, std::unique_ptr<rocksdb::Directory>* dir) {
  *dir = std::make_unique<Dir>(*this, path);
  return Status::OK();
}

Status PowerCutEnv::FileExists(const std::string& path) {
  std::lock_guard lock(mutex_);
  const Status power = Power(path);
  if (!power.ok()) return power;
  return names_.contains(path) || dirs_.contains(Clean(path)) ? Status::OK() : Status::NotFound(path);
}

Status PowerCutEnv::GetChildren(const std::string& dir, std::vector<std::string>* names) {
  std::lock_guard lock(mutex_);
  const Status power = Power(dir);
  if (!power.ok()) return power;
  if (!dirs_.contains(Clean(dir))) return Status::NotFound(dir);
  const std::string prefix = Clean(dir) + "/";
  names->clear();
  for (const auto& [path, inode] : names_) {
    if (path.starts_with(prefix)) names->push_back(path.substr(prefix.size()));
  }
  return Status::OK();
}

Status PowerCutEnv::GetChildrenFileAttributes(const std::string& dir, std::vector<FileAttributes>* files) {
  // By GetChildren above, not by that of the wrapped environment.
  return Env::GetChildrenFileAttributes(dir, files);  // NOLINT(bugprone-parent-virtual-call)
}

Status PowerCutEnv::DeleteFile(const std::string& path) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Inode> inode;
  const Status found = Find(path, &inode);
  if (found.ok()) Change([path](Names& names) { names.erase(path); });
  return found;
}

Status PowerCutEnv::CreateDir(const std::string& path) { return CreateDirIfMissing(path); }

Status PowerCutEnv::CreateDirIfMissing(const std::string& path) {
  std::lock_guard lock(mutex_);
  dirs_.insert(Clean(path));
  return Power(path);
}

Status PowerCutEnv::RenameFile(const std::string& from, const std::string& to) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Inode> inode;
  const Status found = Find(from, &inode);
  if (!found.ok()) return found;
  Change([from, to, inode](Names& names) {
    names.erase(from);
    names[to] = inode;
  });
  return Status::OK();
}

Status PowerCutEnv::LinkFile(const std::string& from, const std::string& to) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Inode> inode;
  const Status found = Find(from, &inode);
  if (found.ok()) Change([to, inode](Names& names) { names[to] = inode; });
  return found;
}

Status PowerCutEnv::NumFileLinks(const std::string& path, uint64_t* count) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Inode> inode;
  const Status found = Find(path, &inode);
  if (!found.ok()) return found;
  *count =
      std::count_if(names_.begin(), names_.end(), [&](const auto& name) { return name.second == inode; });
  return Status::OK();
}

Status PowerCutEnv::AreFilesSame(const std::string& a, const std::string& b, bool* same) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Inode> first, second;
  Status found = Find(a, &first);
  if (found.ok()) found = Find(b, &second);
  *same = first == second;
  return found;
}

Status PowerCutEnv::LockFile(const std::string&, rocksdb::FileLock** lock) {
  *lock = new Lock;
  return Status::OK();
}

Status PowerCutEnv::UnlockFile(rocksdb::FileLock* lock) {
  delete static_cast<Lock*>(lock);
  return Status::OK();
}

Status PowerCutEnv::NewLogger(const std::string&, std::shared_ptr<rocksdb::Logger>* logger) {
  *logger = std::make_shared<NoLogger>();
  return Status::OK();
}

Status PowerCutEnv::GetAbsolutePath(const std::string& path, std::string* out) {
  *out = path;
  return Status::OK();
}

Status PowerCutEnv::IsDirectory(const std::string& path, bool* is_dir) {
  std::lock_guard lock(mutex_);
  *is_dir = dirs_.contains(Clean(path));
  return Power(path);
}

}  // namespace penstock
