// Control groups: the limits of this process's group and of all its ancestors. Versions 1 and 2, also both at once.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace iconface {

struct GroupLimits {
  struct Memory {
    std::string file;   // "/sys/fs/cgroup/a/b/memory.max"
    int64_t limit = 0;  // bytes
    int64_t used = 0;   // bytes, without cached file contents
    int64_t free() const { return limit > used ? limit - used : 0; }
  };
  std::optional<Memory> memory;  // the limit that leaves the least room; none: no group has one
  std::optional<double> cpus;    // the smallest quota of CPU time, in CPUs
};

/// @param root  stands before every path that is read (tests: a folder with made-up files)
GroupLimits group_limits(const std::string& root = "");

}  // namespace iconface
