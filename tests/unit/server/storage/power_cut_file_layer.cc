// The simulated disk: what is durable, what is only in the cache, and which of it a cut keeps.
#include "tests/unit/server/storage/power_cut_file_layer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace penstock {
namespace {

constexpr uint64_t kBlock = 4096;

}  // namespace

class PowerCutFileLayer::OpenFile final : public File {
 public:
  OpenFile(PowerCutFileLayer& layer, std::string path, std::shared_ptr<Inode> inode)
      : layer_(layer), path_(std::move(path)), inode_(std::move(inode)) {}

  Status Write(std::span<const iovec> parts, uint64_t offset) override {
    std::vector<char> all;
    for (const iovec& part : parts) {
      const char* data = static_cast<const char*>(part.iov_base);
      all.insert(all.end(), data, data + part.iov_len);
    }
    const Status status = layer_.Check("write", path_);
    std::lock_guard lock(layer_.mutex_);
    if (!status.ok()) all.resize(layer_.random_() % (all.size() + 1));
    for (size_t begin = 0; begin < all.size();) {
      const size_t size = std::min<size_t>(all.size() - begin, kBlock - (offset + begin) % kBlock);
      Change change{.offset = offset + begin, .bytes = {all.begin() + begin, all.begin() + begin + size}};
      Apply(change, &inode_->current);
      inode_->unsynced.push_back(std::move(change));
      begin += size;
    }
    return status;
  }

  Result<size_t> Read(void* into, size_t size, uint64_t offset) override {
    PENSTOCK_RETURN_IF_ERROR(layer_.Check("read", path_));
    std::lock_guard lock(layer_.mutex_);
    const auto& bytes = inode_->current;
    if (offset >= bytes.size()) return size_t{0};
    const size_t n = std::min<size_t>(size, bytes.size() - offset);
    std::memcpy(into, bytes.data() + offset, n);
    return n;
  }

  Status Sync() override {
    PENSTOCK_RETURN_IF_ERROR(layer_.Check("sync", path_));
    std::lock_guard lock(layer_.mutex_);
    inode_->synced = inode_->current;
    inode_->unsynced.clear();
    return Status::Ok();
  }

  Status Truncate(uint64_t size) override {
    PENSTOCK_RETURN_IF_ERROR(layer_.Check("truncate", path_));
    std::lock_guard lock(layer_.mutex_);
    if (size == inode_->current.size()) return Status::Ok();
    Change change{.truncate = true, .offset = size, .bytes = {}};
    Apply(change, &inode_->current);
    inode_->unsynced.push_back(std::move(change));
    return Status::Ok();
  }

  Result<uint64_t> Size() override {
    std::lock_guard lock(layer_.mutex_);
    return uint64_t{inode_->current.size()};
  }

 private:
  PowerCutFileLayer& layer_;
  const std::string path_;
  const std::shared_ptr<Inode> inode_;
};

void PowerCutFileLayer::Apply(const Change& change, std::vector<char>* bytes) {
  if (change.truncate) {
    bytes->resize(change.offset);
    return;
  }
  bytes->resize(std::max<size_t>(bytes->size(), change.offset + change.bytes.size()));
  std::copy(change.bytes.begin(), change.bytes.end(), bytes->begin() + static_cast<ptrdiff_t>(change.offset));
}

void PowerCutFileLayer::Apply(const NameChange& change, Names* names) {
  if (!change.from.empty()) names->erase(change.from);
  if (!change.to.empty()) (*names)[change.to] = change.inode;
}

Status PowerCutFileLayer::Check(const std::string& operation, const std::string& path) {
  Failure failure;
  {
    std::lock_guard lock(mutex_);
    failure = failure_;
  }
  const int error = failure ? failure(operation, path) : 0;
  return error == 0 ? Status::Ok() : ErrnoStatus(error, operation + " " + path);
}

void PowerCutFileLayer::PowerCut() {
  std::lock_guard lock(mutex_);
  std::map<Inode*, std::shared_ptr<Inode>> survivors;
  const auto survive = [&](const std::shared_ptr<Inode>& inode) {
    auto& copy = survivors[inode.get()];
    if (copy != nullptr) return copy;
    copy = std::make_shared<Inode>();
    copy->synced = inode->synced;
    for (const Change& change : inode->unsynced) {
      if (Coin()) Apply(change, &copy->synced);
    }
    copy->current = copy->synced;
    return copy;
  };
  Names kept = synced_names_;
  for (const NameChange& change : name_changes_) {
    if (Coin()) Apply(change, &kept);
  }
  for (auto& [name, inode] : kept) inode = survive(inode);
  names_ = synced_names_ = std::move(kept);
  name_changes_.clear();
  failure_ = nullptr;
  ++boot_;
}

