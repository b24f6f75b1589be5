// linear: out = epilogue(x W^T), x [M, K], W [N, K] row-major.
//
// x is copied once per chunk of M into the units of the product (tile.h), rows padded so that they do not share cache
// sets. An item of work is a slab of W's panels for a run of x's rows: the slab is packed (transposed, converted) into
// the thread's own L2 and every tile of rows passes over it. Panels are packed once per chunk, so packing costs
// about 3 / rows of the work. When K is so long that a panel would not stay in L2, K is cut into blocks and the sums
// wait in memory between blocks. For Swiglu a panel pairs one vector of rows of each half of W, so that silu(a) * b is
// local.
//
// FLUX.2 klein, 1024 tokens, linear1: 2 x 1024 x 27648 x 3072 = 174 GFLOP against 176 MB read: bound by arithmetic.
// Up to kFewRows rows (modulation vectors) are bound by reading W instead, which is then read once, unpacked.
// The products of a group are made one after the other, heads are normalised and rotated in a pass of their own.
// e4m3 is widened like the others, multiplied as f32, and the sums are scaled before the epilogue.
#include "cpu/kernels.h"
#include "cpu/tile.h"
#include "runtime/meter.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

/// As with_type, e4m3 too: in with_type, all other operations would be compiled for it.
template <class Call>
ICONFACE_INLINE void with_operand(DType type, Call&& f) {
  if (type == DType::F8E4M3)
    f(static_cast<const e4m3*>(nullptr));
  else
    with_type(type, f);
}

constexpr int64_t kFewRows = 4;
constexpr int64_t kChunkRows = 1024;       // rows of x packed at a time
constexpr int64_t kBlockUnits = 1536;      // longest block of K, in units
constexpr int64_t kSlabBytes = 512 << 10;  // packed weights of one item of work: half of a 1 MB L2

/// The columns of out that one panel makes, and the rows of W that go into its two vectors.
struct Panel {
  int64_t column, columns;  // of out
  int64_t row[2], rows[2];  // of W
};

struct Shape {
  int64_t m, n, k, panels;
  bool swiglu;

  explicit Shape(const op::LinearArgs& a)
      : m(a.x.rows()), n(a.out.last()), k(a.x.last()), swiglu(a.activation == op::Activation::Swiglu) {
    panels = ceil_div(n, width());
  }
  ICONFACE_INLINE int64_t width() const { return swiglu ? kLanes : kTileCols; }
  ICONFACE_INLINE Panel panel(int64_t index) const {
    Panel p;
    p.column = index * width();
    p.columns = std::min(n - p.column, width());
    p.row[0] = p.column;
    p.row[1] = swiglu ? n + p.column : p.column + kLanes;
    p.rows[0] = std::min<int64_t>(p.columns, kLanes);
    p.rows[1] = swiglu ? p.columns : p.columns - p.rows[0];
    return p;
  }
};

// ---- epilogue -------------------------------------------------------------------------------------------------------

/// Where a tile's rows go, worked out once for all panels that pass over them.
struct OutRows {
  int64_t count;
  void* out[kTileRows];
  const float* gate[kTileRows];  // null: none
  float scale[kTileRows];        // of x, e4m3
};

OutRows out_rows(const op::LinearArgs& a, int64_t first, int64_t count) {
  OutRows rows;
  rows.count = count;
  const int64_t tokens = a.out.rank > 1 ? a.out.shape[a.out.rank - 2] : 1;
  for (int64_t i = 0; i < count; i++) {
    rows.out[i] =
        a.out.dtype == DType::F32 ? static_cast<void*>(a.out.row<float>(first + i)) : a.out.row<bf16>(first + i);
    rows.gate[i] = nullptr;
    rows.scale[i] = a.x_scale.defined() ? *a.x_scale.row<float>(first + i) : 1.0f;
    int64_t token = (first + i) % tokens;
    for (int s = 0; s < a.gate.count; s++) {
      if (token >= 0 && token < a.gate.rows[s]) rows.gate[i] = a.gate.vector[s].as<float>();
      token -= a.gate.rows[s];
    }
  }
  return rows;
}

