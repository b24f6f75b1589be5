// layer_norm_modulate: out = (1 + scale) * (x - mean) / sqrt(variance + 1e-6) + shift       model-specification.md 3, 4
// x, out [batch, tokens, D]; shift, scale [D] per run of tokens.
//
// Work split: one block per token, each thread kKept groups of N channels. The row is read once, all loads of a thread
// before their first use, and stays in registers for mean, variance (two passes, so that a large mean cancels nothing)
// and result. Rows of more than kKept x 256 groups are read again in each pass, from the caches.
// Into e4m3 the finished row, still in registers, also gives its largest magnitude first, and is divided by its scale.
// Must move: x and out once; the vectors stay in the caches (klein-4B, 2,560 tokens, f32 to bf16: 47 MB, to e4m3: 39).
// Limit: copy bandwidth.
#include <algorithm>

#include "cuda/common/e4m3.cuh"
#include "cuda/common/rows.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kMostThreads = 256, kKept = 4;
constexpr int kSlots = kMostThreads / 32;  // of a sum over the block
constexpr float kEpsilon = 1e-6f;

/// op::Segmented on the device.
struct Segments {
  int count = 0;
  int64_t rows[op::Segmented::kMax] = {};
  const float* vector[op::Segmented::kMax] = {};

  explicit Segments(const op::Segmented& s) : count(s.count) {
    for (int i = 0; i < count; i++) {
      rows[i] = s.rows[i];
      vector[i] = s.vector[i].as<const float>();
    }
  }
  __device__ const float* of(int64_t token) const {
    int i = 0;
    while (i + 1 < count && token >= rows[i]) token -= rows[i++];
    return vector[i];
  }
};

struct Arguments {
  const void* x;
  void* out;
  int64_t tokens, x_batch, x_row, out_batch, out_row;  // strides in elements
  int width;
  Segments shift, scale;
  Rows out_scale;  // e4m3
};

template <class X, class O, int N, bool kWholeRow>
__global__ void __launch_bounds__(kMostThreads) layer_norm_modulate_kernel(Arguments a) {
  const int64_t batch = blockIdx.x / a.tokens, token = blockIdx.x % a.tokens;
  const X* x = static_cast<const X*>(a.x) + batch * a.x_batch + token * a.x_row;
  O* out = static_cast<O*>(a.out) + batch * a.out_batch + token * a.out_row;
  const int step = static_cast<int>(blockDim.x) * N, first = static_cast<int>(threadIdx.x) * N;
  const int rounds = kWholeRow ? kKept : (a.width + step - 1) / step;
  float* slots = shared_memory<float>();

  Floats<N> kept[kKept];
  if constexpr (kWholeRow) {
#pragma unroll
    for (int r = 0; r < kKept; r++)
      if (first + r * step < a.width) kept[r] = load<N>(x + first + r * step);
  }
  // Calls f(at, values) for every group of this thread; of a whole row the values may be changed.
  const auto each_group = [&](auto f) __attribute__((always_inline)) {
#pragma unroll
    for (int r = 0; r < rounds; r++) {
      const int at = first + r * step;
      if (at >= a.width) continue;
      if constexpr (kWholeRow) {
        f(at, kept[r]);
      } else {
        Floats<N> v = load<N>(x + at);
        f(at, v);
      }
    }
  };

  float sum = 0;
  each_group([&](int, const Floats<N>& v) {
#pragma unroll
    for (int i = 0; i < N; i++) sum += v[i];
  });
  const float mean = block_sum(sum, slots) / static_cast<float>(a.width);
  float squares = 0;
  each_group([&](int, const Floats<N>& v) {
#pragma unroll
    for (int i = 0; i < N; i++) squares += (v[i] - mean) * (v[i] - mean);
  });
  const float variance = block_sum(squares, slots + kSlots) / static_cast<float>(a.width);
  const float inverse = 1.0f / sqrtf(variance + kEpsilon);

  const bool modulated = a.scale.count > 0;
  const float *shift = modulated ? a.shift.of(token) : nullptr, *scale = modulated ? a.scale.of(token) : nullptr;
  const auto result = [&](int at, const Floats<N>& v) __attribute__((always_inline)) {
    Floats<N> y;
#pragma unroll
    for (int i = 0; i < N; i++) y[i] = (v[i] - mean) * inverse;
    if (!modulated) return y;
    const Floats<N> move = load<N>(shift + at), stretch = load<N>(scale + at);
#pragma unroll
    for (int i = 0; i < N; i++) y[i] = y[i] * (1.0f + stretch[i]) + move[i];
    return y;
  };
  if constexpr (std::is_same_v<O, uint8_t>) {
    uint32_t largest = 0;
    each_group([&](int at, Floats<N>& v) {
      const Floats<N> y = result(at, v);
      largest = max(largest, largest_magnitude(y));
      if constexpr (kWholeRow) v = y;
    });
    const float row_scale = e4m3_scale(block_max(largest, reinterpret_cast<uint32_t*>(slots + 2 * kSlots)));
    if (threadIdx.x == 0) *a.out_scale.row<float>(static_cast<int>(blockIdx.x)) = row_scale;
    each_group([&](int at, const Floats<N>& v) { store_e4m3(out + at, kWholeRow ? v : result(at, v), row_scale); });
  } else {
    each_group([&](int at, const Floats<N>& v) { store(out + at, result(at, v)); });
  }
}

