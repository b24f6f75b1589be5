// attention: out = softmax(scale * q k^T) v for every head                               model-specification.md 3, 5, 7
// q, out [tokens_q, H, d] and k, v [tokens_k, G, d] in up to four segments, read where they lie (views into qkv); the
// items of a batch one after the other.
//
// First all keys and values are packed for the tile kernel (cpu/tile.h), a group of heads at a time where a long
// sequence would need more than kPackedBytes: K as panels of 32 keys [d][keys], V as panels of 32 channels [keys][d].
// A segment is padded to whole panels; padded keys get the score -infinity, and so do, in causal attention, later keys
// (blocks of nothing else are left out). Key/value heads are packed once for all the query heads that share them.
// Then one item is a head and a block of query rows. Per block of keys (K and V stay in the L2 cache) and tile of
// 14 rows: scores = tile(q, K); p = 2^(c (score - maximum)), c = scale * log2(e); out = out * 2^(c (old - new
// maximum)) + tile(p, V). Scores and p of a tile stay in the L1 cache. bf16: scores, sums and out in f32, p rounded
// to bf16. A row's result depends on the blocks of keys, which depend on the shape alone, and not on how rows are
// split.
//
// Work: 4 x tokens_q x tokens_k x H x d (klein-4B, 2,560 tokens: 80.5 GFLOP a block); 1 exponential per 512 FLOP.
// Limit: arithmetic; bf16 reaches 81 to 90 % of linear's rate (native/NOTES.md).
#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/tile.h"
#include "runtime/meter.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr int64_t kPackedBytes = 64 << 20;
constexpr int64_t kKeyBlockBytes = 256 << 10;  // of K and V together
constexpr int64_t kRowBlockBytes = 256 << 10;  // of q and out together
constexpr int64_t kMostTiles = 16, kFewestTiles = 4, kMostKeys = 512, kFewestKeys = 128;
constexpr int64_t kPackPanels = 4;  // key panels of one packing item
constexpr float kLog2e = 1.44269504f;

ICONFACE_INLINE int64_t clamp(int64_t n, int64_t low, int64_t high) { return std::max(low, std::min(n, high)); }

/// Sizes that follow from the shape alone.
template <class Product>
struct Plan {
  int64_t heads, d;        // heads of k and v
  int64_t sharing = 1;     // query heads of each
  int64_t key_panels = 0;  // of all segments
  int64_t channel_panels;  // kTileCols channels each
  int64_t units_d;         // units of a row of q or k
  int64_t key_block;       // keys of a block, a multiple of kTileCols
  int64_t most_tiles;      // tiles of rows in an item of work
  int64_t group;           // heads of k and v packed at a time
  float c;                 // scale * log2(e)

  explicit Plan(const op::AttentionArgs& a) {
    const op::AttentionSegment* any = a.segment.data();
    while (!any->k.defined()) any++;
    heads = any->k.shape[1];
    d = any->k.shape[2];
    for (int i = 0; i < a.segments; i++) {
      if (a.segment[i].k.defined()) key_panels += ceil_div(a.segment[i].k.shape[0], kTileCols);
      if (a.segment[i].q.defined()) sharing = a.segment[i].q.shape[1] / heads;
    }
    channel_panels = ceil_div(d, kTileCols);
    units_d = units_of<Product>(d);
    const int64_t key_bytes = 4 * (units_d + channel_panels * kTileCols / Product::kPerUnit);
    key_block = clamp(kKeyBlockBytes / key_bytes, kFewestKeys, kMostKeys) / kTileCols * kTileCols;
    most_tiles = clamp(kRowBlockBytes / (4 * (units_d + width()) * kTileRows), kFewestTiles, kMostTiles);
    group = clamp(kPackedBytes / (4 * (k_units() + v_units())), 1, heads);
    group = ceil_div(heads, ceil_div(heads, group));
    c = (a.scale > 0 ? a.scale : 1.0f / __builtin_sqrtf(static_cast<float>(d))) * kLog2e;
  }
  int64_t width() const { return channel_panels * kTileCols; }                  // of a row of out while it is summed
  int64_t k_panel() const { return units_d * kTileCols; }                       // units
  int64_t v_step() const { return kTileCols * kTileCols / Product::kPerUnit; }  // units of 32 keys in a channel panel
  int64_t v_panel() const { return key_panels * v_step(); }
  int64_t k_units() const { return key_panels * k_panel(); }  // of one head
  int64_t v_units() const { return channel_panels * v_panel(); }
};

