// Tokens that lie on a grid, for kernels whose block takes one token of the result and 256 groups of N channels.
// Neighbours come from the caches.
#pragma once
#include <algorithm>

#include "cuda/common/vectors.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

constexpr int kGridThreads = 256;

/// Tokens with their channels on the device.
struct TokenGrid {
  float* data;
  int64_t stride;  // elements from token to token
  int rows, columns;

  __device__ __forceinline__ float* at(int row, int column) const {
    return data + (static_cast<int64_t>(row) * columns + column) * stride;
  }
};
inline TokenGrid grid_of(const Tensor& t, int64_t rows, int64_t columns) {
  return {t.as<float>(), t.stride[0], static_cast<int>(rows), static_cast<int>(columns)};
}

/// What a block works on: one token of `out` and, per thread, the channels from `channel` on.
struct TokenPlace {
  int row, column, channel;
  __device__ __forceinline__ TokenPlace(const TokenGrid& out, int stretches, int n)
      : row(static_cast<int>(blockIdx.x) / stretches / out.columns),
        column(static_cast<int>(blockIdx.x) / stretches % out.columns),
        channel((static_cast<int>(blockIdx.x) % stretches * kGridThreads + static_cast<int>(threadIdx.x)) * n) {}
};

using GridKernel = void (*)(TokenGrid, TokenGrid, int, int);
inline void run_on_grid(Context& ctx, GridKernel wide, GridKernel narrow, const Tensor& x, const Tensor& out,
                        const TokenGrid& from, const TokenGrid& to) {
  if (out.elements() == 0) return;
  const bool aligned = moves_by(4, {&x, &out});
  const int64_t width = x.last(), groups = width / (aligned ? 4 : 1),
                stretches = (groups + kGridThreads - 1) / kGridThreads;
  const unsigned block = static_cast<unsigned>(std::min<int64_t>(kGridThreads, (groups + 31) / 32 * 32));
  launch(ctx, aligned ? wide : narrow, dim3(blocks_for(out.rows() * stretches, 1)), dim3(block), 0, from, to,
         static_cast<int>(width), static_cast<int>(stretches));
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
