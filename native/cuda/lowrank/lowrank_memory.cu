// lowrank_memory: the key/value side of one block's cross-attention, in rank space
// model-specification.md 5, paper Eq. 7
//   keys_j = (down_k M) (U_qj^T U_kj)^T / sqrt(d)  [memory, r] for every head j,  values = down_v M  [memory, r]
//
// Work split, two launches: a block per memory token, a warp per rank of it, makes down_k M and values; then a block
// per head sums U_qj^T U_kj [r, r], a thread per element, and multiplies it with every token's down_k M. Once per
// block of the network and restore. Must move: M and the four weights, klein-4B 3.5 MB; 50 MFLOP. Limit: launch
// latency.
#include <cmath>

#include "cuda/common/rows.cuh"
#include "cuda/kernels.h"
#include "cuda/lowrank/lowrank.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256;

/// down[m, i] = down_k[i] . M[m], values[m, i] = down_v[i] . M[m]
__global__ void __launch_bounds__(kThreads)
    project_memory_kernel(Rows memory, int width, int rank, WeightMatrix<void> key_down, WeightMatrix<void> value_down,
                          float* down, float* values) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float* const token = memory.row<const float>(static_cast<int>(blockIdx.x));
  for (int i = static_cast<int>(threadIdx.x) / 32; i < 2 * rank; i += kThreads / 32) {
    const int row = i < rank ? i : i - rank;
    float sum = 0;
#pragma unroll 4
    for (int c = lane; c < width; c += 32)
      sum = fmaf(token[c], i < rank ? key_down.at(row, c) : value_down.at(row, c), sum);
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    const int64_t at = static_cast<int64_t>(blockIdx.x) * rank + row;
    if (lane == 0 && i < rank) down[at] = sum;
    if (lane == 0 && i >= rank) values[at] = sum;
  }
}

/// keys[head, m, i] = scale * sum_e product[i, e] down[m, e], product[i, e] = sum_c U_q[c, i] U_k[c, e] of the head.
__global__ void __launch_bounds__(kThreads)
    head_keys_kernel(WeightMatrix<void> query_up, WeightMatrix<void> key_up, const float* down, int d, int memory,
                     int rank, float scale, float* products, float* keys) {
  const int head = static_cast<int>(blockIdx.x);
  float* const product = products + static_cast<int64_t>(head) * rank * rank;
  for (int at = static_cast<int>(threadIdx.x); at < rank * rank; at += kThreads) {
    float sum = 0;
#pragma unroll 4
    for (int c = 0; c < d; c++) {
      const int64_t row = static_cast<int64_t>(head) * d + c;
      sum = fmaf(query_up.at(row, at / rank), key_up.at(row, at % rank), sum);
    }
    product[at] = sum;
  }
  __syncthreads();
  for (int at = static_cast<int>(threadIdx.x); at < memory * rank; at += kThreads) {
    const int m = at / rank, i = at % rank;
    float sum = 0;
    for (int e = 0; e < rank; e++) sum = fmaf(product[i * rank + e], down[m * rank + e], sum);
    keys[static_cast<int64_t>(head) * memory * rank + at] = scale * sum;
  }
}

}  // namespace

void lowrank_memory(Context& ctx, const op::LowrankMemoryArgs& a) {
  const int memory = static_cast<int>(a.memory.shape[0]), width = static_cast<int>(a.memory.shape[1]);
  const int rank = static_cast<int>(a.key_down.shape[0]), heads = static_cast<int>(a.keys.shape[0]), d = width / heads;
  Workspace::Frame frame(ctx.workspace);
  float* const down = static_cast<float*>(ctx.workspace.bytes(static_cast<int64_t>(memory) * rank * 4));
  float* const products = static_cast<float*>(ctx.workspace.bytes(static_cast<int64_t>(heads) * rank * rank * 4));
  if (ctx.planning()) return;

  using Weight = WeightMatrix<void>;
  launch(ctx, project_memory_kernel, dim3(memory), dim3(kThreads), 0, Rows::of(a.memory), width, rank,
         Weight::of(a.key_down), Weight::of(a.value_down), down, a.values.as<float>());
  launch(ctx, head_keys_kernel, dim3(heads), dim3(kThreads), 0, Weight::of(a.query_up), Weight::of(a.key_up),
         static_cast<const float*>(down), d, memory, rank, 1.0f / std::sqrt(static_cast<float>(d)), products,
         a.keys.as<float>());
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
