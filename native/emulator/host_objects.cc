// fail_new: tests make the addon's `new` fail (lists, strings, closures). The linker redirects the addon's own calls of
// operator new to here (--wrap in CMakeLists.txt), but not those inside node and libstdc++.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

namespace {
std::atomic<int64_t> g_fail_in{0};

void count() {
  if (g_fail_in.load(std::memory_order_relaxed) > 0 && g_fail_in.fetch_sub(1) == 1) throw std::bad_alloc();
}
}  // namespace

namespace iconface::emulator {
/// The n-th from now on fails; 0 turns it off. Returns how far off the one asked for before still was.
int64_t fail_new(int64_t n) { return g_fail_in.exchange(n); }
}  // namespace iconface::emulator

// The mangled names of operator new(size_t), new[](size_t) and new(size_t, align_val_t).
extern "C" {
void* __real__Znwm(size_t);
void* __real__Znam(size_t);
void* __real__ZnwmSt11align_val_t(size_t, std::align_val_t);

void* __wrap__Znwm(size_t bytes) {
  count();
  return __real__Znwm(bytes);
}
void* __wrap__Znam(size_t bytes) {
  count();
  return __real__Znam(bytes);
}
void* __wrap__ZnwmSt11align_val_t(size_t bytes, std::align_val_t alignment) {
  count();
  return __real__ZnwmSt11align_val_t(bytes, alignment);
}
}
