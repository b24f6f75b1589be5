// flow_step: latents += step * (u_empty + guidance * (u_prompt - u_empty))                     model-specification.md 6
// All [tokens, C] F32; without u_empty, latents += step * u_prompt. The step is a number, or lies in memory: a
// graph captured of one step then replays as every other.
//
// Work split: a thread per group of 4 channels, or per channel where rows are not aligned. Must move: the two
// predictions and the latents once, the latents back (512 px: 4 x 1,024 x 128 x 4 B = 2.1 MB). Limit: launching.
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256;

struct Arguments {
  float* latents;
  const float *prompt, *empty;  // empty may be null
  int64_t latents_row, prompt_row, empty_row;
  int64_t groups;  // in all
  int columns;     // groups of a row
  float guidance, step;
  const float* step_at;  // instead of `step`, or null
};

template <int N>
__global__ void __launch_bounds__(kThreads) flow_step_kernel(Arguments a) {
  const int64_t group = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (group >= a.groups) return;
  const int64_t row = group / a.columns, at = group % a.columns * N;
  Floats<N> u = load<N>(a.prompt + row * a.prompt_row + at), z = load<N>(a.latents + row * a.latents_row + at);
  if (a.empty != nullptr) {
    const Floats<N> e = load<N>(a.empty + row * a.empty_row + at);
#pragma unroll
    for (int i = 0; i < N; i++) u[i] = e[i] + a.guidance * (u[i] - e[i]);
  }
  const float step = a.step_at != nullptr ? *a.step_at : a.step;
#pragma unroll
  for (int i = 0; i < N; i++) z[i] += step * u[i];
  store(a.latents + row * a.latents_row + at, z);
}

}  // namespace

void flow_step(Context& ctx, const op::FlowStepArgs& a) {
  if (ctx.planning() || a.latents.elements() == 0) return;
  const bool wide = moves_by(4, {&a.latents, &a.u_prompt, &a.u_empty});
  const int64_t columns = a.latents.last() / (wide ? 4 : 1), groups = a.latents.shape[0] * columns;
  const Arguments arguments = {a.latents.as<float>(),
                               a.u_prompt.as<const float>(),
                               a.u_empty.as<const float>(),
                               a.latents.stride[0],
                               a.u_prompt.stride[0],
                               a.u_empty.stride[0],
                               groups,
                               static_cast<int>(columns),
                               a.guidance,
                               a.step,
                               a.step_at.as<const float>()};
  launch(ctx, wide ? flow_step_kernel<4> : flow_step_kernel<1>, dim3(blocks_for(groups, kThreads)), dim3(kThreads), 0,
         arguments);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
