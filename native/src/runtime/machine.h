// What this machine offers: memory and processors, as the kernel and the control group let us have them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace iconface {

struct MemoryInfo {
  int64_t total = 0;      // bytes of physical memory
  int64_t available = 0;  // what may be taken without swapping, within the control group's limit
  int64_t limit = 0;      // the control group's limit, or total
};
MemoryInfo memory_info();
/// Bytes of memory of its own that this process really occupies; 0 when unknown.
int64_t resident_bytes();

/// Processors this process may run on, within the control group's quota.
int usable_processors();
/// Features that matter here, as /proc/cpuinfo spells them.
std::vector<std::string> processor_features();

}  // namespace iconface
