#include "runtime/control_group.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <vector>

namespace iconface {

namespace {

constexpr int64_t kUnlimited = int64_t{1} << 60;  // version 1 writes 2^63 less a page

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

/// mountinfo writes spaces and the like as \040.
std::string unescaped(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>(strtol(text.substr(i + 1, 3).c_str(), nullptr, 8));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// A hierarchy of groups is named by its controller; version 2 has one hierarchy for all of them.
constexpr const char* kVersion2 = nullptr;

/// The path of this process's group in a hierarchy, from /proc/self/cgroup ("4:cpu,cpuacct:/path", version 2
/// "0::/path").
std::optional<std::string> own_path(const std::string& root, const char* controller) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controller == kVersion2 ? controllers.empty() : contains(split(controllers, ','), controller))
      return line.substr(second + 1);
  }
  return std::nullopt;
}

struct Mount {
  std::string shown;  // the path of the hierarchy that is mounted: "/" or, in a container, that of its group
  std::string at;
};

/// Where the hierarchy is mounted: "31 23 0:28 /shown /at rw - cgroup2 cgroup2 rw,memory".
std::vector<Mount> mounts(const std::string& root, const char* controller) {
  std::vector<Mount> found;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> place = split(line.substr(0, dash), ' '), kind = split(line.substr(dash + 3), ' ');
    if (place.size() < 5 || kind.size() < 3) continue;
    const bool fits = controller == kVersion2 ? kind[0] == "cgroup2"
                                              : kind[0] == "cgroup" && contains(split(kind[2], ','), controller);
    if (fits) found.push_back({unescaped(place[3]), unescaped(place[4])});
  }
  return found;
}

bool is_folder(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

/// `path` relative to the mount. A container may see another part of the hierarchy than the one its path starts from;
/// its group is then found under the end of the path, or at the mount itself.
std::string below(const std::string& root, const Mount& mount, std::string path) {
  const std::string shown = mount.shown == "/" ? "" : mount.shown;
  if (path.compare(0, shown.size(), shown) == 0 && (path.size() == shown.size() || path[shown.size()] == '/'))
    path = path.substr(shown.size());
  if (path.find("/..") != std::string::npos) return "";
  while (!path.empty() && (path == "/" || !is_folder(root + mount.at + path))) {
    const size_t next = path.find('/', 1);
    path = next == std::string::npos ? "" : path.substr(next);
  }
  return path;
}

/// The folders of this process's group and of all its visible ancestors, without `root`.
std::vector<std::string> groups(const std::string& root, const char* controller) {
  std::vector<std::string> folders;
  const std::optional<std::string> path = own_path(root, controller);
  if (!path) return folders;
  for (const Mount& mount : mounts(root, controller)) {
    std::string relative = below(root, mount, *path);
    for (;;) {
      folders.push_back(mount.at + relative);
      if (relative.empty()) break;
      relative.resize(relative.rfind('/'));
    }
  }
  return folders;
}

/// The number in a file; none where the file says "max", or does not exist.
std::optional<int64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  int64_t n;
  if (!(file >> n) || n < 0 || n >= kUnlimited) return std::nullopt;
  return n;
}

std::map<std::string, int64_t> numbers_in(const std::string& path) {
  std::map<std::string, int64_t> numbers;
  std::ifstream file(path);
  std::string name;
  int64_t n;
  while (file >> name >> n) numbers[name] = n;
  return numbers;
}

int64_t sum(const std::map<std::string, int64_t>& numbers, std::initializer_list<const char*> names) {
  int64_t total = 0;
  for (const char* name : names)
    if (const auto found = numbers.find(name); found != numbers.end()) total += found->second;
  return total;
}

void lower(std::optional<GroupLimits::Memory>* least, const GroupLimits::Memory& m) {
  if (!*least || m.free() < (*least)->free()) *least = m;
}

/// Cached file contents do not count as used: the kernel drops them before it refuses memory, and mapped checkpoints
/// are among them. Swap does not count as memory: a restore that computes in swap would never end. So memory.swap.max
/// is ignored, and a limit on memory and swap together is taken as one on memory.
void memory_v2(const std::string& root, std::optional<GroupLimits::Memory>* least) {
  for (const std::string& group : groups(root, kVersion2)) {
    const std::string folder = root + group;
    const int64_t cached = sum(numbers_in(folder + "/memory.stat"), {"active_file", "inactive_file"});
    const int64_t used = std::max<int64_t>(number_in(folder + "/memory.current").value_or(0) - cached, 0);
    // Beyond memory.high the kernel kills nobody, but throttles every process of the group until it hardly advances.
    for (const char* name : {"/memory.max", "/memory.high"})
      if (const auto limit = number_in(folder + name)) lower(least, {group + name, *limit, used});
  }
}

void memory_v1(const std::string& root, std::optional<GroupLimits::Memory>* least) {
  for (const std::string& group : groups(root, "memory")) {
    const std::string folder = root + group;
    const auto stat = numbers_in(folder + "/memory.stat");
    const int64_t cached =
        std::max(sum(stat, {"active_file", "inactive_file"}), sum(stat, {"total_active_file", "total_inactive_file"}));
    const auto look = [&](const char* limit_name, const char* used_name, const char* inherited) {
      const int64_t used = std::max<int64_t>(number_in(folder + used_name).value_or(0) - cached, 0);
      if (const auto limit = number_in(folder + limit_name)) lower(least, {group + limit_name, *limit, used});
      // The limit of an ancestor whose folder is not visible from here.
      const auto found = stat.find(inherited);
      if (found != stat.end() && found->second >= 0 && found->second < kUnlimited)
        lower(least, {group + "/memory.stat: " + inherited, found->second, used});
    };
    look("/memory.limit_in_bytes", "/memory.usage_in_bytes", "hierarchical_memory_limit");
    look("/memory.memsw.limit_in_bytes", "/memory.memsw.usage_in_bytes", "hierarchical_memsw_limit");
  }
}

void cpu_quotas(const std::string& root, std::optional<double>* least) {
  const auto quota = [&](std::optional<int64_t> time, std::optional<int64_t> period) {
    if (!time || !period || *time <= 0 || *period <= 0) return;
    const double share = static_cast<double>(*time) / static_cast<double>(*period);
    if (!*least || share < **least) *least = share;
  };
  for (const std::string& group : groups(root, kVersion2)) {
    std::ifstream file(root + group + "/cpu.max");  // "50000 100000", or "max 100000"
    int64_t time, period;
    if (file >> time >> period) quota(time, period);
  }
  for (const std::string& group : groups(root, "cpu"))
    quota(number_in(root + group + "/cpu.cfs_quota_us"), number_in(root + group + "/cpu.cfs_period_us"));
}

}  // namespace

GroupLimits group_limits(const std::string& root) {
  GroupLimits limits;
  memory_v2(root, &limits.memory);
  memory_v1(root, &limits.memory);
  cpu_quotas(root, &limits.cpus);
  return limits;
}

}  // namespace iconface
