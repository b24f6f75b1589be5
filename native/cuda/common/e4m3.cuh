// Rows as e4m3 and a scale each (op/quantise_rows.h), for the kernels that write them: the largest magnitude of a row,
// its scale, and its numbers divided by it.
#pragma once
#include "base/e4m3.h"
#include "cuda/common/ptx.cuh"
#include "cuda/common/vectors.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// The largest of some magnitudes, as bits: they compare as unsigned numbers, an infinity or a NaN above all others.
template <int N>
__device__ __forceinline__ uint32_t largest_magnitude(const Floats<N>& v) {
  uint32_t largest = 0;
#pragma unroll
  for (int i = 0; i < N; i++) largest = max(largest, __float_as_uint(v[i]) & 0x7fffffffu);
  return largest;
}

/// The largest v of the block, in every thread; `slots` hold one number a warp.
__device__ __forceinline__ uint32_t block_max(uint32_t v, uint32_t* slots) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) v = max(v, __shfl_xor_sync(0xffffffffu, v, lanes));
  if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = v;
  __syncthreads();
  for (unsigned warp = 0; warp < blockDim.x / 32; warp++) v = max(v, slots[warp]);
  return v;
}

/// The scale of a row by its largest magnitude; NaN where that is an infinity or a NaN. (The quotients are IEEE's, not
/// approximate: every device gives the same bits.)
__device__ __forceinline__ float e4m3_scale(uint32_t largest) {
  constexpr uint32_t kInfinity = 0x7f800000;
  return largest < kInfinity ? max(__fdiv_rn(__uint_as_float(largest), kLargestE4m3), 0x1p-126f)
                             : __uint_as_float(kInfinity | 1u << 22);
}

/// to[0..N) = v / scale. N = 1, 4 or 8; `to` is aligned to N bytes.
template <int N>
__device__ __forceinline__ void store_e4m3(uint8_t* to, const Floats<N>& v, float scale) {
  if constexpr (N == 1) {
    *to = static_cast<uint8_t>(pack_e4m3(__fdiv_rn(v[0], scale), 0));
  } else {
    static_assert(N % 4 == 0);
    using Access = typename Word<N>::type;
    uint32_t words[N / 4];
#pragma unroll
    for (int i = 0; i < N / 4; i++) {
      float q[4];
#pragma unroll
      for (int j = 0; j < 4; j++) q[j] = __fdiv_rn(v[4 * i + j], scale);
      words[i] = pack_e4m3(q[0], q[1]) | static_cast<uint32_t>(pack_e4m3(q[2], q[3])) << 16;
    }
    Access raw;
    memcpy(&raw, words, sizeof raw);
    *reinterpret_cast<Access*>(to) = raw;
  }
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
