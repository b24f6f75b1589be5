// What runs over the elements of f32 vectors. A thread takes 4 neighbouring elements (16 bytes) and goes on by the size
// of the grid, which fills the machine once; what is left over, or everything where an address is not aligned, is taken
// one by one.
#pragma once
#include <algorithm>

#include "cuda/common/launch.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

constexpr int kMapThreads = 256, kMapBlocksPerMultiprocessor = 8;

/// `Function` has one(i), four(i) and aligned(): whether its operands lie at multiples of 16 bytes.
/// out[i] = f(i); the first `wide` elements, a multiple of 4, in steps of 16 bytes.
template <class Function>
__global__ void __launch_bounds__(kMapThreads) map_elements_kernel(Function f, float* out, int64_t wide, int64_t n) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kMapThreads + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kMapThreads;
  for (int64_t i = thread * 4; i < wide; i += threads * 4) *reinterpret_cast<float4*>(out + i) = f.four(i);
  for (int64_t i = wide + thread; i < n; i += threads) out[i] = f.one(i);
}

template <class Function>
void map_elements(Context& ctx, const Function& f, float* out, int64_t n) {
  const bool aligned = f.aligned() && reinterpret_cast<uintptr_t>(out) % 16 == 0;
  const int64_t wide = aligned ? n / 4 * 4 : 0, most = kMapBlocksPerMultiprocessor * device_of(ctx).multiprocessors();
  const int64_t blocks = std::min(blocks_of(aligned ? blocks_of(n, 4) : n, kMapThreads), most);
  launch(ctx, map_elements_kernel<Function>, dim3(static_cast<unsigned>(blocks)), dim3(kMapThreads), 0, f, out, wide,
         n);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
