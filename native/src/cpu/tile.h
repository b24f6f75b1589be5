// The one matrix-product kernel: a tile of kTileRows x kTileCols sums over all of K, held in registers. linear, conv2d
// and attention are loops around it.
//
// Both operands are seen as 32-bit units along K: one f32, or a pair of neighbouring bf16 where the CPU
// multiplies those (Dot). A is read where it lies: rows a constant number of units apart, each row `runs` runs of
// `length` units (a convolution's rows of pixels overlap and jump from one picture row to the next; a plain matrix has
// one run).
// B is packed: panels of kTileCols columns, [K units][kTileCols], so that a step of K is two vector loads of B, one
// broadcast of A per row and two multiply-adds per row. AVX-512: 14 x 2 sums + 2 + 1 of 32 registers; AVX2: 6 x 2 of
// 16.
//
// The sums are stored as f32 into memory that is read back at once by an epilogue: 28 stores against K x 28
// multiply-adds, and the kernel needs no variants of it. Every element is summed along K in the same order whatever
// tile it falls in, so results do not depend on how rows and columns are split over tiles or threads.
#pragma once
#include <algorithm>
#include <utility>

#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kTileRows = 14;
#else
constexpr int kTileRows = 6;
#endif
constexpr int kTileCols = 2 * kLanes;

using unit = uint32_t;  // one f32, or two bf16 with the first in the low half

/// How far ahead of the multiply-adds a tile asks for its rows of A. Rows that come from the shared cache are more
/// streams than hardware follows: two cache lines ahead pay for them (native/NOTES.md); rows in the thread's own caches
/// need none.
enum Ahead : int64_t { kNotAhead = 0, kTwoLines = 32 };

ICONFACE_INLINE U load_units(const unit* p) {
  U v;
  memcpy(&v, p, sizeof v);
  return v;
}
ICONFACE_INLINE void store_units(unit* p, U v) { memcpy(p, &v, sizeof v); }

/// f32 products: a unit is one element.
struct Fma {
  using Element = float;
  static constexpr int kPerUnit = 1;
  static ICONFACE_INLINE F step(F sum, U a, U b) { return reinterpret_cast<F>(a) * reinterpret_cast<F>(b) + sum; }
  /// kLanes units from kLanes * kPerUnit neighbouring elements of any type.
  template <class T>
  static ICONFACE_INLINE U units(const T* p) {
    return reinterpret_cast<U>(load(p));
  }
};

#if defined(__AVX512BF16__)
/// bf16 products, f32 sums: a unit is a pair.
struct Dot {
  using Element = bf16;
  static constexpr int kPerUnit = 2;
  static ICONFACE_INLINE F step(F sum, U a, U b) { return dot_pairs(sum, a, b); }
  static ICONFACE_INLINE U units(const bf16* p) { return load_units(reinterpret_cast<const unit*>(p)); }
  template <class T>
  static ICONFACE_INLINE U units(const T* p) {
    return (U)_mm512_cvtne2ps_pbh((__m512)load(p + kLanes), (__m512)load(p));
  }
};
using Bf16Product = Dot;
#else
using Bf16Product = Fma;  // no bf16 arithmetic: bf16 is widened while it is packed and multiplied as f32
#endif

template <class Product>
ICONFACE_INLINE int64_t units_of(int64_t k) {
  return (k + Product::kPerUnit - 1) / Product::kPerUnit;
}

ICONFACE_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Calls `f` with a typed null pointer for the element type: with_type(t, [&](auto* typed) { ... }).
template <class Call>
ICONFACE_INLINE void with_type(DType type, Call&& f) {
  if (type == DType::F32)
    f(static_cast<const float*>(nullptr));
  else if (type == DType::BF16)
    f(static_cast<const bf16*>(nullptr));
  else
    f(static_cast<const f16*>(nullptr));
}

// ---- the kernel -----------------------------------------------------------------------------------------------------

/// Rows of A for one tile. Lengths and strides in units.
struct TileA {
  const unit* data;
  int64_t row_stride;
  int64_t length;
  int64_t runs = 1, run_stride = 0;
};

/// out[i][0..kTileCols) = (accumulate ? out[i] : 0) + sum_k a(i, k) b[k], for `Rows` rows `out_stride` floats apart.
template <class Product, Ahead Prefetch, int Rows>
__attribute__((noinline)) void tile_of_rows(const TileA& a, const unit* b, float* out, int64_t out_stride,
                                            bool accumulate) {
  F sum[Rows][2];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; i++) {
    sum[i][0] = accumulate ? load(out + i * out_stride) : F{};
    sum[i][1] = accumulate ? load(out + i * out_stride + kLanes) : F{};
  }
  constexpr int kGroups = (Rows + 2) / 3;  // one pointer serves three rows: p, p + stride, p + 2 stride
  const int64_t stride = a.row_stride;
  for (int64_t run = 0; run < a.runs; run++) {
    const unit* p[kGroups];
#pragma GCC unroll 16
    for (int g = 0; g < kGroups; g++) p[g] = a.data + run * a.run_stride + 3 * g * stride;
    const auto steps = [&](int64_t n) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int64_t k = 0; k < n; k++) {
        const U b0 = load_units(b), b1 = load_units(b + kLanes);
        b += kTileCols;
#pragma GCC unroll 16
        for (int i = 0; i < Rows; i++) {
          const U ai = p[i / 3][(i % 3) * stride] - U{};
          sum[i][0] = Product::step(sum[i][0], ai, b0);
          sum[i][1] = Product::step(sum[i][1], ai, b1);
        }
#pragma GCC unroll 16
        for (int g = 0; g < kGroups; g++) p[g]++;
      }
    };
    int64_t left = a.length;
    for (; Prefetch > 0 && left >= kLanes; left -= kLanes) {
#pragma GCC unroll 16
      for (int i = 0; i < Rows; i++) __builtin_prefetch(p[i / 3] + (i % 3) * stride + Prefetch);
      steps(kLanes);
    }
    steps(left);
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; i++) {
    store(out + i * out_stride, sum[i][0]);
    store(out + i * out_stride + kLanes, sum[i][1]);
  }
}