/// One worker's own memory, for a block of rows; scores and p for one tile of rows and one block of keys.
struct Scratch {
  unit* q;               // [rows, units_d]
  float* out;            // [rows, width]
  float *maximum, *sum;  // [rows] each
  float* scores;         // [kTileRows, key_block]
  unit* p;               // [kTileRows, key_block / kPerUnit]
};

/// The key segment that `panel` falls in; afterwards `panel` counts from its beginning.
ICONFACE_INLINE const op::AttentionSegment& key_segment(const op::AttentionArgs& a, int64_t& panel) {
  for (int i = 0;; i++) {
    const op::AttentionSegment& s = a.segment[i];
    if (!s.k.defined()) continue;
    const int64_t panels = ceil_div(s.k.shape[0], kTileCols);
    if (panel < panels) return s;
    panel -= panels;
  }
}

/// Keys that exist in a panel: all kTileCols, but for the last one of a segment.
ICONFACE_INLINE int64_t keys_in_panel(const op::AttentionArgs& a, int64_t panel) {
  const op::AttentionSegment& s = key_segment(a, panel);
  return std::min<int64_t>(kTileCols, s.k.shape[0] - panel * kTileCols);
}

/// Packs one panel of keys of `head` and the same rows of v; k_to and v_to are that head's memory.
template <class T, class Product>
void pack_panel(const op::AttentionArgs& a, const Plan<Product>& plan, int64_t head, int64_t panel, unit* k_to,
                unit* v_to) {
  int64_t local = panel;
  const op::AttentionSegment& s = key_segment(a, local);
  const int64_t first = local * kTileCols, keys = std::min<int64_t>(kTileCols, s.k.shape[0] - first);
  const T* k = s.k.as<const T>() + first * s.k.stride[0] + head * s.k.stride[1];
  const T* v = s.v.as<const T>() + first * s.v.stride[0] + head * s.v.stride[1];
  for (int half = 0; half < 2; half++)
    pack_rows<Product>(k + half * kLanes * s.k.stride[0], s.k.stride[0], clamp(keys - half * kLanes, 0, kLanes), plan.d,
                       k_to + panel * plan.k_panel() + half * kLanes);
  for (int64_t channel = 0; channel < plan.width(); channel += kLanes) {
    unit* to = v_to + channel / kTileCols * plan.v_panel() + panel * plan.v_step() + channel % kTileCols;
    pack_columns<Product>(v + channel, s.v.stride[0], clamp(plan.d - channel, 0, kLanes), keys, to);
    for (int64_t u = units_of<Product>(keys); u < kTileCols / Product::kPerUnit; u++)
      store_units(to + u * kTileCols, U{});
  }
}

/// p = 2^(c (score - maximum)) of one row, as the product's type; returns their sum.
template <class Product>
ICONFACE_INLINE float exponentials(const float* scores, int64_t keys, float c, float maximum, unit* p) {
  auto* to = reinterpret_cast<typename Product::Element*>(p);
  const F minus = splat(-maximum * c), factor = splat(c);
  F total[2] = {};
  for (int64_t i = 0; i < keys; i += 2 * kLanes)
    for (int j = 0; j < 2; j++) {
      const F e = exp2_nonpositive(load(scores + i + j * kLanes) * factor + minus);
      total[j] += e;
      store(to + i + j * kLanes, e);
    }
  return sum(total[0] + total[1]);
}

/// One step of the streamed softmax for row `row` of the block: scores of `keys` keys become p, and the row's maximum,
/// sum and output so far are brought to the new maximum.
template <class Product>
ICONFACE_INLINE void update_row(const Plan<Product>& plan, const Scratch& s, int64_t row, const float* scores,
                                int64_t keys, unit* p) {
  F top[2] = {load(scores), load(scores + kLanes)};
  for (int64_t i = 2 * kLanes; i < keys; i += 2 * kLanes)
    for (int j = 0; j < 2; j++) top[j] = max(top[j], load(scores + i + j * kLanes));
  const float before = s.maximum[row], now = std::max(before, largest(max(top[0], top[1])));
  const float added = exponentials<Product>(scores, keys, plan.c, now, p);
  if (now == before) {
    s.sum[row] += added;
    return;
  }
  const float shrink = exp2_nonpositive(splat((before - now) * plan.c))[0];
  s.maximum[row] = now;
  s.sum[row] = s.sum[row] * shrink + added;
  float* out = s.out + row * plan.width();
  for (int64_t i = 0; i < plan.width(); i += kLanes) store(out + i, load(out + i) * shrink);
}

