#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace iconface {

namespace {
int64_t modified(const struct stat& s) { return s.st_mtim.tv_sec * 1'000'000'000 + s.st_mtim.tv_nsec; }
}  // namespace

MappedFile::MappedFile(const std::string& path, int64_t expected_size) : path_(path), size_(expected_size) {
  fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) fail(Code::Io, "could not open %s: %s", path.c_str(), strerror(errno));
  struct stat status;
  if (fstat(fd_, &status) != 0) {
    const int error = errno;
    close(fd_);
    fail(Code::Io, "could not read %s: %s", path.c_str(), strerror(error));
  }
  const int64_t size = status.st_size;
  modified_ = modified(status);
  if (size != expected_size || size == 0) {
    close(fd_);
    fail(Code::InvalidCheckpoint, "%s has %lld bytes, its header was read when it had %lld: load the model again",
         path.c_str(), static_cast<long long>(size), static_cast<long long>(expected_size));
  }
  void* p = mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE, fd_, 0);
  if (p == MAP_FAILED) {
    const int error = errno;
    close(fd_);
    fail(error == ENOMEM ? Code::OutOfMemory : Code::Io, "could not map %s: %s", path.c_str(), strerror(error));
  }
  data_ = static_cast<char*>(p);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(size_));
  if (fd_ >= 0) close(fd_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      size_(other.size_),
      modified_(other.modified_) {}

void* MappedFile::at(int64_t offset, int64_t bytes) const {
  if (offset < 0 || bytes < 0 || offset > size_ || bytes > size_ - offset)
    fail(Code::InvalidCheckpoint, "%s: bytes [%lld, +%lld) lie outside its %lld", path_.c_str(),
         static_cast<long long>(offset), static_cast<long long>(bytes), static_cast<long long>(size_));
  return data_ + offset;
}

bool MappedFile::holds(const void* address) const {
  const char* p = static_cast<const char*>(address);
  return p >= data_ && p < data_ + size_;
}

void MappedFile::expect(const void* begin, int64_t bytes) const { advise(begin, bytes, MADV_WILLNEED); }
void MappedFile::forget(const void* begin, int64_t bytes) const { advise(begin, bytes, MADV_DONTNEED); }

/// Advises about whole pages. Neighbours that share a page lose nothing: a page of the file can always be read again.
void MappedFile::advise(const void* begin, int64_t bytes, int advice) const {
  const int64_t page = sysconf(_SC_PAGESIZE);
  const int64_t first = (static_cast<const char*>(begin) - data_) / page * page;
  const int64_t end = std::min(size_, static_cast<const char*>(begin) - data_ + bytes);
  if (end > first) madvise(data_ + first, static_cast<size_t>(end - first), advice);
}

void MappedFile::check_unchanged() const {
  struct stat status;
  if (fstat(fd_, &status) != 0) fail(Code::Io, "could not read %s: %s", path_.c_str(), strerror(errno));
  if (status.st_size != size_ || modified(status) != modified_)
    fail(Code::InvalidCheckpoint,
         "%s was changed while it was in use (%lld bytes, now %lld): dispose the model and load it again",
         path_.c_str(), static_cast<long long>(size_), static_cast<long long>(status.st_size));
}

}  // namespace iconface
