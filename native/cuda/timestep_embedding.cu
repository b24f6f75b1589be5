// timestep_embedding: out[i] = cos w, out[dim/2 + i] = sin w, w = 1000 t * 10000^(-i / (dim/2))
// model-specification.md 3
// out [dim] F32; in double: at timestep 1000 an f32 angle is wrong by 3e-5.
//
// Work split: a thread per angle. Must move: out (256 wide: 1 KB). Limit: launching.
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads) timestep_embedding_kernel(double timestep, float* out, int64_t half) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= half) return;
  const double angle = 1000.0 * timestep * pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
  out[i] = static_cast<float>(cos(angle));
  out[half + i] = static_cast<float>(sin(angle));
}

}  // namespace

void timestep_embedding(Context& ctx, const op::TimestepEmbeddingArgs& a) {
  if (ctx.planning()) return;
  const int64_t half = a.out.last() / 2;
  launch(ctx, timestep_embedding_kernel, dim3(blocks_for(half, kThreads)), dim3(kThreads), 0, a.timestep,
         a.out.as<float>(), half);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