/// Hides the scores of keys [first, first + keys) that come after the query, for rows from query `query` on.
ICONFACE_INLINE void hide_later_keys(float* scores, int64_t stride, int64_t query, int64_t rows, int64_t first,
                                     int64_t keys) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = std::max<int64_t>(0, query + r + 1 - first); j < keys; j++)
      scores[r * stride + j] = -__builtin_inff();
}

/// Adds keys [first, first + panels) of one head, packed at k and v, to a tile of rows; the first of them is query
/// `query` of its segment.
template <class Product>
void attend(const op::AttentionArgs& a, const Plan<Product>& plan, const Scratch& s, int64_t row, int64_t rows,
            int64_t query, const unit* k, const unit* v, int64_t first, int64_t panels) {
  const TileA q = {s.q + row * plan.units_d, plan.units_d, plan.units_d};
  for (int64_t i = 0; i < panels; i++) {
    float* scores = s.scores + i * kTileCols;
    tile<Product>(rows, q, k + (first + i) * plan.k_panel(), scores, plan.key_block, false);
    const int64_t keys = keys_in_panel(a, first + i);
    for (int64_t r = 0; keys < kTileCols && r < rows; r++)
      for (int64_t j = keys; j < kTileCols; j++) scores[r * plan.key_block + j] = -__builtin_inff();
  }
  if (a.causal) hide_later_keys(s.scores, plan.key_block, query, rows, first * kTileCols, panels * kTileCols);
  const int64_t p_stride = plan.key_block / Product::kPerUnit;
  for (int64_t r = 0; r < rows; r++)
    update_row(plan, s, row + r, s.scores + r * plan.key_block, panels * kTileCols, s.p + r * p_stride);
  const TileA p = {s.p, p_stride, panels * kTileCols / Product::kPerUnit};
  for (int64_t i = 0; i < plan.channel_panels; i++)
    tile<Product>(rows, p, v + i * plan.v_panel() + first * plan.v_step(), s.out + row * plan.width() + i * kTileCols,
                  plan.width(), true);
}

/// All of rows [begin, begin + rows) of a query segment, for one head.
template <class T, class Product>
void attend_rows(const op::AttentionArgs& a, const Plan<Product>& plan, const Scratch& s,
                 const op::AttentionSegment& segment, int64_t head, int64_t begin, int64_t rows, const unit* k,
                 const unit* v) {
  for (int64_t r = 0; r < rows; r++) {
    copy_units<Product>(segment.q.as<const T>() + (begin + r) * segment.q.stride[0] + head * segment.q.stride[1],
                        plan.d, s.q + r * plan.units_d);
    s.maximum[r] = -__builtin_inff();
    s.sum[r] = 0;
  }
  std::fill(s.out, s.out + rows * plan.width(), 0.0f);
  const int64_t step = plan.key_block / kTileCols;
  for (int64_t first = 0; first < plan.key_panels; first += step)
    for (int64_t row = 0; row < rows; row += kTileRows) {
      const int64_t tile_rows = std::min<int64_t>(kTileRows, rows - row), query = begin + row;
      if (a.causal && first * kTileCols >= query + tile_rows) continue;  // all of the block comes later
      attend(a, plan, s, row, tile_rows, query, k, v, first, std::min(step, plan.key_panels - first));
    }

  const auto finish = [&](auto* out) {
    out += begin * segment.out.stride[0] + head * segment.out.stride[1];
    for (int64_t r = 0; r < rows; r++, out += segment.out.stride[0]) {
      const float inverse = 1.0f / s.sum[r];
      for (int64_t i = 0; i < plan.d; i += kLanes)
        store_some(out + i, load(s.out + r * plan.width() + i) * inverse, plan.d - i);
    }
  };
  if (segment.out.dtype == DType::BF16) {
    finish(segment.out.as<bf16>());
  } else {
    finish(segment.out.as<float>());
  }
}

