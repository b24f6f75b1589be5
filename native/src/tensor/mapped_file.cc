#include "tensor/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/error.h"

namespace iconface {

namespace {
int64_t size_of(int fd, const std::string& path) {
  struct stat s;
  if (fstat(fd, &s) != 0) fail(Code::Io, "could not read %s: %s", path.c_str(), strerror(errno));
  return s.st_size;
}
}  // namespace

MappedFile::MappedFile(const std::string& path, int64_t expected_size) : path_(path), size_(expected_size) {
  fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) fail(Code::Io, "could not open %s: %s", path.c_str(), strerror(errno));
  const int64_t size = size_of(fd_, path);
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
      size_(other.size_) {}

void* MappedFile::at(int64_t offset, int64_t bytes) const {
  if (offset < 0 || bytes < 0 || offset > size_ || bytes > size_ - offset)
    fail(Code::InvalidCheckpoint, "%s: bytes [%lld, +%lld) lie outside its %lld", path_.c_str(),
         static_cast<long long>(offset), static_cast<long long>(bytes), static_cast<long long>(size_));
  return data_ + offset;
}

void MappedFile::check_unchanged() const {
  const int64_t size = size_of(fd_, path_);
  if (size != size_)
    fail(Code::InvalidCheckpoint, "%s was changed while it was in use (%lld bytes, now %lld): dispose the model and load it again",
         path_.c_str(), static_cast<long long>(size_), static_cast<long long>(size));
}

}  // namespace iconface
