// lowrank_cross_attention: h += gate * concat_j( U_vj softmax(a K_j^T) V ),  a = down_q(LN(h))
// model-specification.md 5, paper Eq. 7
// h [tokens, D] f32 in place; K [heads, memory, r], V [memory, r]; U_v [D, r], head j owning d rows. All in f32.
//
// Operands are laid out once per call: K_j^T [r, memory] times log2(e), so that the softmax is in powers of two, and
// U_vj^T [r, d]. One item is 16 tokens, all heads: their a, then head by head (K_j^T and V stay in the L1 cache)
// tiles of 4 tokens: logits, softmax, P V in rank space, and the up projection straight into h.
// klein-4B, 2,048 image tokens: 1.2 GFLOP and 12.6 million exponentials per block, 50 MB of h. Limit: f32 arithmetic.
#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/row.h"
#include "runtime/meter.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr int64_t kBlockTokens = 16;
constexpr int kTokens = 4;                      // tokens of a tile
constexpr int kVectors = kLanes == 16 ? 4 : 2;  // vectors of a tile: kTokens * kVectors accumulators
constexpr int64_t kPanel = kVectors * kLanes;
constexpr float kLog2e = 1.44269504f;

ICONFACE_INLINE int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

struct Shape {
  int64_t width, heads, d, memory, rank;
  int64_t memory_padded, d_padded, rank_padded;
};

struct Operands {
  float* query_down;  // [r, D]
  float* keys;        // [heads, r, memory_padded], times log2(e)
  float* values;      // [memory, rank_padded]
  float* value_up;    // [heads, r, d_padded]
};

/// One worker's own memory.
struct Scratch {
  float* normalised;  // [kTokens, D]
  float* a;           // [kBlockTokens, r]
  float* logits;      // [kTokens, memory_padded]
  float* mixed;       // [kTokens, rank_padded]: softmax(a K^T) V
};

void lay_out(Context& ctx, const op::LowrankCrossAttentionArgs& a, const Shape& s, const Operands& to, float* row) {
  const auto weight_row = [&](const Tensor& weight, int64_t index, float* out) {
    widen_row(weight.as<char>() + index * weight.stride[0] * dtype_bytes(weight.dtype), weight.dtype, out,
              weight.last());
  };
  parallel_for(ctx.pool, s.heads, [&](int64_t j, int worker) {
    const float* keys = a.keys.as<const float>() + j * s.memory * s.rank;
    float* transposed = to.keys + j * s.rank * s.memory_padded;
    for (int64_t i = 0; i < s.rank; i++)
      for (int64_t m = 0; m < s.memory_padded; m++)
        transposed[i * s.memory_padded + m] = m < s.memory ? keys[m * s.rank + i] * kLog2e : 0.0f;
    float* up = to.value_up + j * s.rank * s.d_padded;
    float* one = row + worker * s.rank;
    for (int64_t c = 0; c < s.d_padded; c++) {
      if (c < s.d) weight_row(a.value_up, j * s.d + c, one);
      for (int64_t i = 0; i < s.rank; i++) up[i * s.d_padded + c] = c < s.d ? one[i] : 0.0f;
    }
  });
  for (int64_t i = 0; i < s.rank; i++) weight_row(a.query_down, i, to.query_down + i * s.width);
  for (int64_t m = 0; m < s.memory; m++)
    for (int64_t i = 0; i < s.rank_padded; i++)
      to.values[m * s.rank_padded + i] = i < s.rank ? a.values.as<const float>()[m * s.rank + i] : 0.0f;
}

