// Operations on tokens that lie on a grid.                                                     model-specification.md 5
// token_detail: out = x - mean of x over the valid cells of the 3 x 3 window, x, out [rows * columns, D] F32. The cells
//   are added in reading order.
// resize_tokens: bilinear, half-pixel centres, edges clamped: [rows_x * columns_x, D] -> [rows_out * columns_out, D] F32
//   (paper Eq. 6). Equal grids give exactly the same values: the source coordinate of cell i is then i itself.
//
// Work split: a block per token of the result and 256 groups of N channels. Neighbours come from the caches. Must move: x
// and out once (32 x 32 tokens of 3,072: 25 MB). Both run once per restore. Limit: copy bandwidth, cached reads.
#include <algorithm>

#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256;

/// Tokens with their channels on the device.
struct Grid {
  float* data;
  int64_t stride;  // elements from token to token
  int rows, columns;

  __device__ __forceinline__ float* at(int row, int column) const {
    return data + (static_cast<int64_t>(row) * columns + column) * stride;
  }
};
Grid grid_of(const Tensor& t, int64_t rows, int64_t columns) {
  return {t.as<float>(), t.stride[0], static_cast<int>(rows), static_cast<int>(columns)};
}

/// What a block works on: one token of `out` and, per thread, the channels from `channel` on.
struct Place {
  int row, column, channel;
  __device__ __forceinline__ Place(const Grid& out, int stretches, int n)
      : row(static_cast<int>(blockIdx.x) / stretches / out.columns),
        column(static_cast<int>(blockIdx.x) / stretches % out.columns),
        channel((static_cast<int>(blockIdx.x) % stretches * kThreads + static_cast<int>(threadIdx.x)) * n) {}
};

template <int N>
__global__ void __launch_bounds__(kThreads) token_detail_kernel(Grid x, Grid out, int width, int stretches) {
  const Place at(out, stretches, N);
  if (at.channel >= width) return;
  const int top = max(at.row - 1, 0), bottom = min(at.row + 1, x.rows - 1);
  const int left = max(at.column - 1, 0), right = min(at.column + 1, x.columns - 1);
  const float share = 1.0f / static_cast<float>((bottom - top + 1) * (right - left + 1));
  Floats<N> total = {};
  for (int r = top; r <= bottom; r++)
    for (int c = left; c <= right; c++) {
      const Floats<N> v = load<N>(x.at(r, c) + at.channel);
#pragma unroll
      for (int i = 0; i < N; i++) total[i] += v[i];
    }
  Floats<N> y = load<N>(x.at(at.row, at.column) + at.channel);
#pragma unroll
  for (int i = 0; i < N; i++) y[i] -= total[i] * share;
  store(out.at(at.row, at.column) + at.channel, y);
}

/// Cell `i` of `out` cells lies between cells `low` and `high` of `in`, `weight` of the way to `high`.
struct Between {
  int low, high;
  float weight;
  __device__ __forceinline__ Between(int i, int in, int out) {
    const double at = (i + 0.5) * in / out - 0.5, inside = at < 0 ? 0 : at;
    low = min(static_cast<int>(inside), in - 1);
    high = min(low + 1, in - 1);
    weight = static_cast<float>(inside - low);
  }
};

template <int N>
__global__ void __launch_bounds__(kThreads) resize_tokens_kernel(Grid x, Grid out, int width, int stretches) {
  const Place at(out, stretches, N);
  if (at.channel >= width) return;
  const Between down(at.row, x.rows, out.rows), across(at.column, x.columns, out.columns);
  const Floats<N> a00 = load<N>(x.at(down.low, across.low) + at.channel);
  const Floats<N> a01 = load<N>(x.at(down.low, across.high) + at.channel);
  const Floats<N> a10 = load<N>(x.at(down.high, across.low) + at.channel);
  const Floats<N> a11 = load<N>(x.at(down.high, across.high) + at.channel);
  Floats<N> y;
#pragma unroll
  for (int i = 0; i < N; i++) {
    const float top = a00[i] * (1 - across.weight) + a01[i] * across.weight;
    const float bottom = a10[i] * (1 - across.weight) + a11[i] * across.weight;
    y[i] = top * (1 - down.weight) + bottom * down.weight;
  }
  store(out.at(at.row, at.column) + at.channel, y);
}

using Kernel = void (*)(Grid, Grid, int, int);
void run(Context& ctx, Kernel wide, Kernel narrow, const Tensor& x, const Tensor& out, const Grid& from,
         const Grid& to) {
  if (out.elements() == 0) return;
  const bool aligned = moves_by(4, {&x, &out});
  const int64_t width = x.last(), groups = width / (aligned ? 4 : 1), stretches = (groups + kThreads - 1) / kThreads;
  const unsigned block = static_cast<unsigned>(std::min<int64_t>(kThreads, (groups + 31) / 32 * 32));
  launch(ctx, aligned ? wide : narrow, dim3(blocks_for(out.rows() * stretches, 1)), dim3(block), 0, from, to,
         static_cast<int>(width), static_cast<int>(stretches));
}

}  // namespace

void token_detail(Context& ctx, const op::TokenDetailArgs& a) {
  if (ctx.planning()) return;
  run(ctx, token_detail_kernel<4>, token_detail_kernel<1>, a.x, a.out, grid_of(a.x, a.rows, a.columns),
      grid_of(a.out, a.rows, a.columns));
}

void resize_tokens(Context& ctx, const op::ResizeTokensArgs& a) {
  if (ctx.planning()) return;
  run(ctx, resize_tokens_kernel<4>, resize_tokens_kernel<1>, a.x, a.out, grid_of(a.x, a.rows_x, a.columns_x),
      grid_of(a.out, a.rows_out, a.columns_out));
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
