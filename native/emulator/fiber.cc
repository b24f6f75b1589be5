#include "emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

asm(R"(
.text
.globl iconface_switch_stack
.hidden iconface_switch_stack
.type iconface_switch_stack, @function
iconface_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size iconface_switch_stack, .-iconface_switch_stack
)");

namespace iconface::emulator {

Stacks::~Stacks() {
  if (memory_ != nullptr) munmap(memory_, count_ * (kBytes + kGuard));
}

void Stacks::reserve(size_t count) {
  if (count <= count_) return;
  const size_t bytes = count * (kBytes + kGuard);
  void* p = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  if (memory_ != nullptr) munmap(memory_, count_ * (kBytes + kGuard));
  memory_ = static_cast<char*>(p);
  count_ = count;
  for (size_t i = 0; i < count; i++)
    if (mprotect(begin(i), kBytes, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
}

void* Stacks::fresh(size_t index, void (*entry)()) const {
  // Six registers, the address that `ret` takes, and one word so that the stack is aligned as after a call.
  auto* top = reinterpret_cast<uint64_t*>(end(index)) - 8;
  for (int i = 0; i < 8; i++) top[i] = 0;
  top[6] = reinterpret_cast<uint64_t>(entry);
  return top;
}

}  // namespace iconface::emulator
