// MappedFile: a checkpoint file mapped into memory, read-only. Ranges are checked against the file's real size.
#pragma once
#include <cstdint>
#include <string>

namespace iconface {

class MappedFile {
 public:
  /// Maps the whole file. Throws Io when it cannot be opened, InvalidCheckpoint when its size is not `expected_size`,
  /// with which its header was checked.
  MappedFile(const std::string& path, int64_t expected_size);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;

  /// Address of `bytes` bytes at `offset`; throws InvalidCheckpoint when they do not lie inside the file.
  void* at(int64_t offset, int64_t bytes) const;
  /// Whether `address` lies in the mapped file.
  bool holds(const void* address) const;
  /// Hints about a range of the mapping. `expect`: it is read soon, so its pages are fetched meanwhile. `forget`: it
  /// is not read soon again, so its pages leave this process; they come back unchanged where they are read after all.
  void expect(const void* begin, int64_t bytes) const;
  void forget(const void* begin, int64_t bytes) const;
  int64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  /// Throws InvalidCheckpoint when the file on disk was written to, or cut: reading beyond its end would kill the
  /// process.
  void check_unchanged() const;

 private:
  void advise(const void* begin, int64_t bytes, int advice) const;

  std::string path_;
  int fd_ = -1;
  char* data_ = nullptr;
  int64_t size_ = 0, modified_ = 0;  // bytes; nanoseconds since 1970
};

}  // namespace iconface
