// batch_norm_prelu: y = x * scale[c] + shift[c]; out = y < 0 ? y * slope[c] : y (without a slope: out = y)
// model-specification.md 7
//   x [batch, height, width, channels] F32 or BF16 -> out F32 or BF16, channels last.
// Work split: see channel_cut.cuh; scale, shift and slope stay in registers. Must move: the map once each way
// (AdaFace's largest, 112 x 112 x 64 F32: 3.2 MB each way). Limit: copy bandwidth, of the L2 cache at these sizes.
#include "cuda/common/channel_cut.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kAtOnce = 4;
constexpr int64_t kMostStretches = 1 << 20;  // as many blocks as there are pixels for

template <class X, class Y, int N>
__global__ void __launch_bounds__(ChannelCut::kThreads)
    batch_norm_prelu_kernel(ChannelCut cut, const X* x, Y* out, const float* scale, const float* shift,
                            const float* slope) {
  const ChannelCut::Place at = cut.place(N);
  if (!at.exists) return;
  const Floats<N> s = load<N>(scale + at.channel), b = load<N>(shift + at.channel);
  Floats<N> below;
#pragma unroll
  for (int i = 0; i < N; i++) below[i] = 1;
  if (slope != nullptr) below = load<N>(slope + at.channel);
  map_channels<N, kAtOnce>(cut, x, out, [&](const Floats<N>& v) {
    Floats<N> y;
#pragma unroll
    for (int i = 0; i < N; i++) {
      y[i] = v[i] * s[i] + b[i];
      y[i] = y[i] < 0 ? y[i] * below[i] : y[i];
    }
    return y;
  });
}

template <class X, class Y, int N>
void run(Context& ctx, const op::BatchNormPreluArgs& a) {
  const ChannelCut cut(1, a.x.rows(), a.x.last(), N, kAtOnce, kMostStretches);
  launch(ctx, batch_norm_prelu_kernel<X, Y, N>, dim3(blocks_for(cut.blocks, 1)), dim3(ChannelCut::kThreads), 0, cut,
         a.x.as<const X>(), a.out.as<Y>(), a.scale.as<const float>(), a.shift.as<const float>(),
         a.slope.as<const float>());
}

template <class X, class Y>
void run(Context& ctx, const op::BatchNormPreluArgs& a) {
  constexpr int kWide = sizeof(X) + sizeof(Y) == 4 ? 8 : 4;
  moves_by(kWide, {&a.x, &a.out, &a.scale, &a.shift, &a.slope}) ? run<X, Y, kWide>(ctx, a) : run<X, Y, 1>(ctx, a);
}

}  // namespace

void batch_norm_prelu(Context& ctx, const op::BatchNormPreluArgs& a) {
  if (ctx.planning()) return;
  const bool wide_out = a.out.dtype == DType::F32;
  if (a.x.dtype == DType::F32)
    wide_out ? run<float, float>(ctx, a) : run<float, bf16>(ctx, a);
  else
    wide_out ? run<bf16, float>(ctx, a) : run<bf16, bf16>(ctx, a);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
