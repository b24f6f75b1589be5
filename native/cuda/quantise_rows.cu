// quantise_rows: rows of numbers as e4m3 and a scale each: scale = max(max |x| / 448, 2^-126), out = x / scale.
//
// Work split: one block per row, which its threads read twice, N neighbouring elements at a time: for the largest magnitude
// (an integer maximum of the numbers' bits, where an infinity or a NaN is above all others), and from the caches to divide.
// Must move: x and out once (klein-4B's MLP at 512 px, 7,168 x 9,216 from bf16: 198 MB). Limit: copy bandwidth.
#include <algorithm>

#include "cuda/kernels.h"
#include "cuda/ptx.cuh"
#include "cuda/rows.cuh"
#include "cuda/vectors.cuh"
#include "tensor/e4m3.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kMostThreads = 256;
constexpr uint32_t kMagnitude = 0x7fffffff, kInfinity = 0x7f800000;

/// The largest v of the block, in every thread; `slots` hold one number a warp.
__device__ __forceinline__ uint32_t block_max(uint32_t v, uint32_t* slots) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) v = max(v, __shfl_xor_sync(0xffffffffu, v, lanes));
  if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = v;
  __syncthreads();
  for (unsigned warp = 0; warp < blockDim.x / 32; warp++) v = max(v, slots[warp]);
  return v;
}

template <int N>
__device__ __forceinline__ void store_e4m3(uint8_t* to, const Floats<N>& v) {
  if constexpr (N == 1) {
    *to = static_cast<uint8_t>(pack_e4m3(v[0], 0));
  } else {
    static_assert(N == 8);
    uint32_t words[2];
#pragma unroll
    for (int i = 0; i < 2; i++)
      words[i] = pack_e4m3(v[4 * i], v[4 * i + 1]) | static_cast<uint32_t>(pack_e4m3(v[4 * i + 2], v[4 * i + 3])) << 16;
    *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
  }
}

template <class X, int N>
__global__ void __launch_bounds__(kMostThreads) quantise_rows_kernel(Rows x, Rows out, Rows scales, int width) {
  const int row = static_cast<int>(blockIdx.x);
  const X* from = x.row<const X>(row);
  uint8_t* to = out.row<uint8_t>(row);
  const int step = static_cast<int>(blockDim.x) * N, first = static_cast<int>(threadIdx.x) * N;
  uint32_t largest = 0;
  for (int at = first; at < width; at += step) {
    const Floats<N> v = load<N>(from + at);
#pragma unroll
    for (int i = 0; i < N; i++) largest = max(largest, __float_as_uint(v[i]) & kMagnitude);
  }
  largest = block_max(largest, shared_memory<uint32_t>());
  const bool finite = largest < kInfinity;
  // (The quotients are IEEE's, not approximate: every device gives the same bits.)
  const float scale = finite ? max(__fdiv_rn(__uint_as_float(largest), kLargestE4m3), 0x1p-126f)
                             : __uint_as_float(kInfinity | 1u << 22);
  if (threadIdx.x == 0) *scales.row<float>(row) = scale;
  for (int at = first; at < width; at += step) {
    Floats<N> v = load<N>(from + at);
#pragma unroll
    for (int i = 0; i < N; i++) v[i] = __fdiv_rn(v[i], scale);
    store_e4m3(to + at, v);
  }
}

template <class X, int N>
void run(Context& ctx, const op::QuantiseRowsArgs& a) {
  const int64_t width = a.x.last(), groups = (width + N - 1) / N;
  const unsigned threads = static_cast<unsigned>(std::min<int64_t>(kMostThreads, blocks_of(groups, 32) * 32));
  launch(ctx, quantise_rows_kernel<X, N>, dim3(blocks_for(a.x.rows(), 1)), dim3(threads),
         kMostThreads / 32 * sizeof(uint32_t), Rows::of(a.x), Rows::of(a.out), Rows::of(a.scale),
         static_cast<int>(width));
}

template <class X>
void run(Context& ctx, const op::QuantiseRowsArgs& a) {
  moves_by(8, {&a.x, &a.out}) ? run<X, 8>(ctx, a) : run<X, 1>(ctx, a);
}

}  // namespace

void quantise_rows(Context& ctx, const op::QuantiseRowsArgs& a) {
  if (ctx.planning()) return;
  if (a.x.dtype == DType::F32) return run<float>(ctx, a);
  if (a.x.dtype == DType::BF16) return run<bf16>(ctx, a);
  run<f16>(ctx, a);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
