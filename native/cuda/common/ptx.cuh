// Every PTX instruction that the kernels use, one inline function each: nowhere else is there inline assembly.
// native/emulator has the same functions for the CPU, so a kernel is the same source on both.
#pragma once
#include <cstdint>

#include "cuda/common/launch.cuh"
#include "cuda/common/tensor_map.h"

// Defined where the instructions of Hopper alone may be used: kernels that need them are empty elsewhere.
#if defined(ICONFACE_CUDA_EMULATED) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define ICONFACE_SM90A
#endif

#ifdef ICONFACE_CUDA_EMULATED
#include "emulator/ptx.h"
#else

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// Address in the shared window, as PTX wants it.
__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// ---- asynchronous copies, sm_80 -------------------------------------------------------------------------------------

/// Starts copying 16 bytes to shared memory past the registers and the L1 cache; zeros where !valid (`global` must
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

/// Brings a line of 128 bytes to the L2 cache, or not.
__device__ __forceinline__ void prefetch_l2(const void* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

// ---- matrix fragments, sm_80
// ------------------------------------------------------------------------------------------

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

// ---- e4m3, sm_89; launchers refuse older GPUs
// ------------------------------------------------------------------------------

/// Two numbers as e4m3, the first in the low byte: to nearest even, what is larger becomes 448, NaN 0x7f.
__device__ __forceinline__ uint16_t pack_e4m3(float first, float second) {
  uint16_t pair = 0;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 890
  __trap();
#else
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(second), "f"(first));
#endif
  return pair;
}
/// d[16x8] += a[16x32] b[32x8]: e4m3 products, whose sums keep 13 bits of the mantissa. As mma_m16n8k16_bf16 with two
/// e4m3 in place of every bf16.
__device__ __forceinline__ void mma_m16n8k32_e4m3(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 890
  __trap();
#else
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// ---- sm_90a: barriers in shared memory, bulk tensor copies, warpgroup products
// ---------------------------------------------

#ifdef ICONFACE_SM90A

/// Makes a barrier that a phase of `arrivals` arrivals (and the bytes announced meanwhile) completes. One thread; the
/// others see it after fence_proxy_async and a barrier of the block.
__device__ __forceinline__ void mbarrier_init(uint64_t* barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void mbarrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
/// Arrives and announces `bytes` that copies will bring within this phase.
__device__ __forceinline__ void mbarrier_arrive_expect_tx(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}
/// Whether the phase of this parity (0 for the first) is complete; may wait a little. A fresh barrier counts as having
/// completed parity 1.
__device__ __forceinline__ bool mbarrier_try_wait(uint64_t* barrier, uint32_t parity) {
  uint32_t done;
  asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
               : "=r"(done)
               : "r"(shared_address(barrier)), "r"(parity)
               : "memory");
  return done != 0;
}
/// Orders this thread's ordinary writes to shared memory before what the copy engine and the tensor cores do next.
__device__ __forceinline__ void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// Starts copying a box of a tensor to shared memory (1024-byte aligned for 128-byte swizzles); its bytes count
/// towards `barrier`. Coordinates innermost first; what lies outside the tensor arrives as zeros.
__device__ __forceinline__ void tma_load_3d(void* shared, const TensorMap* map, uint64_t* barrier, int x, int y,
                                            int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::
          "r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
/// The same of a tensor with one more axis.
__device__ __forceinline__ void tma_load_4d(void* shared, const TensorMap* map, uint64_t* barrier, int x, int y, int z,
                                            int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}

// Clusters of thread blocks. A block that was launched without one is a cluster by itself.

/// The block's number in its cluster.
__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
/// Waits for all threads of the cluster that have not ended, and sees what they did. No block may end while another
/// still arrives at its barriers or copies to it.
__device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
/// After mbarrier_init and before cluster_sync: other blocks may then use the barriers.
__device__ __forceinline__ void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
/// Arrives at the barrier that block `rank` has where this one has `barrier`. That says that this thread has done with
/// something, not that its writes may be seen: a release within the cluster would wait for all of them, those to global
/// memory included.
__device__ __forceinline__ void mbarrier_arrive_in(uint64_t* barrier, uint32_t rank) {
  asm volatile(
      "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
}
/// tma_load_3d to every block of the cluster whose bit is set in `blocks`, at the same place in each; its bytes count
/// towards the barrier that stands where `barrier` does, in each.
__device__ __forceinline__ void tma_load_3d_multicast(void* shared, const TensorMap* map, uint64_t* barrier, int x,
                                                      int y, int z, uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%3, %4, %5}], [%2], %6;" ::"r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z), "h"(blocks)
      : "memory");
}

/// Moves registers between warpgroups: all warps of a warpgroup, N a multiple of 8.
template <int N>
__device__ __forceinline__ void setmaxnreg_inc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N>
__device__ __forceinline__ void setmaxnreg_dec() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

