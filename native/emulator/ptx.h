// The functions of cuda/common/ptx.cuh on the CPU: the same names, arguments and meaning, instruction by instruction.
#pragma once
#include <cstdint>

#include "emulator/cuda.h"

namespace iconface::emulator {

/// Bytes from the start of the block's shared memory.
uint32_t shared_address(const void* p);

// ---- asynchronous copies, sm_80: the bytes arrive when the copying thread waits; touching them earlier is reported
// --------

void cp_async_16(void* shared, const void* global, bool valid);
void cp_async_commit();
void cp_async_wait_group(int n);
template <int N>
__attribute__((always_inline)) inline void cp_async_wait() {
  cp_async_wait_group(N);
}

inline void prefetch_l2(const void*) {}

// ---- matrix fragments, sm_80
// ------------------------------------------------------------------------------------------------

void ldmatrix(uint32_t* r, int matrices, bool transposed, const void* shared_row);
__attribute__((always_inline)) inline void ldmatrix_x4(uint32_t (&r)[4], const void* shared_row) {
  ldmatrix(r, 4, false, shared_row);
}
__attribute__((always_inline)) inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared_row) {
  ldmatrix(r, 4, true, shared_row);
}
__attribute__((always_inline)) inline void ldmatrix_x2(uint32_t (&r)[2], const void* shared_row) {
  ldmatrix(r, 2, false, shared_row);
}
__attribute__((always_inline)) inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* shared_row) {
  ldmatrix(r, 2, true, shared_row);
}
void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

// ---- e4m3, sm_89
// ------------------------------------------------------------------------------------------------------------

uint16_t pack_e4m3(float first, float second);
/// Sums are f32 here, where GPUs keep fewer bits.
void mma_m16n8k32_e4m3(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

}  // namespace iconface::emulator

namespace iconface::cuda::ICONFACE_CUDA_TARGET {
using namespace iconface::emulator;
}
