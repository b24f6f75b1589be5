#include "runtime/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <thread>

namespace iconface {

MemoryInfo memory_info(const std::string& root) {
  MemoryInfo m;
  std::ifstream file(root + "/proc/meminfo");
  std::string name, unit;
  int64_t kib;
  while (file >> name >> kib) {
    std::getline(file, unit);
    if (name == "MemTotal:") m.total = kib * 1024;
    if (name == "MemAvailable:") m.available = kib * 1024;
  }
  if (m.total == 0) m.total = m.available = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  m.limit = m.total;
  const std::optional<GroupLimits::Memory> group = group_limits(root).memory;
  if (!group) return m;
  m.limit = std::min(m.total, group->limit);
  if (group->free() < m.available) {
    m.available = group->free();
    m.limited_by = *group;
  }
  return m;
}

std::string why_no_more(const MemoryInfo& m) {
  if (!m.limited_by) return "";
  char figures[80];
  const auto mebibytes = [](int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  snprintf(figures, sizeof figures, " allows %.1f MiB, %.1f MiB of them are used)", mebibytes(m.limited_by->limit),
           mebibytes(m.limited_by->used));
  return " (" + m.limited_by->file + figures;
}

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t size = 0, resident = 0, shared = 0;
  if (!(file >> size >> resident >> shared)) return 0;
  return (resident - shared) * sysconf(_SC_PAGESIZE);
}

int usable_cpus(const std::string& root) {
  int cpus = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = CPU_COUNT(&set);
  // A container's share is a quota of time, not a set of CPUs: a quota of 1.5 CPUs needs two threads.
  if (const std::optional<double> share = group_limits(root).cpus)
    cpus = static_cast<int>(std::min<double>(cpus, std::ceil(*share)));
#endif
  return std::max(cpus, 1);
}

std::vector<std::string> cpu_features() {
  static const char* const kNames[] = {"avx2",     "fma",         "f16c",        "avx512f",     "avx512bw", "avx512dq",
                                       "avx512vl", "avx512_bf16", "avx512_vnni", "avx512_fp16", "amx_bf16", "amx_int8",
                                       "asimd",    "bf16",        "i8mm",        "sve"};
  std::vector<std::string> found;
  std::ifstream file("/proc/cpuinfo");
  std::string line, word;
  while (std::getline(file, line)) {
    if (line.rfind("flags", 0) != 0 && line.rfind("Features", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    while (words >> word)
      if (std::find(std::begin(kNames), std::end(kNames), word) != std::end(kNames)) found.push_back(word);
    break;
  }
  return found;
}

}  // namespace iconface
