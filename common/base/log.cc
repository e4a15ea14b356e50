// Logging over glog.
#include "common/base/log.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <mutex>

#include "common/base/atomic_file.h"

namespace penstock {
namespace {

// Never destroyed: glog keeps the callback, and other threads and static destructors may log to the very end.
struct PrefixState {
  std::mutex mutex;
  std::string node;  // guarded by mutex, like the next
  std::string file;
};
PrefixState& Prefix() {
  static auto* state = new PrefixState;
  return *state;
}

std::atomic<bool> started{false};

void SetFile(std::string file) {
  PrefixState& state = Prefix();
  const std::lock_guard lock(state.mutex);
  state.file = std::move(file);
}

void WritePrefix(std::ostream& out, const google::LogMessageInfo& line, void*) {
  const time_t seconds = line.time.timestamp();
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char time[48];
  std::snprintf(time, sizeof time, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, line.time.usec());
  PrefixState& state = Prefix();
  const std::lock_guard lock(state.mutex);
  out << line.severity[0] << ' ' << time << ' ' << state.node << ' ' << line.thread_id << ' ' << line.filename
      << ':' << line.line_number << ']';
}

Result<int> Severity(const std::string& level) {
  if (level == "info") return static_cast<int>(google::GLOG_INFO);
  if (level == "warning") return static_cast<int>(google::GLOG_WARNING);
  if (level == "error") return static_cast<int>(google::GLOG_ERROR);
  return InvalidArgument("log level '" + level + "': must be one of 'info', 'warning', 'error'");
}

// glog would say nothing until the first message, and then on standard error only.
Status CheckWritable(const std::string& dir) {
  const std::string probe = dir + "/.probe." + std::to_string(getpid());
  const int fd = open(probe.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, "log directory '" + dir + "'");
  close(fd);
  if (unlink(probe.c_str()) != 0) return ErrnoStatus(errno, "log directory '" + dir + "'");
  return Status::Ok();
}

void LogToFiles(const LogOptions& options) {
  const std::string base = options.dir + "/" + options.program + ".";
  google::SetLogDestination(google::GLOG_INFO, base.c_str());
  // An INFO file holds the graver messages too; a file for each severity would only repeat them.
  for (int severity = google::GLOG_WARNING; severity < google::NUM_SEVERITIES; ++severity) {
    google::SetLogDestination(severity, "");
  }
  google::SetLogSymlink(google::GLOG_INFO, options.program.c_str());
  std::error_code error;
  const auto folder = std::filesystem::absolute(options.dir, error);
  SetFile((error ? options.dir : folder.lexically_normal().string()) + "/" + options.program + ".INFO");
  FLAGS_max_log_size = options.max_mib;
  FLAGS_stop_logging_if_full_disk = true;
  FLAGS_logbuflevel = -1;  // a process that is killed must not lose its last lines
  FLAGS_stderrthreshold = google::GLOG_ERROR;
  if (options.keep_days > 0) {
    google::EnableLogCleaner(options.keep_days);
  } else {
    google::DisableLogCleaner();
  }
}

}  // namespace

std::string LogFile() {
  PrefixState& state = Prefix();
  const std::lock_guard lock(state.mutex);
  return state.file;
}

Result<std::unique_ptr<Logging>> Logging::Start(const LogOptions& options) {
  PENSTOCK_ASSIGN_OR_RETURN(const int severity, Severity(options.level));
  if (!options.dir.empty()) {
    PENSTOCK_RETURN_IF_ERROR(MakeDirectories(options.dir).Prepend("log directory"));
    PENSTOCK_RETURN_IF_ERROR(CheckWritable(options.dir));
  }
  if (started.exchange(true)) return FailedPrecondition("logging was started already in this process");
  std::unique_ptr<Logging> logging(new Logging(options.program));
  logging->SetNode(options.node.empty() ? options.program : options.node);
  FLAGS_minloglevel = severity;
  FLAGS_logtostderr = options.dir.empty();
  if (!options.dir.empty()) LogToFiles(options);
  google::InitGoogleLogging(logging->program_.c_str(), &WritePrefix, nullptr);
  return logging;
}

Logging::~Logging() {
  SetFile("");
  google::FlushLogFiles(google::GLOG_INFO);
  google::ShutdownGoogleLogging();
  FLAGS_logtostderr = true;
  started = false;
}

void Logging::SetNode(std::string node) {
  PrefixState& state = Prefix();
  const std::lock_guard lock(state.mutex);
  state.node = std::move(node);
}

}  // namespace penstock
