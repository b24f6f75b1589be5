// depthwise_conv2d: out[c] = act(sum_ij weight[i, j, c] x[s y + i - pad, s x + j - pad, c] + bias[c])
// model-specification.md 7
//   x [batch, height, width, channels], weight [kh, kw, channels] F32 -> out F32, channels last; zeros around the map.
// Work split: a thread per N channels of a result pixel; neighbouring threads share taps in the caches. Must move: the
// map and the result once (RetinaFace's largest at 640 x 480, 320 x 240 x 8: 4.9 MB). Limit: copy bandwidth, of the
// L2 cache at these sizes.
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256;

/// Sizes of the maps and the kernel; a pixel is `groups` times N channels.
struct Arguments {
  const float *x, *weight, *bias, *slope;
  float* out;
  int64_t total;  // groups of out
  int height, width, out_height, out_width, groups, kh, kw, stride, pad;
};

template <int N>
__global__ void __launch_bounds__(kThreads) depthwise_conv2d_kernel(Arguments a) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= a.total) return;
  const int64_t pixel = at / a.groups, row = pixel / a.out_width, image = row / a.out_height;
  const int channel = static_cast<int>(at % a.groups) * N;
  const int64_t top = row % a.out_height * a.stride - a.pad, left = pixel % a.out_width * a.stride - a.pad;
  Floats<N> sum = {};
  if (a.bias != nullptr) sum = load<N>(a.bias + channel);
  for (int i = 0; i < a.kh; i++)
    for (int j = 0; j < a.kw; j++) {
      const int64_t y = top + i, x = left + j;
      if (y < 0 || y >= a.height || x < 0 || x >= a.width) continue;
      const Floats<N> v = load<N>(a.x + ((image * a.height + y) * a.width + x) * a.groups * N + channel);
      const Floats<N> w = load<N>(a.weight + (static_cast<int64_t>(i) * a.kw + j) * a.groups * N + channel);
#pragma unroll
      for (int k = 0; k < N; k++) sum[k] += v[k] * w[k];
    }
  if (a.slope != nullptr) {
    const Floats<N> slope = load<N>(a.slope + channel);
#pragma unroll
    for (int k = 0; k < N; k++) sum[k] = sum[k] < 0 ? sum[k] * slope[k] : sum[k];
  }
  store(a.out + at * N, sum);
}

}  // namespace

void depthwise_conv2d(Context& ctx, const op::DepthwiseConv2dArgs& a) {
  if (ctx.planning()) return;
  const bool wide = moves_by(4, {&a.x, &a.weight, &a.out, &a.bias, &a.slope});
  const int64_t groups = a.x.last() / (wide ? 4 : 1);
  const Arguments arguments = {a.x.as<const float>(),
                               a.weight.as<const float>(),
                               a.bias.as<const float>(),
                               a.slope.as<const float>(),
                               a.out.as<float>(),
                               a.out.rows() * groups,
                               static_cast<int>(a.x.shape[1]),
                               static_cast<int>(a.x.shape[2]),
                               static_cast<int>(a.out.shape[1]),
                               static_cast<int>(a.out.shape[2]),
                               static_cast<int>(groups),
                               static_cast<int>(a.weight.shape[0]),
                               static_cast<int>(a.weight.shape[1]),
                               a.stride,
                               a.pad};
  launch(ctx, wide ? depthwise_conv2d_kernel<4> : depthwise_conv2d_kernel<1>,
         dim3(blocks_for(arguments.total, kThreads)), dim3(kThreads), 0, arguments);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
