// group_norm_silu: out[p, c] = act((x[p, c] - mean_g) / sqrt(var_g + eps) * weight[c] + bias[c]), c in group g
// model-specification.md 7
//   x [batch, pixels, channels] F32 or BF16 -> out F32 or BF16; statistics per image and group of channels / groups.
// Statistics: an item is a fixed run of pixels, taken in chunks that fit the L1 cache. A chunk is read
// twice (sums, then squares about its own mean), so memory sees one reading pass; chunks, then items, are joined in
// order by Chan's formula in double. Then one pass out = act((x - mean) * scale + shift) with all three per channel:
// subtracting first keeps the digits of maps whose mean is far larger than their spread. Any number of threads gives
// the same bits.
// Bytes: 2 reads and 1 write of the map, 0.4 GB for 512 x 512 x 128 F32. Limit: the exponential on one thread (1 ns an
// element with AVX-512), memory bandwidth from two threads on.
#include <algorithm>
#include <cmath>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr int64_t kChunkElements = 8 << 10;
constexpr int64_t kChunksPerUnit = 8;

/// Mean and sum of squared deviations of some values, whose number the shape tells.
struct Moments {
  double mean, m2;
};

/// Joins the moments of n_b more values (Chan, Golub and LeVeque, 1983).
ICONFACE_INLINE Moments join(Moments a, double n_a, Moments b, double n_b) {
  const double n = n_a + n_b, delta = b.mean - a.mean;
  return {a.mean + delta * (n_b / n), a.m2 + b.m2 + delta * delta * (n_a * n_b / n)};
}

struct Layout {
  int64_t pixels, channels, groups;  // of one image

  ICONFACE_INLINE int64_t group_size() const { return channels / groups; }
  ICONFACE_INLINE int64_t chunk() const { return std::max<int64_t>(1, kChunkElements / channels); }  // pixels
  ICONFACE_INLINE int64_t item() const { return chunk() * kChunksPerUnit; }
  ICONFACE_INLINE int64_t items() const { return (pixels + item() - 1) / item(); }
};

/// sums[c] = sum over the pixels of d and, with Squares, squares[c] = sum of d^2, where d = x[p, c] - centre[c].
template <bool Squares, class T>
void channel_sums(const T* x, int64_t pixels, int64_t channels, const float* centre, float* sums, float* squares) {
  constexpr int kWide = 4;
  int64_t c = 0;
  for (; c + kWide * kLanes <= channels; c += kWide * kLanes) {
    F sum[kWide] = {}, square[kWide] = {}, mid[kWide];
    for (int v = 0; v < kWide; v++) mid[v] = load(centre + c + v * kLanes);
    for (int64_t p = 0; p < pixels; p++) {
      for (int v = 0; v < kWide; v++) {
        const F d = load(x + p * channels + c + v * kLanes) - mid[v];
        sum[v] += d;
        if (Squares) square[v] += d * d;
      }
    }
    for (int v = 0; v < kWide; v++) {
      store(sums + c + v * kLanes, sum[v]);
      if (Squares) store(squares + c + v * kLanes, square[v]);
    }
  }
  for (; c < channels; c += kLanes) {
    const int64_t n = channels - c;
    const F mid = load_some(centre + c, n);
    F sum = {}, square = {};
    for (int64_t p = 0; p < pixels; p++) {
      const F d = load_some(x + p * channels + c, n) - mid;
      sum += d;
      square += d * d;
    }
    store_some(sums + c, sum, n);
    if (Squares) store_some(squares + c, square, n);
  }
}

ICONFACE_INLINE double total(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i];
  return sum;
}

/// Moments of every group over one item of pixels. `scratch` holds 3 floats a channel.
template <class T>
void item_moments(const T* x, int64_t pixels, const Layout& l, float* scratch, Moments* moments) {
  float *centre = scratch, *sums = centre + l.channels, *squares = sums + l.channels;
  const int64_t size = l.group_size();
  for (int64_t first = 0; first < pixels; first += l.chunk()) {
    const int64_t count = std::min(l.chunk(), pixels - first);
    const T* chunk = x + first * l.channels;
    const double n = static_cast<double>(count) * size;
    for (int64_t c = 0; c < l.channels; c++) centre[c] = 0;
    channel_sums<false>(chunk, count, l.channels, centre, sums, squares);
    for (int64_t g = 0; g < l.groups; g++) {
      const float mean = static_cast<float>(total(sums + g * size, size) / n);
      for (int64_t c = g * size; c < (g + 1) * size; c++) centre[c] = mean;
    }
    channel_sums<true>(chunk, count, l.channels, centre, sums, squares);
    for (int64_t g = 0; g < l.groups; g++) {
      // The centre is the mean only up to its rounding; what is left over corrects both moments.
      const double rest = total(sums + g * size, size);
      const Moments m = {centre[g * size] + rest / n, total(squares + g * size, size) - rest * rest / n};
      moments[g] = first == 0 ? m : join(moments[g], static_cast<double>(first) * size, m, n);
    }
  }
}

