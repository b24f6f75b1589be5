// group_norm_silu: out[p, c] = act((x[p, c] - mean_g) / sqrt(var_g + eps) * weight[c] + bias[c]), c in group g
// model-specification.md 7
//   x [batch, pixels, channels] F32 or BF16 -> out F32 or BF16; statistics per image and group of channels / groups.
//
// Three kernels, every sum in one fixed order, so the same input gives the same bits on any GPU:
//   1. column_moments: mean and squared deviations of N channels over a stretch of pixels. A thread takes kAtOnce
//      pixels into registers, centres them on their own mean, and joins their moments to what it has. Then the block
//      joins its lines. N channels always lie in one group.
//   2. fold_affine: a block per image and group joins the stretches in double and writes, per channel, the factors of
//      out = (x - mean) * scale + shift.
//   3. apply: one read and one write.
// Work split of 1 and 3: see channel_cut.cuh. Must move: x twice, out once (VAE, 512 x 512 x 128, f32 to bf16: 336 MB).
// Limit: copy bandwidth.
#include "cuda/common/channel_cut.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kAtOnce = 8, kApplyAtOnce = 4, kFoldThreads = 128;
constexpr int64_t kMostStretches = 1024;  // of an image; fixed, because it decides how sums are grouped

/// Mean and sum of squared deviations of `count` values.
struct Moments {
  double count, mean, m2;

  /// These values and those (Chan, Golub and LeVeque, 1983).
  __device__ __forceinline__ void join(const Moments& b) {
    if (b.count == 0) return;
    const double n = count + b.count, share = b.count / n, delta = b.mean - mean;
    mean += delta * share;
    m2 += b.m2 + delta * delta * (count * share);
    count = n;
  }
};

template <class X, int N>
__global__ void __launch_bounds__(ChannelCut::kThreads)
    column_moments_kernel(ChannelCut cut, const X* x, double2* moments) {
  const ChannelCut::Place at = cut.place(N);
  Moments mine = {0, 0, 0};
  if (at.exists) {
    const int64_t base = at.image * cut.pixels * cut.channels + at.channel;
    for (int64_t p = at.first; p < at.end; p += static_cast<int64_t>(cut.lines) * kAtOnce) {
      Floats<N> held[kAtOnce] = {};
      int pixels = 0;
#pragma unroll
      for (int i = 0; i < kAtOnce; i++)
        if (const int64_t q = p + i * cut.lines; q < at.end) {
          held[i] = load<N>(x + base + q * cut.channels);
          pixels++;
        }
      float sum = 0, rest = 0, squares = 0;
#pragma unroll
      for (int i = 0; i < kAtOnce; i++)
#pragma unroll
        for (int j = 0; j < N; j++) sum += held[i][j];
      const float count = static_cast<float>(pixels * N), centre = sum / count;
#pragma unroll
      for (int i = 0; i < kAtOnce; i++)
#pragma unroll
        for (int j = 0; j < N; j++) {
          const float d = i < pixels ? held[i][j] - centre : 0.0f;
          rest += d;
          squares += d * d;
        }
      // The centre is the mean only up to its rounding; what is left over corrects both moments.
      const float left = rest / count;
      mine.join({static_cast<double>(count), static_cast<double>(centre) + left, squares - rest * left});
    }
  }
  double2* lines = shared_memory<double2>();  // [lines, across]
  if (static_cast<int>(threadIdx.x) < cut.lines * cut.across) lines[threadIdx.x] = {mine.mean, mine.m2};
  __syncthreads();
  if (!at.exists || at.line > 0) return;
  for (int line = 1; line < cut.lines; line++) {
    const double2 other = lines[line * cut.across + threadIdx.x];
    mine.join({static_cast<double>(cut.pixels_of(at.stretch, line) * N), other.x, other.y});
  }
  const int64_t columns = cut.channels / N;
  moments[(at.image * cut.stretches + at.stretch) * columns + at.channel / N] = {mine.mean, mine.m2};
}

struct Fold {
  const double2* moments;  // [images, stretches, columns]
  const float *weight, *bias;
  float* affine;  // [images, 3, channels]: mean, scale, shift
  int columns, groups;
  float eps;
};

