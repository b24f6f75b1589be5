// max_pool2d: out[y, x, c] = max over i, j < size of x[s y + i - pad, s x + j - pad, c], inside the map
// model-specification.md 7
//   x [batch, height, width, channels] F32 -> out F32, channels last. A NaN is not kept.
//
// Work split: a thread per N channels of a result pixel. Must move: both maps once (ResNet's stem at 640 x 480, 320 x
// 240 x 64 to 160 x 120: 24.6 MB). Limit: copy bandwidth.
#include "cuda/common/feature_map.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256;

template <int N>
__global__ void __launch_bounds__(kThreads)
    max_pool2d_kernel(const float* x, float* out, FeatureMap from, FeatureMap to, int64_t total, int size, int stride,
                      int pad) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= total) return;
  const MapPlace p(to, at);
  const int top = p.y * stride - pad, left = p.x * stride - pad;
  Floats<N> largest;
#pragma unroll
  for (int k = 0; k < N; k++) largest[k] = -INFINITY;
  for (int i = max(top, 0); i < min(top + size, from.height); i++)
    for (int j = max(left, 0); j < min(left + size, from.width); j++) {
      const Floats<N> v = load_at<N>(x, from, p.image, i, j, p.group);
#pragma unroll
      for (int k = 0; k < N; k++) largest[k] = v[k] > largest[k] ? v[k] : largest[k];
    }
  store(out + at * N, largest);
}

template <int N>
void pool(Context& ctx, const op::MaxPool2dArgs& a) {
  const int64_t total = a.out.elements() / N;
  launch(ctx, max_pool2d_kernel<N>, dim3(blocks_for(total, kThreads)), dim3(kThreads), 0, a.x.as<const float>(),
         a.out.as<float>(), FeatureMap(a.x, N), FeatureMap(a.out, N), total, a.size, a.stride, a.pad);
}

}  // namespace

void max_pool2d(Context& ctx, const op::MaxPool2dArgs& a) {
  if (ctx.planning()) return;
  moves_by(4, {&a.x, &a.out}) ? pool<4>(ctx, a) : pool<1>(ctx, a);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
