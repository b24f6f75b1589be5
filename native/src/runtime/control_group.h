// Control groups: what the group of this process and every ancestor of it allow. Versions 1 and 2, mixed as well.
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
  std::optional<Memory> memory;      // the limit that leaves the least room; none: nothing limits it
  std::optional<double> processors;  // the smallest quota of processor time, in processors
};

/// @param root  stands before every path that is read (tests: a folder with made-up files)
GroupLimits group_limits(const std::string& root = "");

}  // namespace iconface
