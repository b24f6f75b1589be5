// add: out = a + b, f32.
//
// Work split: elementwise.cuh. Must move: 8 bytes in and 4 out per element. Limit: copy bandwidth; in a restore the
// vectors are short and a launch is all there is.
#include "cuda/common/elementwise.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

struct SumOf {
  const float *a, *b;
  __device__ __forceinline__ float one(int64_t i) const { return a[i] + b[i]; }
  __device__ __forceinline__ float4 four(int64_t i) const {
    const float4 u = *reinterpret_cast<const float4*>(a + i), v = *reinterpret_cast<const float4*>(b + i);
    return {u.x + v.x, u.y + v.y, u.z + v.z, u.w + v.w};
  }
  bool aligned() const { return (reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b)) % 16 == 0; }
};

}  // namespace

void add(Context& ctx, const op::AddArgs& args) {
  if (ctx.planning()) return;
  map_elements(ctx, SumOf{args.a.as<const float>(), args.b.as<const float>()}, args.out.as<float>(), args.a.elements());
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
