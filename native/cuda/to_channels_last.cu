// to_channels_last: out[o][y][x][c] = weight[o][c][y][x] * scale[o], once per weight when a model is loaded.
// Work split: a block takes 128 channels of one output channel and all their taps: it writes neighbours, and what it
// reads across (c, then c + 1 a few elements further) is used up from the L1 cache by the next taps. Must move: the
// weight once each way. Limit: copy bandwidth, and the file it comes from.
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 128;

template <class T, class Out>
__global__ void __launch_bounds__(kThreads)
    to_channels_last_kernel(const T* weight, Out* out, const float* scale, int channels, int taps, int stretches) {
  const int64_t o = blockIdx.x / stretches;
  const int c = static_cast<int>(blockIdx.x) % stretches * kThreads + static_cast<int>(threadIdx.x);
  if (c >= channels) return;
  const float factor = scale == nullptr ? 1.0f : scale[o];
  const T* from = weight + (o * channels + c) * taps;
  Out* to = out + o * taps * channels + c;
  for (int tap = 0; tap < taps; tap++)
    to[static_cast<int64_t>(tap) * channels] = from_float<Out>(to_float(from[tap]) * factor);
}

template <class T, class Out>
void run(Context& ctx, const op::ToChannelsLastArgs& a) {
  const int64_t channels = a.weight.shape[1], taps = a.weight.shape[2] * a.weight.shape[3];
  const int64_t stretches = (channels + kThreads - 1) / kThreads;
  if (a.out.elements() == 0) return;
  launch(ctx, to_channels_last_kernel<T, Out>, dim3(blocks_for(a.weight.shape[0] * stretches, 1)), dim3(kThreads), 0,
         a.weight.as<const T>(), a.out.as<Out>(), a.scale.as<const float>(), static_cast<int>(channels),
         static_cast<int>(taps), static_cast<int>(stretches));
}

template <class T>
void run(Context& ctx, const op::ToChannelsLastArgs& a) {
  a.out.dtype == DType::F32 ? run<T, float>(ctx, a) : run<T, bf16>(ctx, a);
}

}  // namespace

void to_channels_last(Context& ctx, const op::ToChannelsLastArgs& a) {
  if (ctx.planning()) return;
  switch (a.weight.dtype) {
    case DType::F32:
      return run<float>(ctx, a);
    case DType::BF16:
      return run<bf16>(ctx, a);
    default:
      return run<f16>(ctx, a);
  }
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
