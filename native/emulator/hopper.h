// Hopper's instructions of cuda/common/ptx.cuh on the CPU: mbarrier, TMA with its 128-byte swizzle, wgmma, named
// barriers, clusters of blocks. Asynchronous copies and products are done at once here. A thread that touches a copy's
// bytes without having waited at its barrier is reported as a race; registers of a product that is under way are not
// checked.
#pragma once
#include <cstdint>

#include "emulator/cuda.h"

namespace iconface::emulator {

/// A tensor [size[3], size[2], size[1], size[0]] with strides of stride_bytes, in boxes of 128 bytes x box_rows x 1 x
/// 1.
struct TensorMap {
  const char* data;
  int element_bytes;
  int64_t size[4], stride_bytes[3];
  int box_rows;
};

void mbarrier_init(uint64_t* barrier, uint32_t arrivals);
void mbarrier_arrive(uint64_t* barrier);
void mbarrier_arrive_expect_tx(uint64_t* barrier, uint32_t bytes);
/// Waits as long as it takes, so that a deadlock is seen.
bool mbarrier_try_wait(uint64_t* barrier, uint32_t parity);
inline void fence_proxy_async() {}
void tma_load_3d(void* shared, const TensorMap* map, uint64_t* barrier, int x, int y, int z);
void tma_load_4d(void* shared, const TensorMap* map, uint64_t* barrier, int x, int y, int z, int w);

uint32_t cluster_rank();
void cluster_sync();
inline void fence_mbarrier_init() {}
void mbarrier_arrive_in(uint64_t* barrier, uint32_t rank);
void tma_load_3d_multicast(void* shared, const TensorMap* map, uint64_t* barrier, int x, int y, int z, uint16_t blocks);

void named_barrier_sync(int id, int threads);
void named_barrier_arrive(int id, int threads);
template <int N>
void setmaxnreg_inc() {
  static_assert(N % 8 == 0 && N <= 256);
}
template <int N>
void setmaxnreg_dec() {
  static_assert(N % 8 == 0 && N >= 24);
}

uint64_t wgmma_descriptor(const void* shared, uint32_t leading, uint32_t stride);
inline void wgmma_fence() {}
inline void wgmma_commit() {}
template <int N>
void wgmma_wait() {}
template <int kParts>
void wgmma_finished(float (&)[kParts][4]) {}
/// This warp's 16 rows of d[64 x 8 parts], for 32 bytes of K; a from `a_shared`, or from registers when those are
/// given (b is transposed then).
void wgmma(float* d, int parts, uint64_t a_shared, const uint32_t* a_registers, uint64_t b, bool accumulate);
template <int kParts>
__attribute__((always_inline)) inline void wgmma_step(float (&d)[kParts][4], uint64_t a, uint64_t b, bool accumulate) {
  wgmma(&d[0][0], kParts, a, nullptr, b, accumulate);
}
template <int kParts>
__attribute__((always_inline)) inline void wgmma_step(float (&d)[kParts][4], const uint32_t (&a)[4], uint64_t b,
                                                      bool accumulate) {
  wgmma(&d[0][0], kParts, 0, a, b, accumulate);
}
/// The same of e4m3; sums are f32 here, where GPUs keep fewer bits.
void wgmma_e4m3(float* d, int parts, uint64_t a_shared, uint64_t b, bool accumulate);
template <int kParts>
__attribute__((always_inline)) inline void wgmma_step_e4m3(float (&d)[kParts][4], uint64_t a, uint64_t b,
                                                           bool accumulate) {
  wgmma_e4m3(&d[0][0], kParts, a, b, accumulate);
}

}  // namespace iconface::emulator