/// Normalisation and affine of one image: out = (x - mean[c]) * scale[c] + shift[c].
struct Affine {
  float *mean, *scale, *shift;
};

/// The affine of one image from the moments of its items, [items, groups].
void fold_affine(const Moments* moments, const Layout& l, const op::GroupNormSiluArgs& a, const Affine& affine) {
  const int64_t size = l.group_size();
  for (int64_t g = 0; g < l.groups; g++) {
    Moments all = moments[g];
    for (int64_t u = 1; u < l.items(); u++) {
      const int64_t first = u * l.item(), count = std::min(l.item(), l.pixels - first);
      all = join(all, static_cast<double>(first) * size, moments[u * l.groups + g], static_cast<double>(count) * size);
    }
    const double inverse = 1 / __builtin_sqrt(all.m2 / (static_cast<double>(l.pixels) * size) + a.eps);
    for (int64_t c = g * size; c < (g + 1) * size; c++) {
      const double scale = a.weight.as<float>()[c] * inverse;
      affine.mean[c] = static_cast<float>(all.mean);
      affine.scale[c] = static_cast<float>(scale);
      affine.shift[c] = static_cast<float>(a.bias.as<float>()[c] - (all.mean - affine.mean[c]) * scale);
    }
  }
}

template <bool Silu, class X, class Y>
void apply(const X* x, Y* out, int64_t pixels, int64_t channels, const Affine& a) {
  for (int64_t p = 0; p < pixels; p++) {
    for (int64_t c = 0; c < channels; c += kLanes) {
      const int64_t n = channels - c;
      const F centred = load_some(x + p * channels + c, n) - load_some(a.mean + c, n);
      F y = centred * load_some(a.scale + c, n) + load_some(a.shift + c, n);
      if (Silu) y = silu(y);
      store_some(out + p * channels + c, y, n);
    }
  }
}

template <class X, class Y>
void run(Context& ctx, const op::GroupNormSiluArgs& a) {
  const int64_t batch = a.x.shape[0];
  const Layout l = {a.x.shape[1] * a.x.shape[2], a.x.last(), a.groups};
  Workspace::Frame frame(ctx.workspace);
  auto* moments = static_cast<Moments*>(ctx.workspace.bytes(batch * l.items() * l.groups * sizeof(Moments)));
  auto* affines = static_cast<float*>(ctx.workspace.bytes(batch * 3 * l.channels * sizeof(float)));
  auto* scratch = static_cast<float*>(ctx.workspace.bytes(ctx.pool.workers() * 3 * l.channels * sizeof(float)));
  if (ctx.planning()) return;
  const auto affine = [&](int64_t image) {
    float* mean = affines + image * 3 * l.channels;
    return Affine{mean, mean + l.channels, mean + 2 * l.channels};
  };

  parallel_for(ctx.pool, batch * l.items(), [&](int64_t u, int worker) {
    const int64_t first = u % l.items() * l.item();
    item_moments(a.x.as<X>() + (u / l.items() * l.pixels + first) * l.channels, std::min(l.item(), l.pixels - first), l,
                 scratch + worker * 3 * l.channels, moments + u * l.groups);
  });
  for (int64_t b = 0; b < batch; b++) fold_affine(moments + b * l.items() * l.groups, l, a, affine(b));
  parallel_for(ctx.pool, batch * l.items(), [&](int64_t u, int) {
    const int64_t image = u / l.items(), first = u % l.items() * l.item();
    const int64_t offset = (image * l.pixels + first) * l.channels, count = std::min(l.item(), l.pixels - first);
    if (a.silu)
      apply<true>(a.x.as<X>() + offset, a.out.as<Y>() + offset, count, l.channels, affine(image));
    else
      apply<false>(a.x.as<X>() + offset, a.out.as<Y>() + offset, count, l.channels, affine(image));
  });
}

}  // namespace

void group_norm_silu(Context& ctx, const op::GroupNormSiluArgs& a) {
  const bool wide_out = a.out.dtype == DType::F32;
  if (a.x.dtype == DType::F32)
    wide_out ? run<float, float>(ctx, a) : run<float, bf16>(ctx, a);
  else
    wide_out ? run<bf16, float>(ctx, a) : run<bf16, bf16>(ctx, a);
}

}  // namespace iconface::cpu::ICONFACE_ISA
