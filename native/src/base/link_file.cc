#include "base/link_file.h"

#include <cerrno>

#if defined(__linux__)
#include <fcntl.h>
#include <unistd.h>

#include <string>
#endif

namespace iconface {

int link_file(int descriptor, const char* path) {
#if defined(__linux__)
  // Through /proc: before Linux 6.10, AT_EMPTY_PATH needs a capability.
  const std::string source = "/proc/self/fd/" + std::to_string(descriptor);
  return linkat(AT_FDCWD, source.c_str(), AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
#else
  (void)descriptor, (void)path;
  return EOPNOTSUPP;
#endif
}

}  // namespace iconface
