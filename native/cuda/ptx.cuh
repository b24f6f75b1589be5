// Every PTX instruction that the kernels use, one inline function each: nowhere else is there inline assembly.
// The emulator (native/emulator) offers the same functions on the processor, so a kernel never knows where it runs.
#pragma once
#include <cstdint>

#ifdef ICONFACE_CUDA_EMULATED
#include "emulator/ptx.h"
#else

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// Address in the shared window, as PTX wants it.
__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// ---- asynchronous copies, sm_80 -------------------------------------------------------------------------------------

/// Starts copying 16 bytes to shared memory past the registers and the first cache; zeros where !valid (`global` must
/// then still be an address that may be formed). Both 16-byte aligned.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}
/// Closes this thread's group of copies.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most N of this thread's groups are under way. Other threads' copies need a barrier as well.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// ---- matrix fragments, sm_80 ------------------------------------------------------------------------------------------

/// Four 8x8 matrices of 16-bit numbers. Lanes 8i..8i+7 give the addresses of the rows of matrix i (16 bytes each,
/// aligned); afterwards lane l holds elements 2(l%4), 2(l%4)+1 of row l/4 of matrix i in r[i].
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
}
/// The same, every matrix transposed on its way.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
}
/// Two matrices, rows from lanes 0..15 (the other lanes' addresses are not used).
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(shared_row))
               : "memory");
}

/// d[16x8] += a[16x16] b[16x8]: bf16 products, f32 sums. With g = lane/4 and t = 2(lane%4):
///   d[0..3] = (g, t), (g, t+1), (g+8, t), (g+8, t+1);  a[0..3] = pairs at (g, t), (g+8, t), (g, t+8), (g+8, t+8);
///   b[0..1] = pairs down k at (t, g), (t+8, g).
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET

#endif
