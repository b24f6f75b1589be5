// Every byte the core computes in comes from here: one place that can fail, be counted, and be made to fail in tests.
#pragma once
#include <cstddef>
#include <cstdint>

#include "tensor/tensor.h"

namespace iconface {

/// Page-aligned, zeroed memory straight from the operating system, returned to it at once when freed (so that the
/// resident size falls, which malloc's arenas do not promise). Throws OutOfMemory with the size asked for.
class Pages {
 public:
  Pages() = default;
  explicit Pages(int64_t bytes);
  Pages(Pages&& other) noexcept;
  Pages& operator=(Pages&& other) noexcept;
  ~Pages();
  char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

  /// Bytes held by all Pages of the process.
  static int64_t total();
  /// What may still be taken: available memory less what is held already but was not touched yet.
  static int64_t grantable();
  /// Tests: make the n-th allocation from now on fail (1 = the next one); 0 turns it off.
  static void fail_allocation(int64_t n);

 private:
  char* data_ = nullptr;
  int64_t bytes_ = 0;
};

/// A stack of tensors. The same forward pass first runs with a planning workspace, which hands out addresses that are
/// never touched and records the peak, then with one that holds exactly that much: the estimate is exact by
/// construction and nothing is allocated inside a step.
class Workspace {
 public:
  Workspace() = default;  // planning: no memory behind it
  explicit Workspace(int64_t bytes) : pages_(bytes), planning_(false) {}

  bool planning() const { return planning_; }
  int64_t peak() const { return peak_; }

  void* bytes(int64_t n);  // 64-byte aligned, contents undefined
  Tensor tensor(DType dtype, std::initializer_list<int64_t> shape);

  /// Everything taken after a Frame is given back when it ends.
  class Frame {
   public:
    explicit Frame(Workspace& w) : workspace_(w), used_(w.used_) {}
    ~Frame() { workspace_.used_ = used_; }
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;

   private:
    Workspace& workspace_;
    int64_t used_;
  };

 private:
  Pages pages_;
  int64_t used_ = 0, peak_ = 0;
  bool planning_ = true;
};

}  // namespace iconface