/// Blocks of rows: as large as the cache allows, but several for every worker.
struct RowBlocks {
  int64_t rows;          // of a full block
  int64_t per_head = 0;  // blocks of all segments
  RowBlocks(const op::AttentionArgs& a, int64_t heads, int64_t most_tiles, int64_t workers) {
    int64_t tiles = 0;
    for (int i = 0; i < a.segments; i++)
      if (a.segment[i].q.defined()) tiles += ceil_div(a.segment[i].q.shape[0], kTileRows);
    rows = kTileRows * clamp(tiles * heads / (4 * workers), 1, most_tiles);
    for (int i = 0; i < a.segments; i++)
      if (a.segment[i].q.defined()) per_head += ceil_div(a.segment[i].q.shape[0], rows);
  }
};

template <class T, class Product>
void run(Context& ctx, const op::AttentionArgs& a, int64_t item, int64_t items) {
  const Plan<Product> plan(a);
  const int64_t workers = ctx.pool.workers();
  const RowBlocks blocks(a, plan.group * plan.sharing, plan.most_tiles, workers);
  Workspace::Frame frame(ctx.workspace);
  const auto units = [&](int64_t n) { return static_cast<unit*>(ctx.workspace.bytes(n * 4)); };
  const auto floats = [&](int64_t n) { return static_cast<float*>(ctx.workspace.bytes(n * 4)); };
  unit* k = units(plan.group * plan.k_units());
  unit* v = units(plan.group * plan.v_units());
  const int64_t p_units = kTileRows * plan.key_block / Product::kPerUnit;
  const Scratch all = {units(workers * blocks.rows * plan.units_d),
                       floats(workers * blocks.rows * plan.width()),
                       floats(workers * blocks.rows),
                       floats(workers * blocks.rows),
                       floats(workers * kTileRows * plan.key_block),
                       units(workers * p_units)};
  if (ctx.planning()) return;

  const int64_t pack_units = ceil_div(plan.key_panels, kPackPanels);
  for (int64_t head0 = 0; head0 < plan.heads; head0 += plan.group) {
    const int64_t heads = std::min(plan.group, plan.heads - head0);
    parallel_for(ctx.pool, heads * pack_units, [&](int64_t unit_index, int) {
      const int64_t h = unit_index / pack_units, first = unit_index % pack_units * kPackPanels;
      for (int64_t panel = first; panel < std::min(first + kPackPanels, plan.key_panels); panel++)
        pack_panel<T>(a, plan, head0 + h, panel, k + h * plan.k_units(), v + h * plan.v_units());
    });
    const int64_t groups = ceil_div(plan.heads, plan.group);
    const Portion portion(ctx, item * groups + head0 / plan.group, items * groups);
    parallel_for(ctx.pool, heads * plan.sharing * blocks.per_head, [&](int64_t unit_index, int worker) {
      const int64_t head = unit_index / blocks.per_head, h = head / plan.sharing;
      int64_t block = unit_index % blocks.per_head;
      const op::AttentionSegment* segment = a.segment.data();
      for (;; segment++) {
        if (!segment->q.defined()) continue;
        const int64_t here = ceil_div(segment->q.shape[0], blocks.rows);
        if (block < here) break;
        block -= here;
      }
      const int64_t begin = block * blocks.rows, rows = std::min(blocks.rows, segment->q.shape[0] - begin);
      const Scratch mine = {all.q + worker * blocks.rows * plan.units_d,
                            all.out + worker * blocks.rows * plan.width(),
                            all.maximum + worker * blocks.rows,
                            all.sum + worker * blocks.rows,
                            all.scores + worker * kTileRows * plan.key_block,
                            all.p + worker * p_units};
      attend_rows<T>(a, plan, mine, *segment, head0 * plan.sharing + head, begin, rows, k + h * plan.k_units(),
                     v + h * plan.v_units());
    });
  }
}

}  // namespace

void attention(Context& ctx, const op::AttentionArgs& a) {
  const op::AttentionSegment* any = a.segment.data();
  while (!any->k.defined()) any++;
  const int64_t batch = any->k.shape[0];
  for (int64_t b = 0; b < batch; b++) {
    const auto item = [b](const Tensor& t) { return t.defined() ? t.select(0, b) : t; };
    op::AttentionArgs one = a;
    for (op::AttentionSegment& s : one.segment) s = {item(s.q), item(s.out), item(s.k), item(s.v)};
    any->k.dtype == DType::BF16 ? run<bf16, Bf16Product>(ctx, one, b, batch) : run<float, Fma>(ctx, one, b, batch);
  }
}

}  // namespace iconface::cpu::ICONFACE_ISA
