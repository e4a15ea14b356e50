// MachineMemoryBytes on made-up /proc and /sys trees, and on this machine.
#include "common/base/machine.h"

#include <gtest/gtest.h>

#include "tests/unit/common/temp_dir.h"

namespace penstock {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr const char* kMeminfo = "MemTotal:        8388608 kB\nMemFree:          1 kB\n";

TEST(MachineTest, WithoutGroupsTheMachine) {
  TempDir root;
  root.Write("proc/meminfo", kMeminfo);
  EXPECT_EQ(MachineMemoryBytes(root.path()), 8192 * kMiB);
}

TEST(MachineTest, TheLeastLimitOfVersion2OnTheWayUp) {
  TempDir root;
  root.Write("proc/meminfo", kMeminfo);
  root.Write("proc/self/cgroup", "0::/a/b\n");
  root.Write("sys/fs/cgroup/a/b/memory.max", "max\n");
  EXPECT_EQ(MachineMemoryBytes(root.path()), 8192 * kMiB);
  root.Write("sys/fs/cgroup/a/memory.max", "1073741824\n");
  EXPECT_EQ(MachineMemoryBytes(root.path()), 1024 * kMiB);
}

TEST(MachineTest, Version1AndAContainerThatSeesOnlyItsOwnRoot) {
  TempDir root;
  root.Write("proc/meminfo", kMeminfo);
  root.Write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/host/only\n1:cpuset:/\n");
  root.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n");
  EXPECT_EQ(MachineMemoryBytes(root.path()), 512 * kMiB);
  root.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(MachineMemoryBytes(root.path()), 8192 * kMiB);
}

TEST(MachineTest, NothingToReadAndThisMachine) {
  TempDir root;
  EXPECT_EQ(MachineMemoryBytes(root.path()), 64 * kMiB);
  EXPECT_GT(MachineMemoryBytes(), 64 * kMiB);
}

}  // namespace
}  // namespace penstock
