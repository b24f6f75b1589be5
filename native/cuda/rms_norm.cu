// rms_norm: out = x / sqrt(mean(x^2) + 1e-6) * weight                                          model-specification.md 7
// x, out [..., D]; weight [D].
//
// Work split: one block per row, which its threads read twice, N neighbouring elements at a time: for the sum of
// squares, and from the caches for the result. Always summed in the same order, in f32; rounded once.
// Must move: x and out once; the weight stays in the caches (Qwen3-4B, 512 tokens, f32 to bf16: 8 MB).
// Limit: copy bandwidth.
#include <algorithm>

#include "cuda/common/rows.cuh"
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kMostThreads = 256;
constexpr float kEpsilon = 1e-6f;

template <class X, class O, class W, int N>
__global__ void __launch_bounds__(kMostThreads) rms_norm_kernel(Rows x, Rows out, const W* weight, int width) {
  const X* from = x.row<const X>(static_cast<int>(blockIdx.x));
  O* to = out.row<O>(static_cast<int>(blockIdx.x));
  const int step = static_cast<int>(blockDim.x) * N, first = static_cast<int>(threadIdx.x) * N;
  float squares = 0;
  for (int at = first; at < width; at += step) {
    const Floats<N> v = load<N>(from + at);
#pragma unroll
    for (int i = 0; i < N; i++) squares += v[i] * v[i];
  }
  const float mean = block_sum(squares, shared_memory<float>()) / static_cast<float>(width);
  const float inverse = 1.0f / sqrtf(mean + kEpsilon);
  for (int at = first; at < width; at += step) {
    Floats<N> v = load<N>(from + at);
    const Floats<N> factor = load<N>(weight + at);
#pragma unroll
    for (int i = 0; i < N; i++) v[i] *= inverse * factor[i];
    store(to + at, v);
  }
}

template <class X, class O, class W, int N>
void run(Context& ctx, const op::RmsNormArgs& a) {
  const int64_t width = a.x.last(), groups = (width + N - 1) / N;
  const unsigned threads = static_cast<unsigned>(std::min<int64_t>(kMostThreads, blocks_of(groups, 32) * 32));
  launch(ctx, rms_norm_kernel<X, O, W, N>, dim3(blocks_for(a.x.rows(), 1)), dim3(threads),
         kMostThreads / 32 * sizeof(float), Rows::of(a.x), Rows::of(a.out), a.weight.as<const W>(),
         static_cast<int>(width));
}

template <class X, class O>
void run(Context& ctx, const op::RmsNormArgs& a) {
  const bool wide = moves_by(4, {&a.x, &a.out, &a.weight});
  if (a.weight.dtype == DType::F32) return wide ? run<X, O, float, 4>(ctx, a) : run<X, O, float, 1>(ctx, a);
  if (a.weight.dtype == DType::BF16) return wide ? run<X, O, bf16, 4>(ctx, a) : run<X, O, bf16, 1>(ctx, a);
  wide ? run<X, O, f16, 4>(ctx, a) : run<X, O, f16, 1>(ctx, a);
}

}  // namespace

void rms_norm(Context& ctx, const op::RmsNormArgs& a) {
  if (ctx.planning() || a.x.elements() == 0) return;
  const bool narrow = a.x.dtype == DType::BF16, narrow_out = a.out.dtype == DType::BF16;
  if (narrow && narrow_out) return run<bf16, bf16>(ctx, a);
  if (narrow) return run<bf16, float>(ctx, a);
  if (narrow_out) return run<float, bf16>(ctx, a);
  run<float, float>(ctx, a);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
