// Every byte the core computes in comes from here: one place that can fail, be counted, and be made to fail in tests.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/tensor.h"
#include "runtime/recordings.h"

namespace iconface {

/// Page-aligned, zeroed memory straight from the operating system, returned to it at once when freed (so that the
/// resident size falls, which malloc's arenas do not promise). Throws OutOfMemory with the size asked for.
class Pages {
 public:
  Pages() = default;
  explicit Pages(int64_t bytes);
  /// Memory of a device, contents undefined; of the process when it is null.
  Pages(int64_t bytes, Device* device);
  Pages(Pages&& other) noexcept;
  Pages& operator=(Pages&& other) noexcept;
  ~Pages();
  char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

  /// Bytes of the process held by all Pages, without what reserves keep.
  static int64_t total();
  /// Bytes of devices held by all Pages, without what reserves keep.
  static int64_t device_total();
  /// Bytes in reserves.
  static int64_t kept();
  /// What may still be taken of a device, or of the process: available memory less what is held already but was not touched yet.
  static int64_t grantable(Device* device = nullptr);
  /// Tests: make the n-th allocation from now on fail (1 = the next one); 0 turns it off.
  static void fail_allocation(int64_t n);

 private:
  friend class Reserve;
  void count(bool kept);

  char* data_ = nullptr;
  int64_t bytes_ = 0;
  Device* device_ = nullptr;
  bool kept_ = false;  // in a reserve: not counted as held
};

/// Memory that a job computes in, and what a device recorded in it, which is forgotten before the memory is freed.
struct WorkingMemory {
  Pages pages;
  Recordings recordings = {};
};

/// The working memory of the last job, kept for the next one of the same size: zeroing new pages costs a tenth of a
/// small restore. A device's serves smaller jobs as well, so that jobs of many sizes find what was recorded in it. It is
/// given back when another size (of a device, a larger one) is needed, when its owner has nothing to do for a second, and
/// at the end. Not thread-safe: one thread's own.
class Reserve {
 public:
  static constexpr int64_t kMost = 256 << 20;  // of the process: of more, zeroing is a small part
  ~Reserve() { drop(); }
  /// Whether `take` needs no new memory.
  bool has(int64_t bytes) const;
  /// This many bytes (of a device, or more), contents undefined. Throws as Pages does.
  WorkingMemory take(int64_t bytes, Device* device);
  void keep(WorkingMemory memory);
  void drop();

 private:
  WorkingMemory kept_;
};

/// A stack of tensors. The same forward pass first runs with a planning workspace, which hands out addresses that are
/// never touched and records the peak, then with one that holds exactly that much: the estimate is exact by
/// construction and nothing is allocated inside a step.
class Workspace {
 public:
  Workspace() = default;  // planning: no memory behind it
  explicit Workspace(WorkingMemory memory) : memory_(std::move(memory)), planning_(false) {}
  explicit Workspace(Pages pages) : Workspace(WorkingMemory{std::move(pages)}) {}
  /// The memory behind it, when nothing in it is used any more.
  WorkingMemory release() { return std::move(memory_); }

  /// Whether operations only take their memory.
  bool planning() const { return planning_ || rehearsing_; }
  int64_t peak() const { return peak_; }
  int64_t used() const { return used_; }
  Recordings& recordings() { return memory_.recordings; }

  void* bytes(int64_t n);  // 256-byte aligned, contents undefined
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

  /// While it lives operations only take their memory, as when planning, but here: a recording does their work.
  class Rehearsal {
   public:
    explicit Rehearsal(Workspace& w) : workspace_(w) { workspace_.rehearsing_ = true; }
    ~Rehearsal() { workspace_.rehearsing_ = false; }
    Rehearsal(const Rehearsal&) = delete;
    Rehearsal& operator=(const Rehearsal&) = delete;

   private:
    Workspace& workspace_;
  };

 private:
  WorkingMemory memory_;
  int64_t used_ = 0, peak_ = 0;
  bool planning_ = true, rehearsing_ = false;
};

}  // namespace iconface
