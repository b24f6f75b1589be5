// add_upsampled: out[i, j, c] = x[i, j, c] + y[floor(i h / H), floor(j w / W), c]
// model-specification.md 7
//   x, out [batch, H, W, channels], y [batch, h, w, channels] F32.
//
// Work split: a thread per N channels of a result pixel. Must move: every map once (RetinaFace's largest sum, 80 x 60 x
// 128: 5.5 MB). Limit: copy bandwidth.
#include "cuda/common/feature_map.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256;

template <int N>
__global__ void __launch_bounds__(kThreads)
    add_upsampled_kernel(const float* x, const float* y, float* out, FeatureMap map, FeatureMap small, int64_t total) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= total) return;
  const MapPlace p(map, at);
  const int row = static_cast<int>(static_cast<int64_t>(p.y) * small.height / map.height);
  const int column = static_cast<int>(static_cast<int64_t>(p.x) * small.width / map.width);
  Floats<N> sum = load<N>(x + at * N);
  const Floats<N> other = load_at<N>(y, small, p.image, row, column, p.group);
#pragma unroll
  for (int k = 0; k < N; k++) sum[k] += other[k];
  store(out + at * N, sum);
}

template <int N>
void add(Context& ctx, const op::AddUpsampledArgs& a) {
  const int64_t total = a.out.elements() / N;
  launch(ctx, add_upsampled_kernel<N>, dim3(blocks_for(total, kThreads)), dim3(kThreads), 0, a.x.as<const float>(),
         a.y.as<const float>(), a.out.as<float>(), FeatureMap(a.x, N), FeatureMap(a.y, N), total);
}

}  // namespace

void add_upsampled(Context& ctx, const op::AddUpsampledArgs& a) {
  if (ctx.planning()) return;
  moves_by(4, {&a.x, &a.y, &a.out}) ? add<4>(ctx, a) : add<1>(ctx, a);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
