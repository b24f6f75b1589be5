// identity_anchor: e_r = z_r / |z_r|, w = softmax(log |z| / T), anchor = Norm(sum_r w_r e_r)
// model-specification.md 4, Eq. 3-4
// embeddings [R, N], anchor [N], norms and weights [R], all F32; in double, with the CPU's roundings between.
//
// Work split: one block. A warp per row for the norms, one thread for the weights of the few rows, a thread per column
// for the sum, all for its length. Must move: the embeddings twice (3 references: 12 KB). Limit: latency, a few
// microseconds.
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr double kTiny = 1e-12;  // a norm below this is no embedding: far under anything a network produces

struct Arguments {
  const float* embeddings;
  int64_t row;  // elements from one embedding to the next
  int64_t count, size;
  double temperature;
  float *anchor, *norms, *weights;
  double* scales;  // [R] scratch: a row's norm, then its factor in the sum
  double* total;   // [N] scratch
};

/// softmax(log q / T) with its maximum taken out, (q / q_max)^(1/T), over the rows that are not zero.
__device__ void weigh(const Arguments& a) {
  double largest = 0, sum = 0;
  for (int64_t r = 0; r < a.count; r++) largest = fmax(largest, static_cast<double>(a.norms[r]));
  for (int64_t r = 0; r < a.count; r++) {
    const double q = a.norms[r], w = q > kTiny ? exp(log(q / largest) / a.temperature) : 0.0;
    a.weights[r] = static_cast<float>(w);
    sum += w;
  }
  for (int64_t r = 0; r < a.count; r++) {
    const double w = a.weights[r] == 0 ? 0.0 : a.weights[r] / sum;
    a.weights[r] = static_cast<float>(w);
    a.scales[r] = w == 0 ? 0.0 : w / a.scales[r];
  }
}

__global__ void __launch_bounds__(kThreads) identity_anchor_kernel(Arguments a) {
  for (int64_t r = threadIdx.x / 32; r < a.count; r += kWarps) {
    const float* z = a.embeddings + r * a.row;
    double squares = 0;
    for (int64_t i = threadIdx.x % 32; i < a.size; i += 32) squares += static_cast<double>(z[i]) * z[i];
    squares = warp_sum(squares);
    if (threadIdx.x % 32 != 0) continue;
    a.scales[r] = sqrt(squares);
    a.norms[r] = static_cast<float>(a.scales[r]);
  }
  __syncthreads();
  if (threadIdx.x == 0) weigh(a);
  __syncthreads();
  double squares = 0;
  for (int64_t i = threadIdx.x; i < a.size; i += kThreads) {
    double sum = 0;
    for (int64_t r = 0; r < a.count; r++)
      if (a.scales[r] != 0) sum += a.scales[r] * a.embeddings[r * a.row + i];
    a.total[i] = sum;
    squares += sum * sum;
  }
  const double length = sqrt(block_sum(squares, shared_memory<double>()));
  for (int64_t i = threadIdx.x; i < a.size; i += kThreads)
    a.anchor[i] = length > kTiny ? static_cast<float>(a.total[i] / length) : 0.0f;
}

}  // namespace

void identity_anchor(Context& ctx, const op::IdentityAnchorArgs& a) {
  const int64_t count = a.embeddings.shape[0], size = a.embeddings.shape[1];
  Workspace::Frame frame(ctx.workspace);
  double* scratch = static_cast<double*>(ctx.workspace.bytes((count + size) * static_cast<int64_t>(sizeof(double))));
  if (ctx.planning()) return;
  const Arguments arguments = {a.embeddings.as<const float>(),
                               a.embeddings.stride[0],
                               count,
                               size,
                               a.temperature,
                               a.anchor.as<float>(),
                               a.norms.as<float>(),
                               a.weights.as<float>(),
                               scratch,
                               scratch + count};
  launch(ctx, identity_anchor_kernel, dim3(1), dim3(kThreads), kWarps * sizeof(double), arguments);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