/// The same for `rows` in [1, kTileRows].
template <class Product, Ahead Prefetch = kNotAhead>
ICONFACE_INLINE void tile(int64_t rows, const TileA& a, const unit* b, float* out, int64_t out_stride,
                          bool accumulate) {
  using Kernel = void (*)(const TileA&, const unit*, float*, int64_t, bool);
  static constexpr auto kernels = []<int... I>(std::integer_sequence<int, I...>) {
    struct {
      Kernel of_rows[kTileRows];
    } table{{tile_of_rows<Product, Prefetch, I + 1>...}};
    return table;
  }
  (std::make_integer_sequence<int, kTileRows>());
  kernels.of_rows[rows - 1](a, b, out, out_stride, accumulate);
}

// ---- packing --------------------------------------------------------------------------------------------------------

/// The first n (0 .. kLanes * kPerUnit) elements as units; the rest are zero and their memory is not touched.
template <class Product, class T>
ICONFACE_INLINE U units_some(const T* p, int64_t n) {
  constexpr int kElements = kLanes * Product::kPerUnit;
  if (n >= kElements) return Product::units(p);
  T copy[kElements] = {};
  for (int64_t i = 0; i < n; i++) copy[i] = load_raw(p + i);
  return Product::units(copy);
}

/// Copies n elements, zero-padded to whole units, as the Product's units.
template <class Product, class T>
ICONFACE_INLINE void copy_units(const T* from, int64_t n, unit* to) {
  constexpr int kElements = kLanes * Product::kPerUnit;
  int64_t i = 0;
  for (; i + kElements <= n; i += kElements, to += kLanes) store_units(to, Product::units(from + i));
  if (i == n) return;
  const U last = units_some<Product>(from + i, n - i);
  for (int64_t j = 0; j < units_of<Product>(n - i); j++) to[j] = last[j];
}

/// a and b exchange: lane j of a keeps what has bit Step of j clear, and takes b's lane j - Step where it is set.
template <int Step, int... J>
ICONFACE_INLINE void exchange(U& a, U& b, std::integer_sequence<int, J...>) {
  const U x = __builtin_shufflevector(a, b, ((J & Step) ? kLanes + J - Step : J)...);
  const U y = __builtin_shufflevector(a, b, ((J & Step) ? kLanes + J : J + Step)...);
  a = x;
  b = y;
}
/// v[i][j] becomes v[j][i].
template <int Step = kLanes / 2>
ICONFACE_INLINE void transpose_units(U (&v)[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; i++)
    if (!(i & Step)) exchange<Step>(v[i], v[i + Step], std::make_integer_sequence<int, kLanes>());
  if constexpr (Step > 1) transpose_units<Step / 2>(v);
}

/// Packs `rows` (0 .. kLanes; the missing ones are zero) rows of a row-major [N, K] matrix as one vector column of a
/// panel: to[k * kTileCols + lane] is unit k of row `lane`. A panel is two of these, at `to` and `to + kLanes`.
template <class Product, class T>
ICONFACE_INLINE void pack_rows(const T* from, int64_t stride, int64_t rows, int64_t k, unit* to) {
  constexpr int kElements = kLanes * Product::kPerUnit;
  for (int64_t at = 0; at < k; at += kElements) {
    U v[kLanes];
    if (rows == kLanes && at + kElements <= k) {
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) {
        v[i] = Product::units(from + i * stride + at);
        __builtin_prefetch(from + i * stride + at + 512 / sizeof(T));  // kLanes streams are more than hardware follows
      }
    } else {
      for (int i = 0; i < kLanes; i++) v[i] = i < rows ? units_some<Product>(from + i * stride + at, k - at) : U{};
    }
    transpose_units(v);
    const int64_t units = std::min<int64_t>(kLanes, units_of<Product>(k - at));
    for (int64_t i = 0; i < units; i++, to += kTileCols) store_units(to, v[i]);
  }
}

/// Packs `columns` (0 .. kLanes) neighbouring columns of a row-major [K, N] matrix in the same way.
template <class Product, class T>
ICONFACE_INLINE void pack_columns(const T* from, int64_t stride, int64_t columns, int64_t k, unit* to) {
  for (int64_t at = 0; at < k; at += Product::kPerUnit, from += Product::kPerUnit * stride, to += kTileCols) {
    const F first = load_some(from, columns);
    if constexpr (Product::kPerUnit == 1) {
      store_units(to, reinterpret_cast<U>(first));
    } else {
      const F second = at + 1 < k ? load_some(from + stride, columns) : F{};
      const U low = __builtin_convertvector(narrow(first), U), high = __builtin_convertvector(narrow(second), U);
      store_units(to, low | (high << 16));
    }
  }
}

}  // namespace iconface::cpu::ICONFACE_ISA
