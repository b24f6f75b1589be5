// stream_copy: out = x, 16 bytes an access, kAtOnce accesses in flight per thread; streaming: evicted first.
//
// Work split: a thread per kAtOnce x 16 bytes. Must move: x and out once. Limit: it is the limit of what moves memory.
#include <algorithm>

#include "cuda/common/launch.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256, kAtOnce = 4;

template <bool kStreaming>
__global__ void __launch_bounds__(kThreads) stream_copy_kernel(const float* x, float* out, int64_t wide, int64_t n) {
  const int64_t block = static_cast<int64_t>(blockIdx.x) * kThreads * kAtOnce;
  const auto* from = reinterpret_cast<const float4*>(x);
  auto* to = reinterpret_cast<float4*>(out);
  float4 held[kAtOnce];
#pragma unroll
  for (int i = 0; i < kAtOnce; i++)
    if (const int64_t at = block + i * kThreads + threadIdx.x; at < wide)
      held[i] = kStreaming ? __ldcs(from + at) : from[at];
#pragma unroll
  for (int i = 0; i < kAtOnce; i++)
    if (const int64_t at = block + i * kThreads + threadIdx.x; at < wide) {
      if constexpr (kStreaming)
        __stcs(to + at, held[i]);
      else
        to[at] = held[i];
    }
  // What is left over, or all where an address is not aligned.
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t at = wide * 4 + block / kAtOnce + threadIdx.x; at < n; at += threads) out[at] = x[at];
}

}  // namespace

void stream_copy(Context& ctx, const op::StreamCopyArgs& a) {
  if (ctx.planning() || a.x.elements() == 0) return;
  const int64_t n = a.x.elements();
  const bool aligned = (reinterpret_cast<uintptr_t>(a.x.data) | reinterpret_cast<uintptr_t>(a.out.data)) % 16 == 0;
  const int64_t wide = aligned ? n / 4 : 0, blocks = std::max<int64_t>(1, blocks_of(wide, kThreads * kAtOnce));
  launch(ctx, a.streaming ? stream_copy_kernel<true> : stream_copy_kernel<false>, dim3(static_cast<unsigned>(blocks)),
         dim3(kThreads), 0, a.x.as<const float>(), a.out.as<float>(), wide, n);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
