// The small element-by-element operations on f32: SiLU and sum of modulation vectors, the sampler's step, and packing
// of noise. One unit is a block of elements (or of rows); all are limited by memory, and none matters beside a block.
#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr int64_t kBlock = 1 << 14;

/// out[i] = f(i) for all i < n; f computes kLanes elements from `i`, of which the first `lanes` exist.
template <class Function>
ICONFACE_INLINE void map(Context& ctx, float* out, int64_t n, Function f) {
  parallel_for(ctx.pool, (n + kBlock - 1) / kBlock, [&](int64_t unit, int) {
    const int64_t end = std::min(n, (unit + 1) * kBlock);
    for (int64_t i = unit * kBlock; i < end; i += kLanes) store_some(out + i, f(i, end - i), end - i);
  });
}

}  // namespace

void silu(Context& ctx, const op::SiluArgs& a) {
  if (ctx.planning()) return;
  const float* x = a.x.as<const float>();
  map(ctx, a.out.as<float>(), a.x.elements(), [=](int64_t i, int64_t lanes) { return silu(load_some(x + i, lanes)); });
}

void add(Context& ctx, const op::AddArgs& args) {
  if (ctx.planning()) return;
  const float *a = args.a.as<const float>(), *b = args.b.as<const float>();
  map(ctx, args.out.as<float>(), args.a.elements(),
      [=](int64_t i, int64_t lanes) { return load_some(a + i, lanes) + load_some(b + i, lanes); });
}

/// latents += step * (u_empty + guidance * (u_prompt - u_empty))                               model-specification.md 6
void flow_step(Context& ctx, const op::FlowStepArgs& a) {
  if (ctx.planning()) return;
  const int64_t rows = a.latents.rows(), n = a.latents.last(), block = std::max<int64_t>(1, kBlock / n);
  const float step = a.step_at.defined() ? *a.step_at.as<const float>() : a.step;
  parallel_for(ctx.pool, (rows + block - 1) / block, [&](int64_t unit, int) {
    for (int64_t row = unit * block; row < std::min(rows, (unit + 1) * block); row++) {
      float* z = a.latents.row<float>(row);
      const float* prompt = a.u_prompt.row<const float>(row);
      const float* empty = a.u_empty.defined() ? a.u_empty.row<const float>(row) : nullptr;
      for (int64_t i = 0; i < n; i += kLanes) {
        F u = load_some(prompt + i, n - i);
        if (empty != nullptr) {
          const F e = load_some(empty + i, n - i);
          u = e + a.guidance * (u - e);
        }
        store_some(z + i, load_some(z + i, n - i) + step * u, n - i);
      }
    }
  });
}

/// [C, tokens] -> [tokens, C] in square tiles, so that both sides use whole cache lines.
void transpose(Context& ctx, const op::TransposeArgs& a) {
  if (ctx.planning()) return;
  constexpr int64_t kTile = 16;
  const int64_t channels = a.x.shape[0], tokens = a.x.shape[1];
  const float* x = a.x.as<const float>();
  float* out = a.out.as<float>();
  parallel_for(ctx.pool, (tokens + kTile - 1) / kTile, [&](int64_t unit, int) {
    const int64_t begin = unit * kTile, end = std::min(tokens, begin + kTile);
    for (int64_t c0 = 0; c0 < channels; c0 += kTile)
      for (int64_t t = begin; t < end; t++)
        for (int64_t c = c0; c < std::min(channels, c0 + kTile); c++) out[t * channels + c] = x[c * tokens + t];
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