template <class X, class O, int N>
void run(Context& ctx, const op::LayerNormModulateArgs& a) {
  const Tensor &x = a.x, &out = a.out;
  const Arguments arguments = {x.data,
                               out.data,
                               x.shape[1],
                               x.stride[0],
                               x.stride[1],
                               out.stride[0],
                               out.stride[1],
                               static_cast<int>(x.last()),
                               Segments(a.shift),
                               Segments(a.scale),
                               a.out_scale.defined() ? Rows::of(a.out_scale) : Rows()};
  const int64_t groups = (x.last() + N - 1) / N, threads = (groups + kKept - 1) / kKept;
  const bool whole = threads <= kMostThreads;
  const unsigned block = static_cast<unsigned>(std::min<int64_t>(kMostThreads, (threads + 31) / 32 * 32));
  launch(ctx, whole ? layer_norm_modulate_kernel<X, O, N, true> : layer_norm_modulate_kernel<X, O, N, false>,
         dim3(blocks_for(x.rows(), 1)), dim3(block), 3 * kSlots * sizeof(float), arguments);
}

template <class X, class O>
void run(Context& ctx, const op::LayerNormModulateArgs& a) {
  constexpr int kWide = sizeof(X) == 2 && sizeof(O) <= 2 ? 8 : 4;  // 16 bytes of the wider type
  bool wide = moves_by(kWide, {&a.x, &a.out});
  for (int i = 0; i < a.scale.count; i++) wide = wide && moves_by(kWide, {&a.scale.vector[i]});
  for (int i = 0; i < a.shift.count; i++) wide = wide && moves_by(kWide, {&a.shift.vector[i]});
  wide ? run<X, O, kWide>(ctx, a) : run<X, O, 1>(ctx, a);
}

}  // namespace

void layer_norm_modulate(Context& ctx, const op::LayerNormModulateArgs& a) {
  if (ctx.planning() || a.x.elements() == 0) return;
  const bool narrow = a.x.dtype == DType::BF16, narrow_out = a.out.dtype == DType::BF16;
  if (a.out.dtype == DType::F8E4M3) return narrow ? run<bf16, uint8_t>(ctx, a) : run<float, uint8_t>(ctx, a);
  if (narrow && narrow_out) return run<bf16, bf16>(ctx, a);
  if (narrow) return run<bf16, float>(ctx, a);
  if (narrow_out) return run<float, bf16>(ctx, a);
  run<float, float>(ctx, a);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
