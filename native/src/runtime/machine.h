// What this machine has for this process: memory and CPUs, within the limits of the kernel and of control groups.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/control_group.h"

namespace iconface {

struct MemoryInfo {
  int64_t total = 0;      // bytes of physical memory
  int64_t available = 0;  // bytes that may be taken without swapping, within the limits of all control groups
  int64_t limit = 0;      // the limit that leaves the least room, or total
  std::optional<GroupLimits::Memory> limited_by;  // the limit behind `available`; none: the machine's own memory
};
/// @param root  stands before every path that is read (tests: a folder with made-up files)
MemoryInfo memory_info(const std::string& root = "");
/// Why no more is available: " (memory.max … allows 400.0 MiB, 310.2 MiB of them are used)". Empty where the machine
/// itself has no more.
std::string why_no_more(const MemoryInfo&);
/// Resident bytes of this process, without what it shares with others; 0 when unknown.
int64_t resident_bytes();

/// CPUs that this process may run on, within the quotas of all control groups.
int usable_cpus(const std::string& root = "");
/// Those features of the CPU that this package knows, as /proc/cpuinfo spells them.
std::vector<std::string> cpu_features();

}  // namespace iconface