/// One vector of finished sums into columns [column, column + n) of row i.
template <class Out>
ICONFACE_INLINE void finish(const op::LinearArgs& a, const OutRows& rows, int64_t i, F v, int64_t column, int64_t n) {
  Out* to = static_cast<Out*>(rows.out[i]) + column;
  if (rows.gate[i])
    v = load_some(to, n) + load_some(rows.gate[i] + column, n) * v;
  else if (a.accumulate)
    v = load_some(to, n) + v;
  store_some(to, v, n);
}

template <class Out>
void epilogue_to(const op::LinearArgs& a, const Panel& p, const OutRows& rows, const float* sums) {
  const F zero = {};
  const float* bias = a.bias.defined() ? a.bias.as<float>() : nullptr;
  const F bias0 = bias ? load_some(bias + p.row[0], p.rows[0]) : zero;
  const F bias1 = bias && p.rows[1] > 0 ? load_some(bias + p.row[1], p.rows[1]) : zero;
  const float* scale = a.weight_scale.defined() ? a.weight_scale.as<float>() : nullptr;
  const F scale0 = scale ? load_some(scale + p.row[0], p.rows[0]) : zero;
  const F scale1 = scale && p.rows[1] > 0 ? load_some(scale + p.row[1], p.rows[1]) : zero;
  for (int64_t i = 0; i < rows.count; i++) {
    F v0 = load(sums + i * kTileCols), v1 = load(sums + i * kTileCols + kLanes);
    if (scale) v0 = v0 * rows.scale[i] * scale0, v1 = v1 * rows.scale[i] * scale1;
    v0 = v0 + bias0, v1 = v1 + bias1;
    if (a.activation == op::Activation::Swiglu) {
      finish<Out>(a, rows, i, silu(v0) * v1, p.column, p.columns);
      continue;
    }
    if (a.activation == op::Activation::Silu) v0 = silu(v0), v1 = silu(v1);
    finish<Out>(a, rows, i, v0, p.column, p.rows[0]);
    if (p.rows[1] > 0) finish<Out>(a, rows, i, v1, p.column + kLanes, p.rows[1]);
  }
}

void epilogue(const op::LinearArgs& a, const Panel& p, const OutRows& rows, const float* sums) {
  if (a.out.dtype == DType::F32)
    epilogue_to<float>(a, p, rows, sums);
  else
    epilogue_to<bf16>(a, p, rows, sums);
}

// ---- few rows: W is read once, as it lies
// -------------------------------------------------------------------------------

/// sums[m][j] = x_m . w_j for M rows of x (f32, contiguous) and J rows of W.
template <int M, int J, class T>
void dot_rows(const T* w, int64_t stride, const float* x, int64_t k, float* sums) {
  F sum[M][J] = {};
  const auto step = [&](int64_t at, int64_t n) __attribute__((always_inline)) {
    F wj[J];
#pragma GCC unroll 4
    for (int j = 0; j < J; j++) wj[j] = load_some(w + j * stride + at, n);
#pragma GCC unroll 4
    for (int m = 0; m < M; m++) {
      const F xm = load_some(x + m * k + at, n);
#pragma GCC unroll 4
      for (int j = 0; j < J; j++) sum[m][j] = sum[m][j] + xm * wj[j];
    }
  };
  int64_t at = 0;
  for (; at + kLanes <= k; at += kLanes) step(at, kLanes);
  if (at < k) step(at, k - at);
  for (int m = 0; m < M; m++)
    for (int j = 0; j < J; j++) sums[m * kTileCols + j] = ICONFACE_ISA::sum(sum[m][j]);
}

/// The sums of one panel: four rows of W at a time, then the rest one by one.
template <int M, class T>
void dot_panel(const op::LinearArgs& a, const Panel& p, const float* x, int64_t k, float* sums) {
  const int64_t stride = a.weight.stride[0];
  for (int v = 0; v < 2; v++) {
    const T* w = a.weight.as<T>() + p.row[v] * stride;
    int64_t j = 0;
    for (; j + 4 <= p.rows[v]; j += 4) dot_rows<M, 4>(w + j * stride, stride, x, k, sums + v * kLanes + j);
    for (; j < p.rows[v]; j++) dot_rows<M, 1>(w + j * stride, stride, x, k, sums + v * kLanes + j);
  }
}

