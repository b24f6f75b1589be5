// Fibers: stacks between which one OS thread jumps. x86-64 System V only (CMakeLists.txt builds the emulator nowhere
// else): callee-saved registers go to the old stack, the new stack pointer is loaded, and `ret` does the rest.
#pragma once
#include <cstddef>

namespace iconface::emulator {

/// Leaves the current stack, whose pointer is stored in *from, for `to`.
extern "C" void iconface_switch_stack(void** from, void* to);

/// Stacks of one size, with an inaccessible page below each. Throws std::bad_alloc when the system refuses.
class Stacks {
 public:
  static constexpr size_t kBytes = 128 << 10, kGuard = 4096;

  Stacks() = default;
  ~Stacks();
  Stacks(const Stacks&) = delete;

  /// At least `count` of them. Those that exist already stay where they are only if there are enough.
  void reserve(size_t count);
  char* begin(size_t index) const { return memory_ + index * (kBytes + kGuard) + kGuard; }
  char* end(size_t index) const { return begin(index) + kBytes; }
  /// A stack that enters `entry` (which never returns) when it is first switched to.
  void* fresh(size_t index, void (*entry)()) const;

 private:
  char* memory_ = nullptr;
  size_t count_ = 0;
};

}  // namespace iconface::emulator