/// a[t] = down_q(LN(h[t])) for kTokens tokens, in tiles of kTokens x kVectors ranks.
void project_down(const float* const* h, const Shape& s, const float* query_down, float* normalised, float* a) {
  const int64_t n = s.width;
  for (int t = 0; t < kTokens; t++) {
    const Moments m = moments(h[t], n);
    for (int64_t c = 0; c < n; c += kLanes)
      store_some(normalised + t * n + c, (load_some(h[t] + c, n - c) - m.mean) * m.inverse_deviation, n - c);
  }
  for (int64_t i = 0; i < s.rank; i += kVectors) {
    const float* weight[kVectors];
    for (int v = 0; v < kVectors; v++) weight[v] = query_down + std::min(i + v, s.rank - 1) * n;
    F total[kTokens][kVectors] = {};
    const auto step = [&](int64_t c, auto read) {
      F w[kVectors];
      for (int v = 0; v < kVectors; v++) w[v] = read(weight[v] + c);
      for (int t = 0; t < kTokens; t++) {
        const F x = read(normalised + t * n + c);
        for (int v = 0; v < kVectors; v++) total[t][v] += x * w[v];
      }
    };
    int64_t c = 0;
    for (; c + kLanes <= n; c += kLanes) step(c, [](const float* p) { return load(p); });
    if (c < n) step(c, [&](const float* p) { return load_some(p, n - c); });
    for (int t = 0; t < kTokens; t++)
      for (int64_t v = 0; v < std::min<int64_t>(kVectors, s.rank - i); v++) a[t * s.rank + i + v] = sum(total[t][v]);
  }
}

/// tile[t][v] = sum_i x[t][i] * panel[i][v], panel rows `stride` apart.
ICONFACE_INLINE void multiply_tile(const float* x, int64_t x_stride, const float* panel, int64_t stride, int64_t rank,
                                   F (&tile)[kTokens][kVectors]) {
  for (int t = 0; t < kTokens; t++)
    for (int v = 0; v < kVectors; v++) tile[t][v] = F{};
  for (int64_t i = 0; i < rank; i++) {
    F p[kVectors];
    for (int v = 0; v < kVectors; v++) p[v] = load(panel + i * stride + v * kLanes);
    for (int t = 0; t < kTokens; t++) {
      const F broadcast = splat(x[t * x_stride + i]);
      for (int v = 0; v < kVectors; v++) tile[t][v] += broadcast * p[v];
    }
  }
}

/// logits = 2^(a K^T - maximum) for kTokens tokens; inverse_sum[t] = 1 / their sum. Padding gives 0.
void softmax(const float* a, const float* keys, const Shape& s, float* logits, float* inverse_sum) {
  F top[kTokens];
  for (int t = 0; t < kTokens; t++) top[t] = splat(-__builtin_inff());
  for (int64_t m = 0; m < s.memory_padded; m += kPanel) {
    F tile[kTokens][kVectors];
    multiply_tile(a, s.rank, keys + m, s.memory_padded, s.rank, tile);
    for (int t = 0; t < kTokens; t++)
      for (int v = 0; v < kVectors; v++) {
        const int64_t begin = m + v * kLanes, left = s.memory - begin;
        const F logit = left >= kLanes ? tile[t][v] : first_lanes(tile[t][v], left, -__builtin_inff());
        top[t] = max(top[t], logit);
        store(logits + t * s.memory_padded + begin, logit);
      }
  }
  for (int t = 0; t < kTokens; t++) {
    float* row = logits + t * s.memory_padded;
    const float maximum = largest(top[t]);
    F total[kVectors] = {};
    for (int64_t m = 0; m < s.memory_padded; m += kPanel)
      for (int v = 0; v < kVectors; v++) {
        const F p = exp2_nonpositive(load(row + m + v * kLanes) - maximum);
        total[v] += p;
        store(row + m + v * kLanes, p);
      }
    for (int v = 1; v < kVectors; v++) total[0] += total[v];
    inverse_sum[t] = 1.0f / sum(total[0]);
  }
}

/// mixed[t] = inverse_sum[t] * sum_m P[t][m] V[m]; even and odd memory tokens apart, to keep the pipelines full.
void mix_values(const float* p, const float* inverse_sum, const float* values, const Shape& s, float* mixed) {
  for (int64_t i = 0; i < s.rank_padded; i += kLanes) {
    F even[kTokens] = {}, odd[kTokens] = {};
    int64_t m = 0;
    for (; m + 2 <= s.memory; m += 2) {
      const F v0 = load(values + m * s.rank_padded + i), v1 = load(values + (m + 1) * s.rank_padded + i);
      for (int t = 0; t < kTokens; t++) {
        even[t] += splat(p[t * s.memory_padded + m]) * v0;
        odd[t] += splat(p[t * s.memory_padded + m + 1]) * v1;
      }
    }
    for (int t = 0; t < kTokens; t++) {
      if (m < s.memory) even[t] += splat(p[t * s.memory_padded + m]) * load(values + m * s.rank_padded + i);
      store(mixed + t * s.rank_padded + i, (even[t] + odd[t]) * inverse_sum[t]);
    }
  }
}

