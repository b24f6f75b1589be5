// layer_norm_modulate: out = (1 + scale) * (x - mean) / sqrt(variance + 1e-6) + shift       model-specification.md 3, 4
// x, out [batch, tokens, D]; shift, scale [D] per run of tokens. One item is a block of rows; each row is read three
// times (mean, variance, result) but comes from memory once: D = 3,072 f32 is 12 KB and stays in the L1 cache.
// Bytes: 2 x batch x tokens x D x 4 (klein-4B, 2,560 tokens, f32 to bf16: 47 MB). Limit: copy bandwidth.
#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/quantise_row.h"
#include "cpu/row.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr int64_t kBlockElements = 1 << 15;

/// The vector that token `token` takes.
ICONFACE_INLINE const float* vector_of(const op::Segmented& s, int64_t token) {
  int i = 0;
  while (i + 1 < s.count && token >= s.rows[i]) token -= s.rows[i++];
  return s.vector[i].as<float>();
}

template <class X, class O>
ICONFACE_INLINE void modulate_row(const X* x, O* out, int64_t n, const float* shift, const float* scale) {
  const Moments m = moments(x, n);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t lanes = n - i;
    F y = (load_some(x + i, lanes) - m.mean) * m.inverse_deviation;
    if (scale != nullptr) y = y * (1.0f + load_some(scale + i, lanes)) + load_some(shift + i, lanes);
    store_some(out + i, y, lanes);
  }
}

/// Into e4m3 by way of `scratch`, a row of f32. No network of the CPU needs it, so it is not tuned.
template <class X>
ICONFACE_INLINE void modulate_row(const X* x, e4m3* out, float* out_scale, int64_t n, const float* shift,
                                  const float* scale, float* scratch) {
  modulate_row(x, scratch, n, shift, scale);
  quantise_row(scratch, out, out_scale, n);
}

template <class X, class O>
void run(Context& ctx, const op::LayerNormModulateArgs& a) {
  constexpr bool kE4m3 = std::is_same_v<O, e4m3>;
  Workspace::Frame frame(ctx.workspace);
  float* const scratch =
      kE4m3 ? static_cast<float*>(ctx.workspace.bytes(ctx.pool.workers() * a.x.last() * 4)) : nullptr;
  if (ctx.planning()) return;
  const int64_t rows = a.x.rows(), n = a.x.last(), tokens = a.x.shape[1];
  const int64_t block = std::max<int64_t>(1, kBlockElements / n);
  parallel_for(ctx.pool, (rows + block - 1) / block, [&](int64_t item, int worker) {
    for (int64_t row = item * block; row < std::min(rows, (item + 1) * block); row++) {
      const bool modulated = a.scale.defined();
      const float* shift = modulated ? vector_of(a.shift, row % tokens) : nullptr;
      const float* scale = modulated ? vector_of(a.scale, row % tokens) : nullptr;
      if constexpr (kE4m3)
        modulate_row(a.x.row<const X>(row), a.out.row<O>(row), a.out_scale.row<float>(row), n, shift, scale,
                     scratch + worker * n);
      else
        modulate_row(a.x.row<const X>(row), a.out.row<O>(row), n, shift, scale);
    }
  });
}

}  // namespace

void layer_norm_modulate(Context& ctx, const op::LayerNormModulateArgs& a) {
  const bool from_bf16 = a.x.dtype == DType::BF16, to_bf16 = a.out.dtype == DType::BF16;
  if (a.out.dtype == DType::F8E4M3) return from_bf16 ? run<bf16, e4m3>(ctx, a) : run<float, e4m3>(ctx, a);
  if (from_bf16 && to_bf16) return run<bf16, bf16>(ctx, a);
  if (from_bf16) return run<bf16, float>(ctx, a);
  if (to_bf16) return run<float, bf16>(ctx, a);
  run<float, float>(ctx, a);
}

}  // namespace iconface::cpu::ICONFACE_ISA
