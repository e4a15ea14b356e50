// Reads /proc/meminfo, /proc/self/cgroup and the memory limits of the control groups on the way up to the
// root.
#include "common/base/machine.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <fstream>
#include <limits>
#include <sstream>

#include "common/base/strings.h"

namespace penstock {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

uint64_t TotalMemory(const std::string& root) {
  std::ifstream file(root + "/proc/meminfo");
  std::string name;
  uint64_t kib = 0;
  std::string unit;
  while (file >> name >> kib >> unit) {
    if (name == "MemTotal:") return kib << 10;
  }
  return kNoLimit;
}

// "max" and the huge number that v1 writes for "none" are no limit.
uint64_t LimitIn(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  uint64_t limit = 0;
  if (!(file >> text)) return kNoLimit;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
  return error == std::errc() && limit > 0 ? limit : kNoLimit;
}

// The least limit of a group and of those above it. Inside a container the path may name groups that only the
// host can see; the container's own limit is then at the mount's root, which the walk ends with.
uint64_t LimitOnTheWayUp(const std::string& mount, std::string group, const std::string& file) {
  uint64_t least = kNoLimit;
  for (;;) {
    least = std::min(least, LimitIn(mount + group + "/" + file));
    const size_t slash = group.rfind('/');
    if (slash == std::string::npos) return least;
    group.resize(slash);
  }
}

uint64_t GroupLimit(const std::string& root) {
  std::ifstream file(root + "/proc/self/cgroup");
  uint64_t least = kNoLimit;
  for (std::string line; std::getline(file, line);) {  // hierarchy:controllers:path
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string group = line.substr(second + 1);
    for (std::string_view controller :
         StrSplit(std::string_view(line).substr(first + 1, second - first - 1), ',')) {
      if (controller == "memory") {
        least =
            std::min(least, LimitOnTheWayUp(root + "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
      } else if (controller.empty()) {
        least = std::min(least, LimitOnTheWayUp(root + "/sys/fs/cgroup", group, "memory.max"));
      }
    }
  }
  return least;
}

}  // namespace

uint64_t MachineMemoryBytes(const std::string& root) {
  constexpr uint64_t kLeast = 64ull << 20;
  const uint64_t bytes = std::min(TotalMemory(root), GroupLimit(root));
  return bytes == kNoLimit ? kLeast : std::max(bytes, kLeast);
}

std::string MachineName() {
  char name[HOST_NAME_MAX + 1] = {};
  return ::gethostname(name, HOST_NAME_MAX) == 0 ? name : "";
}

}  // namespace penstock
