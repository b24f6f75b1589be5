// The functions that instrumented kernels call at every access. The kernels are compiled with -fsanitize=thread and
// -fsanitize=alignment, but the sanitizers' libraries are not linked: these functions take their place. In host code
// of the same files (launchers) no block runs, and they do nothing.
#include "emulator/cluster.h"

namespace iconface::emulator {
namespace {

__attribute__((always_inline)) inline void check(const void* at, size_t bytes, Cluster::Access kind,
                                                 const void* caller) {
  if (Cluster* const cluster = Cluster::current()) cluster->access(at, bytes, kind, caller);
}

/// What GCC and Clang hand to __ubsan_handle_type_mismatch_v1.
struct SourceLocation {
  const char* file;
  uint32_t line, column;
};
struct TypeDescriptor {
  uint16_t kind, info;
  char name[1];
};
struct TypeMismatch {
  SourceLocation location;
  const TypeDescriptor* type;
  unsigned char log_alignment, check_kind;
};

}  // namespace
}  // namespace iconface::emulator

using iconface::emulator::check;
using iconface::emulator::Cluster;

extern "C" {

#define READ(name, bytes) \
  void name(void* at) { check(at, bytes, Cluster::Access::Read, __builtin_return_address(0)); }
#define WRITE(name, bytes) \
  void name(void* at) { check(at, bytes, Cluster::Access::Write, __builtin_return_address(0)); }
#define BOTH(suffix, bytes)                  \
  READ(__tsan_read##suffix, bytes)           \
  WRITE(__tsan_write##suffix, bytes)         \
  READ(__tsan_unaligned_read##suffix, bytes) \
  WRITE(__tsan_unaligned_write##suffix, bytes)
BOTH(1, 1)
BOTH(2, 2)
BOTH(4, 4)
BOTH(8, 8)
BOTH(16, 16)
#undef BOTH
#undef WRITE
#undef READ

void __tsan_read_range(void* at, size_t bytes) { check(at, bytes, Cluster::Access::Read, __builtin_return_address(0)); }
void __tsan_write_range(void* at, size_t bytes) {
  check(at, bytes, Cluster::Access::Write, __builtin_return_address(0));
}
// Atomics of host code that was compiled along (std::shared_ptr); kernels use emulator/cuda.h's.
#define ATOMIC(bits, T)                                                                                               \
  T __tsan_atomic##bits##_fetch_add(volatile T* at, T v, int) { return __atomic_fetch_add(at, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_sub(volatile T* at, T v, int) { return __atomic_fetch_sub(at, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_exchange(volatile T* at, T v, int) { return __atomic_exchange_n(at, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_load(const volatile T* at, int) { return __atomic_load_n(at, __ATOMIC_SEQ_CST); }           \
  void __tsan_atomic##bits##_store(volatile T* at, T v, int) { __atomic_store_n(at, v, __ATOMIC_SEQ_CST); }
ATOMIC(8, uint8_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
#undef ATOMIC

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

/// A pointer that is not aligned for what is read or written through it.
void __ubsan_handle_type_mismatch_v1(void* data, uintptr_t pointer) {
  Cluster* const cluster = Cluster::current();
  if (cluster == nullptr) return;
  const auto& mismatch = *static_cast<const iconface::emulator::TypeMismatch*>(data);
  char text[400];
  const std::string path = mismatch.location.file == nullptr ? "?" : mismatch.location.file;
  const uintptr_t shared = reinterpret_cast<uintptr_t>(cluster->shared()), offset = pointer - shared;
  char where[40];
  snprintf(where, sizeof where, offset <= Cluster::kMaxShared ? "shared+0x%zx" : "0x%zx",
           offset <= Cluster::kMaxShared ? static_cast<size_t>(offset) : static_cast<size_t>(pointer));
  snprintf(text, sizeof text, "misaligned access: %s at %s is not aligned to %d bytes, %s:%u", mismatch.type->name,
           where, 1 << mismatch.log_alignment, path.substr(path.rfind('/') + 1).c_str(), mismatch.location.line);
  cluster->report(text, __builtin_return_address(0));
}
}
