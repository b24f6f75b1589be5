// MappedFile: a checkpoint file, read-only in memory, its ranges checked against its real size.
#pragma once
#include <cstdint>
#include <string>

namespace iconface {

class MappedFile {
 public:
  /// Maps the whole file privately. Throws Io when it cannot be opened, InvalidCheckpoint when its size is not the one
  /// its header was checked against.
  MappedFile(const std::string& path, int64_t expected_size);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;

  /// Address of `bytes` bytes at `offset`; throws InvalidCheckpoint when they do not lie inside the file.
  void* at(int64_t offset, int64_t bytes) const;
  /// Whether `address` lies in the mapped file.
  bool holds(const void* address) const;
  /// Tells the system that this range is read soon (its pages are fetched meanwhile), or not soon again: its pages leave
  /// this process, and come back unchanged should they be read after all. Both are hints; `begin` lies in the file.
  void expect(const void* begin, int64_t bytes) const;
  void forget(const void* begin, int64_t bytes) const;
  int64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  /// Throws InvalidCheckpoint when the file on disk was cut, which would make reading it fatal, or written to.
  void check_unchanged() const;

 private:
  void advise(const void* begin, int64_t bytes, int advice) const;

  std::string path_;
  int fd_ = -1;
  char* data_ = nullptr;
  int64_t size_ = 0, modified_ = 0;  // bytes; nanoseconds since 1970
};

}  // namespace iconface
