// What this machine offers: memory and processors, as the kernel and the control group let us have them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/control_group.h"

namespace iconface {

struct MemoryInfo {
  int64_t total = 0;      // bytes of physical memory
  int64_t available = 0;  // what may be taken without swapping, within the limits of all control groups
  int64_t limit = 0;      // the one of those limits that leaves the least room, or total
  std::optional<GroupLimits::Memory> limited_by;  // what leaves no more than `available`; none: the machine itself
};
/// @param root  stands before every path that is read (tests: a folder with made-up files)
MemoryInfo memory_info(const std::string& root = "");
/// " (memory.max … allows 400.0 MiB, 310.2 MiB of them are used)": why no more is available; empty where the machine itself
/// has no more.
std::string why_no_more(const MemoryInfo&);
/// Bytes of memory of its own that this process really occupies; 0 when unknown.
int64_t resident_bytes();

/// Processors this process may run on, within the quotas of all control groups.
int usable_processors(const std::string& root = "");
/// Features that matter here, as /proc/cpuinfo spells them.
std::vector<std::string> processor_features();

}  // namespace iconface
