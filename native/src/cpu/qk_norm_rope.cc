// qk_norm_rope: y = RMS(x) * scale over each head, then the pair (e, o) -> (cos e - sin o, sin e + cos o)
// model-specification.md 2, 3, 7
// In place on q and k [batch, tokens, H, d], in f32, rounded once at the end. With the learned scale folded into
// the angles a head is y * own + swap(y) * other, where per pair own = (cos g_e, cos g_o), other = (-sin g_o, sin g_e);
// a token's `own` and `other` serve all its heads. Pairs are neighbours (2m, 2m + 1), or lie half a head apart (m, m +
// d/2): swap(y) then exchanges the halves. One item is a block of tokens.
// Bytes: q and k read and written once, klein-4B 2,560 tokens bf16: 63 MB. Limit: copy bandwidth.
#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/row.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr float kEpsilon = 1e-6f;
constexpr int64_t kBlockTokens = 8;

/// own, other [d] of one token, from its angles and the learned scale.
void fold(const float* cos, const float* sin, const float* scale, float* own, float* other, int64_t d,
          op::RopePairs pairs) {
  const bool halves = pairs == op::RopePairs::Halves;
  for (int64_t m = 0; m < d / 2; m++) {
    const int64_t e = halves ? m : 2 * m, o = halves ? m + d / 2 : 2 * m + 1;
    own[e] = cos[m] * scale[e];
    own[o] = cos[m] * scale[o];
    other[e] = -sin[m] * scale[o];
    other[o] = sin[m] * scale[e];
  }
}

template <class T>
ICONFACE_INLINE void rotate_head(T* head, const float* own, const float* other, int64_t d, op::RopePairs pairs) {
  const float squares = sum_terms(d, [&](int64_t i, int64_t lanes) {
    const F v = load_some(head + i, lanes);
    return v * v;
  });
  const float inverse = 1.0f / __builtin_sqrtf(squares / static_cast<float>(d) + kEpsilon);
  if (pairs == op::RopePairs::Halves) {
    const int64_t half = d / 2;
    for (int64_t i = 0, n = half; n > 0; i += kLanes, n -= kLanes) {
      const F e = load_some(head + i, n) * inverse, o = load_some(head + half + i, n) * inverse;
      store_some(head + i, e * load_some(own + i, n) + o * load_some(other + i, n), n);
      store_some(head + half + i, o * load_some(own + half + i, n) + e * load_some(other + half + i, n), n);
    }
    return;
  }
  for (int64_t i = 0; i < d; i += kLanes) {
    const F y = load_some(head + i, d - i) * inverse;
    store_some(head + i, y * load_some(own + i, d - i) + swap_pairs(y) * load_some(other + i, d - i), d - i);
  }
}

template <class T>
void rotate_tensor(Context& ctx, const Tensor& x, const float* scale, const op::QkNormRopeArgs& a, float* scratch) {
  const int64_t batch = x.shape[0], tokens = x.shape[1], heads = x.shape[2], d = x.shape[3];
  parallel_for(ctx.pool, (tokens + kBlockTokens - 1) / kBlockTokens, [&](int64_t item, int worker) {
    float* own = scratch + worker * 2 * d;
    float* other = own + d;
    for (int64_t token = item * kBlockTokens; token < std::min(tokens, (item + 1) * kBlockTokens); token++) {
      fold(a.cos.row<const float>(token), a.sin.row<const float>(token), scale, own, other, d, a.pairs);
      for (int64_t b = 0; b < batch; b++)
        for (int64_t h = 0; h < heads; h++) {
          T* head = x.as<T>() + b * x.stride[0] + token * x.stride[1] + h * x.stride[2];
          rotate_head(head, own, other, d, a.pairs);
        }
    }
  });
}

}  // namespace

void qk_norm_rope(Context& ctx, const op::QkNormRopeArgs& a) {
  const int64_t d = 2 * a.cos.last();
  Workspace::Frame frame(ctx.workspace);
  float* scale = static_cast<float*>(ctx.workspace.bytes(d * 4));
  float* scratch = static_cast<float*>(ctx.workspace.bytes(ctx.pool.workers() * 2 * d * 4));
  if (ctx.planning()) return;
  const auto run = [&](const Tensor& x, const Tensor& learned) {
    if (!x.defined()) return;
    widen_row(learned.data, learned.dtype, scale, d);
    if (x.dtype == DType::BF16) {
      rotate_tensor<bf16>(ctx, x, scale, a, scratch);
    } else {
      rotate_tensor<float>(ctx, x, scale, a, scratch);
    }
  };
  run(a.q, a.q_scale);
  run(a.k, a.k_scale);
}

}  // namespace iconface::cpu::ICONFACE_ISA
