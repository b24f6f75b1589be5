// silu and add: out = x sigmoid(x), out = a + b, element by element on f32.
//
// Work split: a thread takes 4 neighbouring elements (16 bytes) and goes on by the size of the grid, which fills the machine
// once; what is left over, or everything where an address is not aligned, is taken one by one.
// Must move: 4 bytes in and 4 out per element (add: 8 and 4). Limit: copy bandwidth; in a restore the vectors are short
// and a launch is all there is.
#include "cuda/common/launch.cuh"
#include "cuda/common/numbers.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256, kBlocksPerMultiprocessor = 8;

struct SiluOf {
  const float* x;
  __device__ __forceinline__ float one(int64_t i) const { return silu(x[i]); }
  __device__ __forceinline__ float4 four(int64_t i) const {
    const float4 v = *reinterpret_cast<const float4*>(x + i);
    return {silu(v.x), silu(v.y), silu(v.z), silu(v.w)};
  }
  bool aligned() const { return reinterpret_cast<uintptr_t>(x) % 16 == 0; }
};

struct SumOf {
  const float *a, *b;
  __device__ __forceinline__ float one(int64_t i) const { return a[i] + b[i]; }
  __device__ __forceinline__ float4 four(int64_t i) const {
    const float4 u = *reinterpret_cast<const float4*>(a + i), v = *reinterpret_cast<const float4*>(b + i);
    return {u.x + v.x, u.y + v.y, u.z + v.z, u.w + v.w};
  }
  bool aligned() const { return (reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b)) % 16 == 0; }
};

/// out[i] = f(i); the first `wide` elements, a multiple of 4, in steps of 16 bytes.
template <class Function>
__global__ void __launch_bounds__(kThreads) map_kernel(Function f, float* out, int64_t wide, int64_t n) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = thread * 4; i < wide; i += threads * 4) *reinterpret_cast<float4*>(out + i) = f.four(i);
  for (int64_t i = wide + thread; i < n; i += threads) out[i] = f.one(i);
}

template <class Function>
void map(Context& ctx, const Function& f, float* out, int64_t n) {
  const bool aligned = f.aligned() && reinterpret_cast<uintptr_t>(out) % 16 == 0;
  const int64_t wide = aligned ? n / 4 * 4 : 0, most = kBlocksPerMultiprocessor * device_of(ctx).multiprocessors();
  const int64_t blocks = std::min(blocks_of(aligned ? blocks_of(n, 4) : n, kThreads), most);
  launch(ctx, map_kernel<Function>, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, f, out, wide, n);
}

}  // namespace

void silu(Context& ctx, const op::SiluArgs& a) {
  if (ctx.planning()) return;
  map(ctx, SiluOf{a.x.as<const float>()}, a.out.as<float>(), a.x.elements());
}

void add(Context& ctx, const op::AddArgs& args) {
  if (ctx.planning()) return;
  map(ctx, SumOf{args.a.as<const float>(), args.b.as<const float>()}, args.out.as<float>(), args.a.elements());
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