/// Waits for (or announces oneself to) the others of `threads` threads at one of 16 barriers; 0 is __syncthreads's.
__device__ __forceinline__ void named_barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void named_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// A matrix in shared memory as the tensor cores read it, rows of 128 bytes swizzled as TMA's 128-byte swizzle leaves
/// them. K innermost: 8 rows fill 1024 bytes, `stride` is from there to the next 8 rows, `leading` is not used. Rows
/// and columns the other way round (transposed): 8 steps of K fill 1024 bytes, `stride` leads to the next 8, and
/// `leading` to the next 64 columns.
__device__ __forceinline__ uint64_t wgmma_descriptor(const void* shared, uint32_t leading, uint32_t stride) {
  return static_cast<uint64_t>((shared_address(shared) & 0x3ffff) >> 4) | static_cast<uint64_t>(leading >> 4) << 16 |
         static_cast<uint64_t>(stride >> 4) << 32 | 1ull << 62;
}
/// Before the first product of a run, and whenever its registers were touched in between.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most N groups of products are under way.
template <int N>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

/// After wgmma_wait: the sums are what was waited for. The compiler takes an unfinished product's registers for its
/// result, and without this might read them before the wait.
template <int kParts>
__device__ __forceinline__ void wgmma_finished(float (&d)[kParts][4]) {
#pragma unroll
  for (int i = 0; i < kParts; i++)
#pragma unroll
    for (int e = 0; e < 4; e++) asm volatile("" : "+f"(d[i][e]));
}

#define ICONFACE_REGISTERS_64                                                        \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define ICONFACE_REGISTERS_96                                                        \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define ICONFACE_REGISTERS_128                                                                   \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                       \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "             \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "             \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "             \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// The registers of d, 4, 16 and 64 of them from d[i] on.
#define ICONFACE_D4(i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define ICONFACE_D16(i) ICONFACE_D4(i), ICONFACE_D4(i + 1), ICONFACE_D4(i + 2), ICONFACE_D4(i + 3)
#define ICONFACE_D64(i) ICONFACE_D16(i), ICONFACE_D16(i + 4), ICONFACE_D16(i + 8), ICONFACE_D16(i + 12)

// wgmma for 64, 96 and 128 registers of d, whose operands a, b and p are numbered after them: `types` from k on;
// `order`, which only bf16 has, says that K is innermost in both.
#define ICONFACE_WGMMA(name, n, parts, registers, a_at, b_at, p_at, types, order, ...)                      \
  __device__ __forceinline__ void name(float(&d)[parts][4], uint64_t a, uint64_t b, bool accumulate) {      \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" p_at ", 0;\nwgmma.mma_async.sync.aligned.m64" n types \
                 " {" registers "}, %" a_at ", %" b_at ", p, 1, 1" order ";\n}"                             \
                 : __VA_ARGS__                                                                              \
                 : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));                                      \
  }
#define ICONFACE_WGMMAS(name, types, order)                                                                    \
  ICONFACE_WGMMA(name, "n128", 16, ICONFACE_REGISTERS_64, "64", "65", "66", types, order, ICONFACE_D64(0))     \
  ICONFACE_WGMMA(name, "n192", 24, ICONFACE_REGISTERS_96, "96", "97", "98", types, order, ICONFACE_D64(0),     \
                 ICONFACE_D16(16), ICONFACE_D16(20))                                                           \
  ICONFACE_WGMMA(name, "n256", 32, ICONFACE_REGISTERS_128, "128", "129", "130", types, order, ICONFACE_D64(0), \
                 ICONFACE_D64(16))

/// d[64 x N] = a[64 x 16] b[16 x N] (+ d), N = 8 times d's first size: bf16 products, f32 sums, by the four warps of a
/// warpgroup together and while they go on. Warp w holds rows 16 w to 16 w + 15, laid out for every 8 columns as
/// mma_m16n8k16's d. a and b are K innermost.
ICONFACE_WGMMAS(wgmma_step, "k16.f32.bf16.bf16", ", 0, 0")
/// The same with this warp's 16 rows of a in registers, as mma_m16n8k16's a, and b transposed (columns innermost).
__device__ __forceinline__ void wgmma_step(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" ICONFACE_REGISTERS_64
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}"
      : ICONFACE_D64(0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));
}
/// d[64 x N] = a[64 x 32] b[32 x N] (+ d): e4m3 products; their sums keep about 14 bits only. a and b are K innermost.
ICONFACE_WGMMAS(wgmma_step_e4m3, "k32.f32.e4m3.e4m3", "")
#undef ICONFACE_WGMMAS
#undef ICONFACE_WGMMA
#undef ICONFACE_D4
#undef ICONFACE_D16
#undef ICONFACE_D64
#undef ICONFACE_REGISTERS_64
#undef ICONFACE_REGISTERS_96
#undef ICONFACE_REGISTERS_128

#endif  // ICONFACE_SM90A

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET

#endif
