// silu: out = x sigmoid(x), f32.
//
// Work split: elementwise.cuh. Must move: 4 bytes in and 4 out per element. Limit: copy bandwidth; in a restore the
// vectors are short and a launch is all there is.
#include "cuda/common/elementwise.cuh"
#include "cuda/common/numbers.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

struct SiluOf {
  const float* x;
  __device__ __forceinline__ float one(int64_t i) const { return silu(x[i]); }
  __device__ __forceinline__ float4 four(int64_t i) const {
    const float4 v = *reinterpret_cast<const float4*>(x + i);
    return {silu(v.x), silu(v.y), silu(v.z), silu(v.w)};
  }
  bool aligned() const { return reinterpret_cast<uintptr_t>(x) % 16 == 0; }
};

}  // namespace

void silu(Context& ctx, const op::SiluArgs& a) {
  if (ctx.planning()) return;
  map_elements(ctx, SiluOf{a.x.as<const float>()}, a.out.as<float>(), a.x.elements());
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
