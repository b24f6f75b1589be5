// rms_norm: out = x / sqrt(mean(x^2) + 1e-6) * weight                                          model-specification.md 7
// x, out [..., D]; weight [D]. One item is a block of rows; a row is read twice but comes from memory once.
// Bytes: rows x D x (bytes of x + bytes of out); Qwen3-4B, 512 tokens, f32 to bf16: 8 MB. Limit: copy bandwidth.
#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/row.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr float kEpsilon = 1e-6f;
constexpr int64_t kBlockElements = 1 << 15;

template <class X, class O>
ICONFACE_INLINE void norm_row(const X* x, O* out, const float* weight, int64_t n) {
  const float squares = sum_terms(n, [&](int64_t i, int64_t lanes) {
    const F v = load_some(x + i, lanes);
    return v * v;
  });
  const float inverse = 1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + kEpsilon);
  for (int64_t i = 0; i < n; i += kLanes)
    store_some(out + i, load_some(x + i, n - i) * inverse * load_some(weight + i, n - i), n - i);
}

template <class X, class O>
void run(Context& ctx, const op::RmsNormArgs& a, const float* weight) {
  const int64_t rows = a.x.rows(), n = a.x.last();
  const int64_t block = std::max<int64_t>(1, kBlockElements / n);
  parallel_for(ctx.pool, (rows + block - 1) / block, [&](int64_t item, int) {
    for (int64_t row = item * block; row < std::min(rows, (item + 1) * block); row++)
      norm_row(a.x.row<const X>(row), a.out.row<O>(row), weight, n);
  });
}

}  // namespace

void rms_norm(Context& ctx, const op::RmsNormArgs& a) {
  Workspace::Frame frame(ctx.workspace);
  float* weight = static_cast<float*>(ctx.workspace.bytes(a.x.last() * 4));
  if (ctx.planning()) return;
  widen_row(a.weight.data, a.weight.dtype, weight, a.x.last());
  const bool from_bf16 = a.x.dtype == DType::BF16, to_bf16 = a.out.dtype == DType::BF16;
  if (from_bf16 && to_bf16) return run<bf16, bf16>(ctx, a, weight);
  if (from_bf16) return run<bf16, float>(ctx, a, weight);
  if (to_bf16) return run<float, bf16>(ctx, a, weight);
  run<float, float>(ctx, a, weight);
}

}  // namespace iconface::cpu::ICONFACE_ISA
