// resize_tokens: bilinear, half-pixel centres, edges clamped                     model-specification.md 5, paper Eq. 6
//   [rows_x * columns_x, D] -> [rows_out * columns_out, D] F32. Equal grids give exactly the same values: the source
//   coordinate of cell i is then i itself.
//
// Work split: token_grid.cuh. Must move: x and out once (32 x 32 tokens of 3,072: 25 MB). It runs once per restore.
// Limit: copy bandwidth, cached reads.
#include "cuda/common/token_grid.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

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
__global__ void __launch_bounds__(kGridThreads)
    resize_tokens_kernel(TokenGrid x, TokenGrid out, int width, int stretches) {
  const TokenPlace at(out, stretches, N);
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

}  // namespace

void resize_tokens(Context& ctx, const op::ResizeTokensArgs& a) {
  if (ctx.planning()) return;
  run_on_grid(ctx, resize_tokens_kernel<4>, resize_tokens_kernel<1>, a.x, a.out, grid_of(a.x, a.rows_x, a.columns_x),
              grid_of(a.out, a.rows_out, a.columns_out));
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
