#include "runtime/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/error.h"
#include "runtime/device.h"
#include "runtime/machine.h"

namespace iconface {

namespace {
std::atomic<int64_t> g_held{0};  // bytes of all Pages but those in reserves
std::atomic<int64_t> g_kept{0};  // bytes in reserves
std::atomic<int64_t> g_device_held{0}, g_device_kept{0};
std::atomic<int64_t> g_fail_in{0};
std::atomic<int64_t> g_unchecked{0};  // bytes that may be taken before the system is asked again
constexpr int64_t kAlignment = 256;   // bytes; GPUs want 256, CPUs 64
constexpr int64_t kLargePage = 2 << 20;
constexpr int64_t kCheckedSize = 64 << 20;      // at most so much is taken between two looks at what is free
constexpr int64_t kLargest = int64_t{1} << 52;  // bytes of a workspace; its sums cannot overflow
// Addresses that a planning workspace hands out begin here. They are not null, and nobody reads or writes them.
constexpr uintptr_t kPlanningBase = 4096;

bool made_to_fail() { return g_fail_in.load() > 0 && g_fail_in.fetch_sub(1) == 1; }

[[noreturn]] void refuse(int64_t bytes, const Device* device = nullptr) {
  const std::string where = device == nullptr ? why_no_more(memory_info()) : " on " + device->name;
  fail(Code::OutOfMemory, "could not allocate %.1f MiB%s; free memory, or choose a smaller size or fewer references",
       static_cast<double>(bytes) / (1 << 20), where.c_str());
}

/// Linux grants more memory than there is and kills the process that touches it. So free memory is read from /proc
/// before it is taken. A read is slow: the next one comes when an eighth of what was free has been taken.
void check_granted(int64_t bytes) {
  if ((g_unchecked -= bytes) >= 0) return;
  const int64_t there = Pages::grantable();
  if (bytes > there) refuse(bytes);
  g_unchecked = std::min((there - bytes) / 8, kCheckedSize);
}
}  // namespace

Pages::Pages(int64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (made_to_fail()) refuse(bytes);
  check_granted(bytes);
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) refuse(bytes);
  if (bytes >= kLargePage) madvise(p, bytes, MADV_HUGEPAGE);
  data_ = static_cast<char*>(p);
  g_held += bytes;
}

Pages::Pages(int64_t bytes, Device* device) {
  if (device == nullptr) {
    *this = Pages(bytes);
    return;
  }
  if (bytes == 0) return;
  if (made_to_fail()) refuse(bytes, device);
  data_ = static_cast<char*>(device->allocate(bytes));
  if (data_ == nullptr) refuse(bytes, device);
  bytes_ = bytes;
  device_ = device;
  g_device_held += bytes;
}

Pages::Pages(Pages&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      device_(std::exchange(other.device_, nullptr)),
      kept_(std::exchange(other.kept_, false)) {}

Pages& Pages::operator=(Pages&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  std::swap(kept_, other.kept_);
  return *this;
}

Pages::~Pages() {
  if (data_ == nullptr) return;
  if (device_ != nullptr) {
    device_->free(data_);
    (kept_ ? g_device_kept : g_device_held) -= bytes_;
    return;
  }
  munmap(data_, bytes_);
  (kept_ ? g_kept : g_held) -= bytes_;
}

/// Moves these bytes between the sums of held and of kept memory.
void Pages::count(bool kept) {
  if (kept == kept_) return;
  kept_ = kept;
  (device_ != nullptr ? g_device_kept : g_kept) += kept ? bytes_ : -bytes_;
  (device_ != nullptr ? g_device_held : g_held) += kept ? -bytes_ : bytes_;
}

int64_t Pages::total() { return g_held; }
int64_t Pages::device_total() { return g_device_held; }
int64_t Pages::kept() { return g_kept; }
int64_t Pages::grantable(Device* device) {
  if (device != nullptr) return device->available();
  const int64_t untouched = std::max<int64_t>(g_held + g_kept - resident_bytes(), 0);
  return std::max<int64_t>(memory_info().available - untouched, 0);
}
void Pages::fail_allocation(int64_t n) { g_fail_in = n; }

bool Reserve::has(int64_t bytes) const {
  const Pages& kept = kept_.pages;
  return kept.bytes() == bytes || (kept.device_ != nullptr && kept.bytes() > bytes);
}

WorkingMemory Reserve::take(int64_t bytes, Device* device) {
  if (!has(bytes)) drop();
  if (kept_.pages.bytes() == 0) return {Pages(bytes, device)};
  if (made_to_fail()) refuse(bytes);
  kept_.pages.count(false);
  return std::move(kept_);
}

void Reserve::keep(WorkingMemory memory) {
  drop();
  if (memory.pages.device_ == nullptr && memory.pages.bytes() > kMost) return;
  memory.pages.count(true);
  kept_ = std::move(memory);
}

void Reserve::drop() {
  kept_.graphs = {};
  kept_.pages = {};
}

void* Workspace::bytes(int64_t n) {
  const int64_t begin = used_;
  if (n < 0 || n > kLargest - begin)
    fail(Code::OutOfMemory, "these shapes need more working memory than any machine has: choose smaller ones");
  const int64_t rounded = (n + kAlignment - 1) / kAlignment * kAlignment;
  if (!planning_ && begin + rounded > memory_.pages.bytes())
    fail(Code::Internal, "workspace of %lld bytes is too small", static_cast<long long>(memory_.pages.bytes()));
  used_ += rounded;
  if (used_ > peak_) peak_ = used_;
  return planning_ ? reinterpret_cast<void*>(kPlanningBase + begin) : memory_.pages.data() + begin;
}

Tensor Workspace::tensor(DType dtype, std::initializer_list<int64_t> shape) {
  Tensor t = Tensor::of(nullptr, dtype, shape);
  t.data = bytes(t.bytes());
  return t;
}

}  // namespace iconface
