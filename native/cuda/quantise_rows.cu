// quantise_rows: rows of numbers as e4m3 and a scale each: scale = max(max |x| / 448, 2^-126), out = x / scale.
//
// Work split: one block per row, which its threads read twice, N neighbouring elements at a time: for the largest
// magnitude (an integer maximum of the numbers' bits, where an infinity or a NaN is above all others), and from the
// caches to divide.
// Must move: x and out once (klein-4B's MLP at 512 px, 7,168 x 9,216 from bf16: 198 MB). Limit: copy bandwidth.
#include <algorithm>

#include "cuda/common/e4m3.cuh"
#include "cuda/common/rows.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kMostThreads = 256;
template <class X, int N>
__global__ void __launch_bounds__(kMostThreads) quantise_rows_kernel(Rows x, Rows out, Rows scales, int width) {
  const int row = static_cast<int>(blockIdx.x);
  const X* from = x.row<const X>(row);
  uint8_t* to = out.row<uint8_t>(row);
  const int step = static_cast<int>(blockDim.x) * N, first = static_cast<int>(threadIdx.x) * N;
  uint32_t largest = 0;
  for (int at = first; at < width; at += step) {
    largest = max(largest, largest_magnitude(load<N>(from + at)));
  }
  largest = block_max(largest, shared_memory<uint32_t>());
  const float scale = e4m3_scale(largest);
  if (threadIdx.x == 0) *scales.row<float>(row) = scale;
  for (int at = first; at < width; at += step) store_e4m3(to + at, load<N>(from + at), scale);
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
