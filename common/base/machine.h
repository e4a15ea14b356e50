// What is known of the machine: its name, and how much memory this process may count on, for budgets that are
// left at their default.
#pragma once

#include <cstdint>
#include <string>

namespace penstock {

// The machine's memory, or the least limit of the control groups (v1 and v2) that this process is in. `root`
// is put before the paths of /proc and /sys that are read, for tests. At least 64 MiB, also when nothing can
// be read.
uint64_t MachineMemoryBytes(const std::string& root = "");

// As it calls itself.
std::string MachineName();

}  // namespace penstock