void few_rows(Context& ctx, const op::LinearArgs& a, const Shape& s) {
  Workspace::Frame frame(ctx.workspace);
  float* x = static_cast<float*>(ctx.workspace.bytes(s.m * s.k * 4));
  if (ctx.planning()) return;
  with_operand(
      a.x.dtype, [&](auto* typed) __attribute__((always_inline)) {
        using T = std::remove_const_t<std::remove_pointer_t<decltype(typed)>>;
        for (int64_t i = 0; i < s.m; i++) copy_units<Fma>(a.x.row<T>(i), s.k, reinterpret_cast<unit*>(x + i * s.k));
      });
  const OutRows rows = out_rows(a, 0, s.m);
  parallel_for(ctx.pool, s.panels, [&](int64_t index, int) {
    alignas(64) float sums[kFewRows * kTileCols] = {};
    const Panel p = s.panel(index);
    with_operand(
        a.weight.dtype, [&](auto* typed) __attribute__((always_inline)) {
          using T = std::remove_const_t<std::remove_pointer_t<decltype(typed)>>;
          if (s.m == 1)
            dot_panel<1, T>(a, p, x, s.k, sums);
          else if (s.m == 2)
            dot_panel<2, T>(a, p, x, s.k, sums);
          else if (s.m == 3)
            dot_panel<3, T>(a, p, x, s.k, sums);
          else
            dot_panel<4, T>(a, p, x, s.k, sums);
        });
    epilogue(a, p, rows, sums);
  });
}

// ---- many rows: packed tiles
// ------------------------------------------------------------------------------------------

template <class Product>
void pack(const op::LinearArgs& a, const Panel& p, int64_t k_first, int64_t k, unit* to) {
  with_operand(
      a.weight.dtype, [&](auto* typed) __attribute__((always_inline)) {
        using T = std::remove_const_t<std::remove_pointer_t<decltype(typed)>>;
        const int64_t stride = a.weight.stride[0];
        for (int v = 0; v < 2; v++)
          pack_rows<Product>(a.weight.as<T>() + p.row[v] * stride + k_first, stride, p.rows[v], k, to + v * kLanes);
      });
}

/// How the work is cut; by shape alone, but for the number of row parts.
struct Cut {
  int64_t units, block, blocks;  // of K, in units: all, per block, number of blocks
  int64_t row_units;             // between rows of packed x
  int64_t slab, slabs;           // panels per slab
  int64_t chunk, chunks;         // rows of x
  int64_t parts;                 // of a chunk's rows, worked on separately where slabs are few

  template <class Product>
  static Cut of(const Shape& s, int workers) {
    Cut c;
    c.units = units_of<Product>(s.k);
    c.blocks = ceil_div(c.units, kBlockUnits);
    c.block = ceil_div(ceil_div(c.units, c.blocks), kLanes) * kLanes;
    c.blocks = ceil_div(c.units, c.block);
    c.row_units = ceil_div(c.units, 32) * 32 + 16;  // an odd number of cache lines
    c.slab = std::clamp<int64_t>(kSlabBytes / (c.block * kTileCols * 4), 1, s.panels);
    c.slabs = ceil_div(s.panels, c.slab);
    c.chunks = ceil_div(s.m, kChunkRows);
    c.chunk = ceil_div(s.m, c.chunks);
    c.chunks = ceil_div(s.m, c.chunk);
    c.parts = std::clamp<int64_t>(ceil_div(4 * workers, c.slabs), 1, ceil_div(c.chunk, 4 * kTileRows));
    return c;
  }
  ICONFACE_INLINE int64_t part_rows() const { return ceil_div(chunk, parts); }
  ICONFACE_INLINE int64_t sums_per_thread() const {
    const int64_t tiles = blocks > 1 ? ceil_div(part_rows(), kTileRows) * slab : 1;
    return tiles * kTileRows * kTileCols;
  }
};

