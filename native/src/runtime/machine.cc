#include "runtime/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

namespace iconface {

namespace {
/// The number in a file such as memory.max; -1 when there is none ("max", no file).
int64_t number_in(const char* path) {
  std::ifstream file(path);
  int64_t n = -1;
  if (!(file >> n)) return -1;
  return n;
}

int64_t first_number(std::initializer_list<const char*> paths) {
  for (const char* path : paths) {
    const int64_t n = number_in(path);
    if (n >= 0) return n;
  }
  return -1;
}

/// Bytes of the control group's use that are cached file contents: the kernel takes them back before it refuses anyone,
/// and every mapped checkpoint that was read is among them.
int64_t cached_files() {
  for (const char* path : {"/sys/fs/cgroup/memory.stat", "/sys/fs/cgroup/memory/memory.stat"}) {
    std::ifstream file(path);
    std::string name;
    int64_t n, own = 0, total = 0;  // version 1 lists the group itself, then `total_` with the groups below it
    while (file >> name >> n) {
      if (name == "active_file" || name == "inactive_file") own += n;
      if (name == "total_active_file" || name == "total_inactive_file") total += n;
    }
    if (own > 0 || total > 0) return std::max(own, total);
  }
  return 0;
}
}  // namespace

MemoryInfo memory_info() {
  MemoryInfo m;
  std::ifstream file("/proc/meminfo");
  std::string name, unit;
  int64_t kib;
  while (file >> name >> kib) {
    std::getline(file, unit);
    if (name == "MemTotal:") m.total = kib * 1024;
    if (name == "MemAvailable:") m.available = kib * 1024;
  }
  if (m.total == 0) m.total = m.available = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  m.limit = m.total;
  const int64_t limit = first_number({"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"});
  const int64_t used = first_number({"/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes"});
  if (limit > 0 && limit < m.total) {
    m.limit = limit;
    if (used >= 0) m.available = std::min(m.available, std::max<int64_t>(limit - used + cached_files(), 0));
  }
  return m;
}

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t size = 0, resident = 0, shared = 0;
  if (!(file >> size >> resident >> shared)) return 0;
  return (resident - shared) * sysconf(_SC_PAGESIZE);
}

int usable_processors() {
  int processors = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) processors = CPU_COUNT(&set);
  // A container's share is a quota of time per period ("max 100000" or "150000 100000"), not a set of processors.
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  int64_t quota = 0, period = 0;
  if (file >> quota >> period && quota > 0 && period > 0)
    processors = static_cast<int>(std::min<int64_t>(processors, (quota + period - 1) / period));
#endif
  return std::max(processors, 1);
}

std::vector<std::string> processor_features() {
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