void PowerCutFileLayer::FailWith(Failure failure) {
  std::lock_guard lock(mutex_);
  failure_ = std::move(failure);
}

void PowerCutFileLayer::Overwrite(const std::string& path, uint64_t offset, const std::string& bytes) {
  std::lock_guard lock(mutex_);
  const Change change{.offset = offset, .bytes = {bytes.begin(), bytes.end()}};
  Apply(change, &names_.at(path)->current);
  Apply(change, &names_.at(path)->synced);
}

void PowerCutFileLayer::Lose(const std::string& path) {
  std::lock_guard lock(mutex_);
  names_.erase(path);
  synced_names_.erase(path);
}

std::vector<char> PowerCutFileLayer::Contents(const std::string& path) {
  std::lock_guard lock(mutex_);
  return names_.at(path)->current;
}

Result<std::unique_ptr<File>> PowerCutFileLayer::Create(const std::string& path, uint64_t) {
  PENSTOCK_RETURN_IF_ERROR(Check("create", path));
  std::lock_guard lock(mutex_);
  if (names_.contains(path)) return AlreadyExists("create " + path);
  name_changes_.push_back({.from = "", .to = path, .inode = std::make_shared<Inode>()});
  Apply(name_changes_.back(), &names_);
  return std::unique_ptr<File>(std::make_unique<OpenFile>(*this, path, names_.at(path)));
}

Result<std::unique_ptr<File>> PowerCutFileLayer::Open(const std::string& path) {
  PENSTOCK_RETURN_IF_ERROR(Check("open", path));
  std::lock_guard lock(mutex_);
  const auto found = names_.find(path);
  if (found == names_.end()) return ErrnoStatus(ENOENT, "open " + path);
  return std::unique_ptr<File>(std::make_unique<OpenFile>(*this, path, found->second));
}

Result<std::vector<std::string>> PowerCutFileLayer::List(const std::string& dir) {
  PENSTOCK_RETURN_IF_ERROR(Check("list", dir));
  std::lock_guard lock(mutex_);
  if (std::find(dirs_.begin(), dirs_.end(), dir) == dirs_.end()) return ErrnoStatus(ENOENT, "list " + dir);
  std::vector<std::string> found;
  for (const auto& [path, inode] : names_) {
    if (path.starts_with(dir + "/")) found.push_back(path.substr(dir.size() + 1));
  }
  return found;
}

Status PowerCutFileLayer::Remove(const std::string& path) {
  PENSTOCK_RETURN_IF_ERROR(Check("remove", path));
  std::lock_guard lock(mutex_);
  if (!names_.contains(path)) return ErrnoStatus(ENOENT, "remove " + path);
  name_changes_.push_back({.from = path, .to = "", .inode = nullptr});
  Apply(name_changes_.back(), &names_);
  return Status::Ok();
}

Status PowerCutFileLayer::Rename(const std::string& from, const std::string& to) {
  PENSTOCK_RETURN_IF_ERROR(Check("rename", from));
  std::lock_guard lock(mutex_);
  const auto found = names_.find(from);
  if (found == names_.end()) return ErrnoStatus(ENOENT, "rename " + from);
  name_changes_.push_back({.from = from, .to = to, .inode = found->second});
  Apply(name_changes_.back(), &names_);
  return Status::Ok();
}

Status PowerCutFileLayer::SyncDir(const std::string& dir) {
  PENSTOCK_RETURN_IF_ERROR(Check("sync_dir", dir));
  std::lock_guard lock(mutex_);
  if (std::find(dirs_.begin(), dirs_.end(), dir) == dirs_.end())
    return ErrnoStatus(ENOENT, "sync_dir " + dir);
  synced_names_ = names_;
  name_changes_.clear();
  return Status::Ok();
}

Status PowerCutFileLayer::MakeDir(const std::string& dir) {
  PENSTOCK_RETURN_IF_ERROR(Check("mkdir", dir));
  std::lock_guard lock(mutex_);
  if (std::find(dirs_.begin(), dirs_.end(), dir) == dirs_.end()) dirs_.push_back(dir);
  return Status::Ok();
}

void PowerCutFileLayer::SetBoot(uint32_t boot) {
  std::lock_guard lock(mutex_);
  boot_ = boot;
}

uint32_t PowerCutFileLayer::BootId() {
  std::lock_guard lock(mutex_);
  return boot_;
}

}  // namespace penstock
