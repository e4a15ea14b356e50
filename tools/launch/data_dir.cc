#include "tools/launch/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "common/base/atomic_file.h"

namespace penstock {
namespace {

// Whatever forbids the folder, it is for the caller to mend, and not a refusal of the cluster's.
Status Unusable(const DataDirPaths& paths, const Status& status) {
  return FailedPrecondition("data directory " + paths.root + " cannot be used: " + status.message());
}

// LockHolder holds the lock for a moment when nobody else does.
bool LockFile(int fd) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

}  // namespace

std::string DefaultDataDir() {
  const char* value = std::getenv("PENSTOCK_DATA_DIR");
  return value != nullptr && *value != '\0' ? value : "penstock-data";
}

std::string AbsolutePath(const std::string& path) {
  std::error_code error;
  std::string absolute = std::filesystem::absolute(path, error).lexically_normal().string();
  if (error) return path;
  while (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  return absolute;
}

Result<DataDirLock> DataDirLock::Acquire(const DataDirPaths& paths) {
  if (const Status made = MakeDirectories(paths.logs()); !made.ok()) return Unusable(paths, made);
  const int fd = ::open(paths.lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return Unusable(paths, ErrnoStatus(errno, paths.lock()));
  DataDirLock lock(fd);
  if (!LockFile(fd)) {
    const auto holder = LockHolder(paths);
    return FailedPrecondition("a cluster runs in " + paths.root + " already" +
                              (holder && *holder > 0 ? " (process " + std::to_string(*holder) + ")" : "") +
                              "; `penstock down --data-dir " + paths.root + "` ends it");
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) != 0 ||
      ::pwrite(fd, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return Unusable(paths, ErrnoStatus(errno, paths.lock()));
  }
  return lock;
}

DataDirLock::DataDirLock(DataDirLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

DataDirLock& DataDirLock::operator=(DataDirLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

DataDirLock::~DataDirLock() {
  if (fd_ >= 0) ::close(fd_);
}

std::optional<pid_t> LockHolder(const DataDirPaths& paths) {
  const int fd = ::open(paths.lock().c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::optional<pid_t> holder;
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    char text[32] = {};
    const ssize_t n = ::pread(fd, text, sizeof text - 1, 0);
    holder = n > 0 ? static_cast<pid_t>(std::atol(text)) : 0;
  }
  ::close(fd);
  return holder;
}

Result<LaunchRecord> ReadLaunchRecord(const DataDirPaths& paths) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(paths.record()));
  try {
    const auto json = nlohmann::json::parse(text);
    return LaunchRecord{.servers = json.at("servers"),
                        .workers = json.at("workers"),
                        .least_servers = json.at("least_servers"),
                        .config = json.at("config"),
                        .assignments = json.at("set"),
                        .address = json.value("address", ""),
                        .join = json.value("join", ""),
                        .token_file = json.value("token_file", ""),
                        .name = json.value("name", "")};
  } catch (const nlohmann::json::exception& e) {
    return DataLoss(paths.record() + ": " + e.what());
  }
}

std::string OperatorTokenBeside(const std::string& node_token) {
  const std::string beside = std::filesystem::path(node_token).replace_filename("operator.token").string();
  return ::access(beside.c_str(), F_OK) == 0 ? beside : node_token;
}

ClusterContact ContactOf(const DataDirPaths& paths) {
  const auto record = ReadLaunchRecord(paths);
  if (record.ok() && record->joins())
    return {.scheduler = record->join, .token_file = OperatorTokenBeside(record->token_file)};
  const std::string token = paths.token(Access::kOperator);
  return {.scheduler = paths.scheduler_address(),
          .token_file = ::access(token.c_str(), F_OK) == 0 ? token : ""};
}

Status WriteLaunchRecord(const DataDirPaths& paths, const LaunchRecord& record) {
  const nlohmann::json json = {
      {"servers", record.servers}, {"workers", record.workers},       {"least_servers", record.least_servers},
      {"config", record.config},   {"set", record.assignments},       {"address", record.address},
      {"join", record.join},       {"token_file", record.token_file}, {"name", record.name}};
  return WriteFileAtomically(paths.record(), json.dump(2) + "\n");
}

Result<LaunchRecord> DecideLaunch(std::optional<uint32_t> servers, std::optional<uint32_t> workers,
                                  const std::optional<LaunchRecord>& last) {
  LaunchRecord record;
  if (last) record = *last;
  if (servers) record.servers = *servers;
  if (workers) record.workers = *workers;
  if (!last) record.least_servers = record.servers;
  if (record.servers < record.least_servers) {
    return InvalidArgument("--servers " + std::to_string(record.servers) + ": this cluster was made with " +
                           std::to_string(record.least_servers) +
                           " servers, and its shards lie on all of them; at least as many must run");
  }
  return record;
}

}  // namespace penstock
