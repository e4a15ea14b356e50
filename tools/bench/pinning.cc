#include "tools/bench/pinning.h"

#include <dirent.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "common/base/strings.h"

namespace penstock {
namespace {

cpu_set_t Only(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return set;
}

}  // namespace

int ProcessorAt(size_t i) {
  cpu_set_t allowed;
  std::vector<int> processors;
  if (::sched_getaffinity(::getpid(), sizeof allowed, &allowed) == 0) {
    for (int p = 0; p < CPU_SETSIZE; ++p) {
      if (CPU_ISSET(p, &allowed)) processors.push_back(p);
    }
  }
  return processors.empty() ? 0 : processors[i % processors.size()];
}

// Twice: a thread that a thread not yet pinned starts meanwhile is caught by the second look.
Status PinProcess(pid_t pid, int processor) {
  const cpu_set_t set = Only(processor);
  const std::string path = StrCat("/proc/", pid, "/task");
  for (int look = 0; look < 2; ++look) {
    DIR* folder = ::opendir(path.c_str());
    if (folder == nullptr) return ErrnoStatus(errno, path);
    Status status;
    while (const dirent* entry = ::readdir(folder)) {
      const pid_t thread = std::atoi(entry->d_name);
      if (thread <= 0 || ::sched_setaffinity(thread, sizeof set, &set) == 0 || errno == ESRCH) continue;
      status = ErrnoStatus(errno, StrCat("pin process ", pid, " to processor ", processor));
    }
    ::closedir(folder);
    PENSTOCK_RETURN_IF_ERROR(status);
  }
  return Status::Ok();
}

PinnedThread::PinnedThread(int processor) {
  CPU_ZERO(&before_);
  ::sched_getaffinity(0, sizeof before_, &before_);
  const cpu_set_t set = Only(processor);
  ::sched_setaffinity(0, sizeof set, &set);
}

PinnedThread::~PinnedThread() { ::sched_setaffinity(0, sizeof before_, &before_); }

}  // namespace penstock
