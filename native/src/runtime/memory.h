// Pages, Reserve, Workspace: all memory that the core computes in, counted in one place. Tests make
// allocations fail there.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/tensor.h"
#include "runtime/graph_cache.h"

namespace iconface {

/// Page-aligned, zeroed memory straight from the operating system. It goes back there at once when freed, so that the
/// resident size falls, which malloc does not promise. Throws OutOfMemory, naming the size asked for.
class Pages {
 public:
  Pages() = default;
  explicit Pages(int64_t bytes);
  /// Memory of a device, contents undefined; of the process when `device` is null.
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
  /// Bytes that may still be taken of a device, or of the process. The system counts a page that was mapped but never
  /// touched as free; such pages of this core are subtracted.
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

/// Memory that a job computes in, and the graphs captured in it, which are destroyed before the memory is freed.
struct WorkingMemory {
  Pages pages;
  GraphCache graphs = {};
};

/// The working memory of the last job, kept for the next one of the same size: zeroing new pages costs a tenth of a
/// small restore. A device's memory serves smaller jobs as well, so that jobs of several sizes find their captured
/// graphs in it. The memory is freed when another size (on a device, a larger one) is needed, when its owner has been
/// idle for a second, and at the end. Not thread-safe: one thread's own.
class Reserve {
 public:
  /// Bytes of the process that are kept at most: where a job needs more, zeroing is a small part of its time.
  static constexpr int64_t kMost = 256 << 20;
  ~Reserve() { drop(); }
  /// Whether `take` needs no new memory.
  bool has(int64_t bytes) const;
  /// So many bytes (on a device: at least so many), contents undefined. Throws as Pages does.
  WorkingMemory take(int64_t bytes, Device* device);
  void keep(WorkingMemory memory);
  void drop();

 private:
  WorkingMemory kept_;
};

/// A stack of tensors. Every job runs twice (plan_then_run in runtime/planning.h): first with a planning workspace,
/// which hands out addresses that nobody touches and notes the peak, then with a workspace of exactly that size. So
/// the estimate is exact, and nothing is allocated while a job runs.
class Workspace {
 public:
  Workspace() = default;  // planning: it has no memory
  explicit Workspace(WorkingMemory memory) : memory_(std::move(memory)), planning_(false) {}
  explicit Workspace(Pages pages) : Workspace(WorkingMemory{std::move(pages)}) {}
  /// Its memory, once no tensor in it is used any more.
  WorkingMemory release() { return std::move(memory_); }

  /// Whether operations only take their memory: it has none, or a dry run is on.
  bool planning() const { return planning_ || dry_run_; }
  int64_t peak() const { return peak_; }
  int64_t used() const { return used_; }
  GraphCache& graphs() { return memory_.graphs; }

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

  /// While it lives, operations only take their memory, as when planning, but from this workspace: a captured graph
  /// does their work.
  class DryRun {
   public:
    explicit DryRun(Workspace& w) : workspace_(w) { workspace_.dry_run_ = true; }
    ~DryRun() { workspace_.dry_run_ = false; }
    DryRun(const DryRun&) = delete;
    DryRun& operator=(const DryRun&) = delete;

   private:
    Workspace& workspace_;
  };

 private:
  WorkingMemory memory_;
  int64_t used_ = 0, peak_ = 0;
  bool planning_ = true, dry_run_ = false;
};

}  // namespace iconface
