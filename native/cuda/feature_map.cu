// max_pool2d: out[y, x, c] = max over i, j < size of x[s y + i - pad, s x + j - pad, c], inside the map
// model-specification.md 7
//   x [batch, height, width, channels] F32 -> out F32, channels last. A NaN is not kept.
// add_upsampled: out[i, j, c] = x[i, j, c] + y[floor(i h / H), floor(j w / W), c], x, out [batch, H, W, channels],
//   y [batch, h, w, channels] F32.
//
// Work split: a thread per N channels of a result pixel. Must move: every map once (ResNet's stem at 640 x 480, 320 x 240
// x 64 to 160 x 120: 24.6 MB; RetinaFace's largest sum, 80 x 60 x 128: 5.5 MB). Limit: copy bandwidth.
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256;

/// A map's sizes; a pixel is `groups` times N channels.
struct Map {
  int height, width, groups;

  __host__ Map(const Tensor& t, int n)
      : height(static_cast<int>(t.shape[1])),
        width(static_cast<int>(t.shape[2])),
        groups(static_cast<int>(t.last() / n)) {}
};

/// A group of channels of a result pixel.
struct Place {
  int64_t image;
  int y, x, group;

  __device__ __forceinline__ Place(const Map& map, int64_t at) {
    group = static_cast<int>(at % map.groups);
    x = static_cast<int>(at / map.groups % map.width);
    y = static_cast<int>(at / map.groups / map.width % map.height);
    image = at / map.groups / map.width / map.height;
  }
};

template <int N>
__device__ __forceinline__ Floats<N> load_at(const float* data, const Map& map, int64_t image, int y, int x,
                                             int group) {
  return load<N>(data + (((image * map.height + y) * map.width + x) * map.groups + group) * N);
}

template <int N>
__global__ void __launch_bounds__(kThreads)
    max_pool2d_kernel(const float* x, float* out, Map from, Map to, int64_t total, int size, int stride, int pad) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= total) return;
  const Place p(to, at);
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
__global__ void __launch_bounds__(kThreads)
    add_upsampled_kernel(const float* x, const float* y, float* out, Map map, Map small, int64_t total) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= total) return;
  const Place p(map, at);
  const int row = static_cast<int>(static_cast<int64_t>(p.y) * small.height / map.height);
  const int column = static_cast<int>(static_cast<int64_t>(p.x) * small.width / map.width);
  Floats<N> sum = load<N>(x + at * N);
  const Floats<N> other = load_at<N>(y, small, p.image, row, column, p.group);
#pragma unroll
  for (int k = 0; k < N; k++) sum[k] += other[k];
  store(out + at * N, sum);
}

template <int N>
void pool(Context& ctx, const op::MaxPool2dArgs& a) {
  const int64_t total = a.out.elements() / N;
  launch(ctx, max_pool2d_kernel<N>, dim3(blocks_for(total, kThreads)), dim3(kThreads), 0, a.x.as<const float>(),
         a.out.as<float>(), Map(a.x, N), Map(a.out, N), total, a.size, a.stride, a.pad);
}

template <int N>
void add(Context& ctx, const op::AddUpsampledArgs& a) {
  const int64_t total = a.out.elements() / N;
  launch(ctx, add_upsampled_kernel<N>, dim3(blocks_for(total, kThreads)), dim3(kThreads), 0, a.x.as<const float>(),
         a.y.as<const float>(), a.out.as<float>(), Map(a.x, N), Map(a.y, N), total);
}

}  // namespace

void max_pool2d(Context& ctx, const op::MaxPool2dArgs& a) {
  if (ctx.planning()) return;
  moves_by(4, {&a.x, &a.out}) ? pool<4>(ctx, a) : pool<1>(ctx, a);
}

void add_upsampled(Context& ctx, const op::AddUpsampledArgs& a) {
  if (ctx.planning()) return;
  moves_by(4, {&a.x, &a.y, &a.out}) ? add<4>(ctx, a) : add<1>(ctx, a);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
