// tensor_to_image: pixel = trunc((clamp(x, -1, 1) + 1) * 127.5) in f32; a NaN gives 0          model-specification.md 2
//   x [height, width, 3] F32 -> pixels U8
//
// Work split: a thread per 4 numbers, or per one where an address is not aligned. Must move: x and the pixels once (512
// px: 3.9 MB). Limit: copy bandwidth.
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 128;

template <int N>
__global__ void __launch_bounds__(kThreads) tensor_to_image_kernel(const float* x, uint8_t* pixels, int64_t count) {
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (at >= count) return;
  const Floats<N> v = load<N>(x + at);
  uint8_t bytes[N];
#pragma unroll
  for (int i = 0; i < N; i++)  // fmaxf takes the other operand for a NaN
    bytes[i] = static_cast<uint8_t>(static_cast<int>((fminf(fmaxf(v[i], -1.0f), 1.0f) + 1.0f) * 127.5f));
  typename Word<N>::type word;
  memcpy(&word, bytes, N);
  *reinterpret_cast<typename Word<N>::type*>(pixels + at) = word;
}

}  // namespace

void tensor_to_image(Context& ctx, const op::TensorToImageArgs& a) {
  if (ctx.planning() || a.x.elements() == 0) return;
  const int64_t n = a.x.elements();
  const bool wide = n % 4 == 0 && reinterpret_cast<uintptr_t>(a.x.data) % 16 == 0 &&
                    reinterpret_cast<uintptr_t>(a.pixels.data) % 4 == 0;
  launch(ctx, wide ? tensor_to_image_kernel<4> : tensor_to_image_kernel<1>,
         dim3(blocks_for(n, kThreads * (wide ? 4 : 1))), dim3(kThreads), 0, a.x.as<const float>(),
         a.pixels.as<uint8_t>(), n);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
