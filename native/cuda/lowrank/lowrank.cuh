// What the low-rank kernels share: weights of any floating type, sums across lanes, and the launchers on tensor cores.
#pragma once
#include "cuda/common/launch.cuh"
#include "cuda/common/numbers.cuh"
#include "op/lowrank_cross_attention.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// A matrix of a type that is known when the kernel is compiled (T), or only when it runs (void).
template <class T>
struct WeightMatrix {
  const void* data;
  int64_t stride;  // elements
  DType type;

  __host__ static WeightMatrix of(const Tensor& t) { return {t.data, t.stride[0], t.dtype}; }
  __device__ __forceinline__ float at(int64_t row, int column) const {
    const int64_t i = row * stride + column;
    if constexpr (!std::is_void_v<T>) {
      return to_float(static_cast<const T*>(data)[i]);
    } else if (type == DType::F32) {
      return static_cast<const float*>(data)[i];
    } else if (type == DType::F16) {
      return to_float(static_cast<const __half*>(data)[i]);
    } else {
      return to_float(static_cast<const __nv_bfloat16*>(data)[i]);
    }
  }
};

/// Adds 64 values up over the lanes of a warp; lane l is left with the sums of values 2 l and 2 l + 1, in v[0] and
/// v[1]. Every exchange halves what a lane holds (to kHalf): 62 shuffles where 64 butterflies would take 320.
template <int kHalf = 32>
__device__ __forceinline__ void sum_over_warp(float (&v)[64], int lane) {
  const bool upper = (lane & kHalf / 2) != 0;
#pragma unroll
  for (int i = 0; i < kHalf; i++) {
    const float kept = upper ? v[i + kHalf] : v[i], sent = upper ? v[i] : v[i + kHalf];
    v[i] = kept + __shfl_xor_sync(0xffffffffu, sent, kHalf / 2);
  }
  if constexpr (kHalf > 2) sum_over_warp<kHalf / 2>(v, lane);
}

/// bf16 on tensor cores: ranks up to 64, head sizes that are multiples of 8, rows of h aligned to 16 bytes. False:
/// not done, and nothing written.
bool lowrank_cross_attention_mma(Context&, const op::LowrankCrossAttentionArgs&);

/// Tokens of a tile of the tensor-core kernels.
constexpr int kLowrankTile = 16;

/// The sum of v over four neighbouring lanes, in each of them.
__device__ __forceinline__ float sum_of_four_lanes(float v) {
  v += __shfl_xor_sync(0xffffffffu, v, 1);
  return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

/// a = down_q(LN(h)) of all tokens as bf16, [tokens up to a multiple of kLowrankTile, ranks]; `ranks`: 16, 32 or 64,
/// those beyond r are zeros. h may be read 16 bytes at a time.
void lowrank_project_down(Context&, const op::LowrankCrossAttentionArgs&, int ranks, bf16* to);

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