__global__ void __launch_bounds__(kFoldThreads) fold_affine_kernel(ChannelCut cut, Fold a) {
  const int image = static_cast<int>(blockIdx.x) / a.groups, group = static_cast<int>(blockIdx.x) % a.groups;
  const int thread = static_cast<int>(threadIdx.x), size = cut.channels / a.groups;
  const int columns = a.columns / a.groups, n = cut.channels / a.columns;
  Moments mine = {0, 0, 0};
  for (int i = thread; i < cut.stretches * columns; i += kFoldThreads) {
    const int64_t stretch = i / columns, column = group * columns + i % columns;
    const double2 m = a.moments[(image * static_cast<int64_t>(cut.stretches) + stretch) * a.columns + column];
    mine.join({static_cast<double>(min(cut.stretch, cut.pixels - stretch * cut.stretch) * n), m.x, m.y});
  }
  Moments* all = shared_memory<Moments>();
  all[thread] = mine;
  __syncthreads();
  for (int half = kFoldThreads / 2; half > 0; half /= 2) {
    if (thread < half) all[thread].join(all[thread + half]);
    __syncthreads();
  }
  const double mean = all[0].mean, inverse = 1 / sqrt(all[0].m2 / all[0].count + static_cast<double>(a.eps));
  float* affine = a.affine + static_cast<int64_t>(image) * 3 * cut.channels;
  for (int c = group * size + thread; c < (group + 1) * size; c += kFoldThreads) {
    const double scale = a.weight[c] * inverse;
    affine[c] = static_cast<float>(mean);
    affine[cut.channels + c] = static_cast<float>(scale);
    affine[2 * cut.channels + c] = static_cast<float>(a.bias[c] - (mean - static_cast<float>(mean)) * scale);
  }
}

template <class X, class Y, int N, bool kSilu>
__global__ void __launch_bounds__(ChannelCut::kThreads)
    apply_kernel(ChannelCut cut, const X* x, Y* out, const float* affine) {
  const ChannelCut::Place at = cut.place(N);
  if (!at.exists) return;
  const float* mine = affine + at.image * 3 * cut.channels + at.channel;
  const Floats<N> mean = load<N>(mine), scale = load<N>(mine + cut.channels), shift = load<N>(mine + 2 * cut.channels);
  map_channels<N, kApplyAtOnce>(cut, x, out, [&](const Floats<N>& v) {
    Floats<N> y;
#pragma unroll
    for (int i = 0; i < N; i++) {
      y[i] = (v[i] - mean[i]) * scale[i] + shift[i];
      if constexpr (kSilu) y[i] = silu(y[i]);
    }
    return y;
  });
}

ChannelCut cut_by(const op::GroupNormSiluArgs& a, int n) {
  return ChannelCut(a.x.shape[0], a.x.shape[1] * a.x.shape[2], a.x.last(), n, kAtOnce, kMostStretches);
}
int64_t moments_bytes(const op::GroupNormSiluArgs& a, int n) {
  return a.x.shape[0] * cut_by(a, n).stretches * (a.x.last() / n) * static_cast<int64_t>(sizeof(double2));
}

template <class X, class Y, int N>
void run(Context& ctx, const op::GroupNormSiluArgs& a) {
  const int64_t images = a.x.shape[0], channels = a.x.last(), columns = channels / N;
  const ChannelCut cut = cut_by(a, N);
  Workspace::Frame frame(ctx.workspace);
  // N depends on addresses, which planning does not know: room for either.
  auto* moments = static_cast<double2*>(ctx.workspace.bytes(std::max(moments_bytes(a, N), moments_bytes(a, 1))));
  auto* affine = static_cast<float*>(ctx.workspace.bytes(images * 3 * channels * sizeof(float)));
  if (ctx.planning()) return;
  const dim3 grid(blocks_for(cut.blocks, 1)), block(ChannelCut::kThreads);
  launch(ctx, column_moments_kernel<X, N>, grid, block, ChannelCut::kThreads * sizeof(double2), cut, a.x.as<const X>(),
         moments);
  const Fold fold = {moments, a.weight.as<const float>(), a.bias.as<const float>(),
                     affine,  static_cast<int>(columns),  a.groups,
                     a.eps};
  launch(ctx, fold_affine_kernel, dim3(blocks_for(images * a.groups, 1)), dim3(kFoldThreads),
         kFoldThreads * sizeof(Moments), cut, fold);
  launch(ctx, a.silu ? apply_kernel<X, Y, N, true> : apply_kernel<X, Y, N, false>, grid, block, 0, cut,
         a.x.as<const X>(), a.out.as<Y>(), static_cast<const float*>(affine));
}

/// The widest access that fits both maps and divides a group.
template <class X, class Y>
void run(Context& ctx, const op::GroupNormSiluArgs& a) {
  const int64_t size = a.x.last() / a.groups;
  const auto fits = [&](int n) { return size % n == 0 && moves_by(n, {&a.x, &a.out}); };
  if constexpr (sizeof(X) + sizeof(Y) == 4)
    if (fits(8)) return run<X, Y, 8>(ctx, a);
  fits(4) ? run<X, Y, 4>(ctx, a) : run<X, Y, 1>(ctx, a);
}

}  // namespace

void group_norm_silu(Context& ctx, const op::GroupNormSiluArgs& a) {
  const bool wide_out = a.out.dtype == DType::F32;
  if (a.x.dtype == DType::F32)
    wide_out ? run<float, float>(ctx, a) : run<float, bf16>(ctx, a);
  else
    wide_out ? run<bf16, float>(ctx, a) : run<bf16, bf16>(ctx, a);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
