// token_detail: out = x - mean of x over the valid cells of the 3 x 3 window                   model-specification.md 5
//   x, out [rows * columns, D] F32. The cells are added in reading order.
//
// Work split: token_grid.cuh. Must move: x and out once (32 x 32 tokens of 3,072: 25 MB). It runs once per restore.
// Limit: copy bandwidth, cached reads.
#include "cuda/common/token_grid.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

template <int N>
__global__ void __launch_bounds__(kGridThreads)
    token_detail_kernel(TokenGrid x, TokenGrid out, int width, int stretches) {
  const TokenPlace at(out, stretches, N);
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

}  // namespace

void token_detail(Context& ctx, const op::TokenDetailArgs& a) {
  if (ctx.planning()) return;
  run_on_grid(ctx, token_detail_kernel<4>, token_detail_kernel<1>, a.x, a.out, grid_of(a.x, a.rows, a.columns),
              grid_of(a.out, a.rows, a.columns));
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
