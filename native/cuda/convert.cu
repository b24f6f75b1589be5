// convert: rows from one float type and layout to another.
//
// Work split: a block takes a stretch of one row; a thread moves kAtOnce groups of N elements, all loads before the
// first store. Tensors without gaps are one long row. Must move: x and out once. Limit: copy bandwidth.
#include <algorithm>

#include "cuda/common/rows.cuh"
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"
#include "op/convert.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256, kAtOnce = 4;

template <class From, class To, int N>
__global__ void __launch_bounds__(kThreads)
    convert_kernel(Rows x, Rows out, int64_t width, int stretches, int threads) {
  // `threads` of the block stand along a row; short rows leave room for several.
  const int64_t row = static_cast<int64_t>(blockIdx.x / stretches) * (kThreads / threads) + threadIdx.x / threads;
  const int64_t first = (static_cast<int64_t>(blockIdx.x % stretches) * threads * kAtOnce + threadIdx.x % threads) * N;
  if (row >= x.count) return;
  const From* from = x.row<const From>(static_cast<int>(row));
  To* to = out.row<To>(static_cast<int>(row));
  Floats<N> held[kAtOnce];
#pragma unroll
  for (int i = 0; i < kAtOnce; i++)
    if (const int64_t at = first + i * threads * N; at < width) held[i] = load<N>(from + at);
#pragma unroll
  for (int i = 0; i < kAtOnce; i++)
    if (const int64_t at = first + i * threads * N; at < width) store(to + at, held[i]);
}

template <class From, class To, int N>
void run(Context& ctx, const op::ConvertArgs& a) {
  const bool dense = a.x.contiguous() && a.out.contiguous();
  const auto rows_of = [&](const Tensor& t) { return Rows::of(dense ? t.reshape({1, t.elements()}) : t); };
  const Rows x = rows_of(a.x), out = rows_of(a.out);
  const int64_t width = dense ? a.x.elements() : a.x.last(), groups = (width + N - 1) / N;
  int threads = 1;
  while (threads < kThreads && threads * kAtOnce < groups) threads *= 2;
  const int64_t stretches = (groups + threads * kAtOnce - 1) / (threads * kAtOnce);
  const int64_t rows = (x.count + kThreads / threads - 1) / (kThreads / threads);
  launch(ctx, convert_kernel<From, To, N>, dim3(blocks_for(rows * stretches, 1)), dim3(kThreads), 0, x, out, width,
         static_cast<int>(stretches), threads);
}

template <class From, class To>
void run(Context& ctx, const op::ConvertArgs& a) {
  constexpr int kWide = sizeof(From) + sizeof(To) == 4 ? 8 : 4;
  moves_by(kWide, {&a.x, &a.out}) ? run<From, To, kWide>(ctx, a) : run<From, To, 1>(ctx, a);
}

template <class From>
void run_from(Context& ctx, const op::ConvertArgs& a) {
  a.out.dtype == DType::F32 ? run<From, float>(ctx, a) : run<From, bf16>(ctx, a);
}

}  // namespace

void convert(Context& ctx, const op::ConvertArgs& a) {
  if (ctx.planning() || a.x.elements() == 0) return;
  switch (a.x.dtype) {
    case DType::F32:
      return run_from<float>(ctx, a);
    case DType::BF16:
      return run_from<bf16>(ctx, a);
    default:
      return run_from<f16>(ctx, a);
  }
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