/// h[t] += gate * U_vj mixed[t] for the first `count` tokens; h points at head j's slice.
void project_up(float* const* h, int64_t count, const float* mixed, const float* value_up, const Shape& s, float gate) {
  for (int64_t c = 0; c < s.d; c += kPanel) {
    F tile[kTokens][kVectors];
    multiply_tile(mixed, s.rank_padded, value_up + c, s.d_padded, s.rank, tile);
    for (int64_t t = 0; t < count; t++)
      for (int v = 0; v < kVectors; v++) {
        const int64_t at = c + v * kLanes, left = s.d - at;
        if (left > 0) store_some(h[t] + at, load_some(h[t] + at, left) + gate * tile[t][v], left);
      }
  }
}

/// All of a block of `count` <= kBlockTokens tokens. Tiles that stick out repeat the last token and write it once.
void update_block(float* const* h, int64_t count, const Shape& s, const Operands& o, const Scratch& scratch,
                  float gate) {
  float* slot[kBlockTokens];
  for (int64_t t = 0; t < kBlockTokens; t++) slot[t] = h[std::min(t, count - 1)];
  for (int64_t t = 0; t < count; t += kTokens)
    project_down(slot + t, s, o.query_down, scratch.normalised, scratch.a + t * s.rank);
  for (int64_t j = 0; j < s.heads; j++)
    for (int64_t t = 0; t < count; t += kTokens) {
      float inverse_sum[kTokens];
      softmax(scratch.a + t * s.rank, o.keys + j * s.rank * s.memory_padded, s, scratch.logits, inverse_sum);
      mix_values(scratch.logits, inverse_sum, o.values, s, scratch.mixed);
      float* slice[kTokens];
      for (int i = 0; i < kTokens; i++) slice[i] = slot[t + i] + j * s.d;
      project_up(slice, std::min<int64_t>(kTokens, count - t), scratch.mixed, o.value_up + j * s.rank * s.d_padded, s,
                 gate);
    }
}

}  // namespace

void lowrank_cross_attention(Context& ctx, const op::LowrankCrossAttentionArgs& a) {
  const int64_t heads = a.keys.shape[0], memory = a.keys.shape[1], rank = a.keys.shape[2], d = a.h.last() / heads;
  const Shape s = {
      a.h.last(), heads, d, memory, rank, round_up(memory, kPanel), round_up(d, kPanel), round_up(rank, kLanes)};
  Workspace::Frame frame(ctx.workspace);
  const auto floats = [&](int64_t n) { return static_cast<float*>(ctx.workspace.bytes(n * 4)); };
  const int64_t workers = ctx.pool.workers();
  const Operands operands = {floats(rank * s.width), floats(heads * rank * s.memory_padded),
                             floats(memory * s.rank_padded), floats(heads * rank * s.d_padded)};
  const Scratch all = {floats(workers * kTokens * s.width), floats(workers * kBlockTokens * rank),
                       floats(workers * kTokens * s.memory_padded), floats(workers * kTokens * s.rank_padded)};
  float* row = floats(workers * rank);
  if (ctx.planning()) return;

  lay_out(ctx, a, s, operands, row);
  const int64_t rows = a.h.rows();
  const Portion portion(ctx, 0, 1);
  parallel_for(ctx.pool, (rows + kBlockTokens - 1) / kBlockTokens, [&](int64_t item, int worker) {
    const int64_t begin = item * kBlockTokens, count = std::min(kBlockTokens, rows - begin);
    float* h[kBlockTokens];
    for (int64_t t = 0; t < count; t++) h[t] = a.h.row<float>(begin + t);
    const Scratch mine = {all.normalised + worker * kTokens * s.width, all.a + worker * kBlockTokens * rank,
                          all.logits + worker * kTokens * s.memory_padded,
                          all.mixed + worker * kTokens * s.rank_padded};
    update_block(h, count, s, operands, mine, a.gate);
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