template <class Product>
void many_rows(Context& ctx, const op::LinearArgs& a, const Shape& s) {
  const Cut c = Cut::of<Product>(s, ctx.pool.workers());
  Workspace::Frame frame(ctx.workspace);
  unit* const packed_x = static_cast<unit*>(ctx.workspace.bytes(c.chunk * c.row_units * 4));
  const int64_t slab_units = c.slab * c.block * kTileCols, sums_size = c.sums_per_thread();
  unit* const slabs = static_cast<unit*>(ctx.workspace.bytes(ctx.pool.workers() * slab_units * 4));
  float* const all_sums = static_cast<float*>(ctx.workspace.bytes(ctx.pool.workers() * sums_size * 4));
  if (ctx.planning()) return;

  for (int64_t chunk_first = 0; chunk_first < s.m; chunk_first += c.chunk) {
    const int64_t chunk_rows = std::min(c.chunk, s.m - chunk_first);
    parallel_for(ctx.pool, chunk_rows, [&](int64_t i, int) {
      with_operand(
          a.x.dtype, [&](auto* typed) __attribute__((always_inline)) {
            using T = std::remove_const_t<std::remove_pointer_t<decltype(typed)>>;
            copy_units<Product>(a.x.row<T>(chunk_first + i), s.k, packed_x + i * c.row_units);
          });
    });

    const Portion portion(ctx, chunk_first / c.chunk, c.chunks);
    parallel_for(ctx.pool, c.slabs * c.parts, [&](int64_t index, int worker) {
      const int64_t panel_first = index / c.parts * c.slab, panels = std::min(c.slab, s.panels - panel_first);
      const int64_t part_first = std::min(index % c.parts * c.part_rows(), chunk_rows);
      const int64_t part_rows = std::min(c.part_rows(), chunk_rows - part_first),
                    tiles = ceil_div(part_rows, kTileRows);
      unit* const slab = slabs + worker * slab_units;
      for (int64_t block = 0; block < c.blocks; block++) {
        const int64_t first = block * c.block, units = std::min(c.block, c.units - first);
        for (int64_t p = 0; p < panels; p++) {
          const int64_t k_first = first * Product::kPerUnit, k = std::min(units * Product::kPerUnit, s.k - k_first);
          pack<Product>(a, s.panel(panel_first + p), k_first, k, slab + p * c.block * kTileCols);
        }
        const bool last = block + 1 == c.blocks;
        for (int64_t t = 0; t < tiles; t++) {
          const int64_t row = part_first + part_rows * t / tiles,
                        count = part_first + part_rows * (t + 1) / tiles - row;
          const TileA tile_x = {packed_x + row * c.row_units + first, c.row_units, units};
          OutRows rows;
          if (last) rows = out_rows(a, chunk_first + row, count);
          for (int64_t p = 0; p < panels; p++) {
            float* sums = all_sums + worker * sums_size + (c.blocks > 1 ? t * c.slab + p : 0) * kTileRows * kTileCols;
            tile<Product, kTwoLines>(count, tile_x, slab + p * c.block * kTileCols, sums, kTileCols, block > 0);
            if (last) epilogue(a, s.panel(panel_first + p), rows, sums);
          }
        }
      }
    });
  }
}

void multiply(Context& ctx, const op::LinearArgs& a) {
  const Shape s(a);
  if (s.m <= kFewRows)
    few_rows(ctx, a, s);
  else if (a.x.dtype != DType::BF16)
    many_rows<Fma>(ctx, a, s);
  else
    many_rows<Bf16Product>(ctx, a, s);
}

}  // namespace

void linear(Context& ctx, const op::LinearGroup& g) {
  for (int i = 0; i < g.count; i++) {
    multiply(ctx, g.product[i]);
    if (g.product[i].heads.defined()) ICONFACE_ISA::qk_norm_rope(ctx, op::qk_norm_rope_of(g.product[i]));
  }
}

}  // namespace iconface::cpu::ICONFACE_ISA
