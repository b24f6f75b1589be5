// all_finite: is every element of x (F32, rows may be strided) finite?
// Work split: kBlocks blocks share the rows; each writes whether it found anything else, and the host reads their
// words: the one launcher that waits. Must move: x once (latents of 512 px: half a megabyte). Limit: launching and the
// answer's way.
#include <algorithm>

#include "cuda/common/rows.cuh"
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"
#include "op/all_finite.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256, kBlocks = 128;

__global__ void __launch_bounds__(kThreads) all_finite_kernel(Rows x, int64_t width, int* found) {
  int* warps = shared_memory<int>();
  bool bad = false;
  const int64_t total = x.count * width, threads = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < total; i += threads) {
    const float v = x.row<const float>(static_cast<int>(i / width))[i % width];
    bad |= !(v - v == 0);  // NaN for an infinity or NaN
  }
  const int any = __any_sync(0xffffffffu, bad);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = any;
  __syncthreads();
  if (threadIdx.x > 0) return;
  int block = 0;
  for (int warp = 0; warp < kThreads / 32; warp++) block |= warps[warp];
  found[blockIdx.x] = block;
}

}  // namespace

bool all_finite(Context& ctx, const Tensor& x) {
  Workspace::Frame frame(ctx.workspace);
  int* found = static_cast<int*>(ctx.workspace.bytes(kBlocks * sizeof(int)));
  if (ctx.planning() || x.elements() == 0) return true;
  const Rows rows = Rows::of(x);
  const int64_t blocks = std::min<int64_t>(kBlocks, blocks_of(x.elements(), kThreads));
  launch(ctx, all_finite_kernel, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), kThreads / 32 * sizeof(int), rows,
         x.last(), found);
  int answers[kBlocks];
  device_of(ctx).download(answers, found, blocks * static_cast<int64_t>(sizeof(int)));
  return std::none_of(answers, answers + blocks, [](int answer) { return answer != 0; });
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
