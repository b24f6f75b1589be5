// pack_latents: tokens[i W/2 + j, k] = (map[2i + r, 2j + s, c] - mean[k]) / sqrt(var[k] + eps), k = 4c + 2r + s
// model-specification.md 2
// and its inverse, map = token * sqrt(var + eps) + mean.
// Work split: a block takes kTokens tokens and 128 channels; a thread keeps channel k, whose mean and deviation it
// computes once. Must move: the latents once each way (512 px: 1,024 tokens of 128, half a megabyte each way).
// Limit: launching.
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 128, kTokens = 4;

struct Arguments {
  float *map, *tokens;
  int64_t map_row, map_pixel, token_row;  // strides in elements
  const float *mean, *var;
  int count, columns, packed, stretches;  // tokens, tokens in a row, 4C, blocks along the channels
  float eps;
};

template <bool kInverse>
__global__ void __launch_bounds__(kThreads) pack_latents_kernel(Arguments a) {
  const int k = static_cast<int>(blockIdx.x) % a.stretches * kThreads + static_cast<int>(threadIdx.x);
  const int first = static_cast<int>(blockIdx.x) / a.stretches * kTokens;
  if (k >= a.packed) return;
  const int c = k / 4, r = k / 2 % 2, s = k % 2;
  const float mean = a.mean[k];
  const float deviation = static_cast<float>(sqrt(static_cast<double>(a.var[k]) + static_cast<double>(a.eps)));
  for (int t = first; t < min(first + kTokens, a.count); t++) {
    const int i = t / a.columns, j = t % a.columns;
    float* cell = a.map + (2 * i + r) * a.map_row + (2 * j + s) * a.map_pixel + c;
    float* token = a.tokens + t * a.token_row + k;
    if constexpr (kInverse)
      *cell = *token * deviation + mean;
    else
      *token = (*cell - mean) / deviation;
  }
}

}  // namespace

void pack_latents(Context& ctx, const op::PackLatentsArgs& a) {
  if (ctx.planning()) return;
  const int64_t packed = a.tokens.last(), stretches = (packed + kThreads - 1) / kThreads, count = a.tokens.shape[0];
  const Arguments arguments = {
      a.map.as<float>(),        a.tokens.as<float>(),        a.map.stride[0],
      a.map.stride[1],          a.tokens.stride[0],          a.mean.as<const float>(),
      a.var.as<const float>(),  static_cast<int>(count),     static_cast<int>(a.map.shape[1] / 2),
      static_cast<int>(packed), static_cast<int>(stretches), a.eps};
  launch(ctx, a.inverse ? pack_latents_kernel<true> : pack_latents_kernel<false>,
         dim3(blocks_for((count + kTokens - 1) / kTokens * stretches, 1)), dim3(kThreads), 0, arguments);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
