// transpose: [C, tokens] -> [tokens, C], f32.
//
// Work split: a block takes a 32 x 32 tile through shared memory, whose rows are one element longer so that a warp
// reads a column from 32 banks. Must move: x and out once (noise of 512 px: 1 MB). Limit: launching.
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kTile = 32, kTileRows = 8;

__global__ void __launch_bounds__(kTile* kTileRows)
    transpose_kernel(const float* x, float* out, int64_t channels, int64_t tokens, int token_tiles) {
  float* tile = shared_memory<float>();  // [kTile channels, kTile + 1]
  const int column = static_cast<int>(threadIdx.x) % kTile, line = static_cast<int>(threadIdx.x) / kTile;
  const int64_t token = static_cast<int64_t>(blockIdx.x % token_tiles) * kTile;
  const int64_t channel = static_cast<int64_t>(blockIdx.x / token_tiles) * kTile;
#pragma unroll
  for (int i = line; i < kTile; i += kTileRows)
    if (channel + i < channels && token + column < tokens)
      tile[i * (kTile + 1) + column] = x[(channel + i) * tokens + token + column];
  __syncthreads();
#pragma unroll
  for (int i = line; i < kTile; i += kTileRows)
    if (token + i < tokens && channel + column < channels)
      out[(token + i) * channels + channel + column] = tile[column * (kTile + 1) + i];
}

}  // namespace

void transpose(Context& ctx, const op::TransposeArgs& a) {
  if (ctx.planning() || a.x.elements() == 0) return;
  const int64_t channels = a.x.shape[0], tokens = a.x.shape[1], token_tiles = (tokens + kTile - 1) / kTile;
  launch(ctx, transpose_kernel, dim3(blocks_for((channels + kTile - 1) / kTile * token_tiles, 1)),
         dim3(kTile * kTileRows), kTile * (kTile + 1) * sizeof(float), a.x.as<const float>(), a.out.as<float>(),
         channels, tokens, static_cast<int>(token_tiles));
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
