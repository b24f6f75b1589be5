// image_to_tensor: short side to `size` by an antialiased bicubic filter, centre crop, (v / 255 - 0.5) / 0.5
// model-specification.md 2
//   pixels [height, width, 3 or 4] U8 -> out [size, size, 3] F32 or U8
//   One axis: result i lies at centre = (i + 1/2) scale, scale = in / out, and is a weighted mean of the pixels within
//   2 max(scale, 1) of it (cubic kernel, a = -0.5). Weights are normalised in double and rounded to 22 fractional bits;
//   sums are 32-bit integers, rounded and clamped to 8 bits after the horizontal pass and again after the vertical one.
//   This is the arithmetic of Pillow's Image.resize to the bit, so this file must be compiled without fused
//   multiply-adds (-ffp-contract=off). An axis that keeps its length gets the weights 0, 1, 0: nothing changes, so a
//   picture of the size wanted is only converted.
// Work: only the rows and columns that survive the crop. Horizontally an item is four picture rows; a vector holds
// kLanes / channels whole pixels, multiplied by their weights (each repeated for every channel), and its pixels are
// added up at the end. Vertically an item is one result row; a vector runs along the row.
// A 12 Mpx photo to 512 px: 110 M products horizontally, 19 M vertically, 11 ms on one thread with AVX-512 or AVX2.
// Limit: integer multiplication.
#include <algorithm>
#include <cmath>
#include <utility>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr int kFractionBits = 22;
constexpr int kRows = 4;       // picture rows of one horizontal item
constexpr int kBlock = 64;     // bytes of one step along a row of the intermediate picture
constexpr int kOverread = 64;  // a vector may reach this far beyond the pixels it needs

// ---- geometry and weights -------------------------------------------------------------------------------------------

/// Pixels [begin, begin + count) of a line.
struct Span {
  int64_t begin, count;
};

/// One axis of the resize: `in` pixels become `out`, of which [first, first + size) are wanted.
struct Axis {
  int64_t in, out, first;

  double scale() const { return static_cast<double>(in) / out; }
  double support() const { return 2 * std::max(scale(), 1.0); }
  double centre(int64_t i) const { return (first + i + 0.5) * scale(); }
  int64_t taps() const { return static_cast<int64_t>(std::ceil(support())) * 2 + 1; }

  Span span(int64_t i) const {
    const int64_t begin = std::max<int64_t>(0, static_cast<int64_t>(centre(i) - support() + 0.5));
    const int64_t end = std::min(in, static_cast<int64_t>(centre(i) + support() + 0.5));
    return {begin, end - begin};
  }
};

Axis make_axis(int64_t length, int64_t shortest, int64_t size) {
  const int64_t out = length * size / shortest, excess = out - size, half = excess / 2;
  return {length, out, excess % 2 == 0 ? half : half + half % 2};  // half to even
}

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// Calls put(k, weight) for every pixel of result i's span.
template <class Put>
void weights(const Axis& axis, int64_t i, Put put) {
  const Span span = axis.span(i);
  const double centre = axis.centre(i), inverse = 1.0 / std::max(axis.scale(), 1.0);
  const auto raw = [&](int64_t k) { return bicubic((span.begin + k - centre + 0.5) * inverse); };
  double total = 0;
  for (int64_t k = 0; k < span.count; k++) total += raw(k);
  for (int64_t k = 0; k < span.count; k++) {
    const double scaled = (total != 0 ? raw(k) / total : raw(k)) * (1 << kFractionBits);
    put(k, static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
  }
}

// ---- vectors of pixels ----------------------------------------------------------------------------------------------

/// Takes the fraction off a sum of weighted pixels.
ICONFACE_INLINE I rounded(I sum) { return (sum + (1 << (kFractionBits - 1))) >> kFractionBits; }

template <int By, int... Lane>
ICONFACE_INLINE I rotate(I v, std::integer_sequence<int, Lane...>) {
  return __builtin_shufflevector(v, v, (Lane + By) % kLanes...);
}
/// The first pixel of the result is the sum of all whole pixels of v.
template <int Channels, int Pixel = 1>
ICONFACE_INLINE I add_pixels(I v) {
  if constexpr ((Pixel + 1) * Channels <= kLanes)
    return add_pixels<Channels, Pixel + 1>(v) + rotate<Pixel * Channels>(v, std::make_integer_sequence<int, kLanes>());
  else
    return v;
}

// ---- the two passes -------------------------------------------------------------------------------------------------

/// What both passes work on; the intermediate picture has 4 bytes a pixel, the last one without meaning.
struct Resize {
  Axis across, down;
  int64_t size, first_row, rows, row_bytes;  // picture rows needed; bytes of a row of the intermediate picture
  int64_t vectors;                           // per result column, at most
  Span *columns, *lines;                     // [size]
  int32_t *column_weights, *line_weights;    // [size, vectors, kLanes], [size, down.taps()]
  uint8_t *between, *last_rows;              // [rows, row_bytes]; a copy of the picture's end, padded
};

constexpr int pixels_per_vector(int channels) { return kLanes / channels; }

void make_weights(const Resize& r, int channels, int64_t i) {
  const int each = pixels_per_vector(channels);
  r.columns[i] = r.across.span(i);
  r.lines[i] = r.down.span(i);
  int32_t* column = r.column_weights + i * r.vectors * kLanes;
  memset(column, 0, r.vectors * kLanes * sizeof(int32_t));
  weights(r.across, i, [&](int64_t k, int32_t w) {
    for (int c = 0; c < channels; c++) column[k / each * kLanes + k % each * channels + c] = w;
  });
  int32_t* line = r.line_weights + i * r.down.taps();
  weights(r.down, i, [&](int64_t k, int32_t w) { line[k] = w; });
}

/// kRows picture rows into the intermediate picture; `rows` may name one row several times.
template <int Channels>
void resize_across(const Resize& r, const uint8_t* const (&rows)[kRows], uint8_t* const (&to)[kRows]) {
  constexpr int kEach = pixels_per_vector(Channels);
  for (int64_t i = 0; i < r.size; i++) {
    const int32_t* weight = r.column_weights + i * r.vectors * kLanes;
    const int64_t begin = r.columns[i].begin * Channels, vectors = (r.columns[i].count + kEach - 1) / kEach;
    I sum[kRows] = {};
    for (int64_t v = 0; v < vectors; v++) {
      I w;
      memcpy(&w, weight + v * kLanes, sizeof w);
      for (int k = 0; k < kRows; k++) sum[k] += load_bytes(rows[k] + begin + v * kEach * Channels) * w;
    }
    for (int k = 0; k < kRows; k++) {
      uint8_t pixel[kLanes];
      store_bytes(pixel, rounded(add_pixels<Channels>(sum[k])));
      memcpy(to[k] + i * 4, pixel, 4);
    }
  }
}

/// Result row i as bytes, four a pixel.
void resize_down(const Resize& r, int64_t i, uint8_t* to) {
  constexpr int kVectors = kBlock / kLanes;
  const int32_t* weight = r.line_weights + i * r.down.taps();
  const uint8_t* from = r.between + (r.lines[i].begin - r.first_row) * r.row_bytes;
  for (int64_t x = 0; x < r.row_bytes; x += kBlock) {
    I sum[kVectors] = {};
    for (int64_t k = 0; k < r.lines[i].count; k++)
      for (int v = 0; v < kVectors; v++) sum[v] += load_bytes(from + k * r.row_bytes + x + v * kLanes) * weight[k];
    for (int v = 0; v < kVectors; v++) store_bytes(to + x + v * kLanes, rounded(sum[v]));
  }
}

/// Four bytes a pixel become three, in place.
void drop_fourth(uint8_t* bytes, int64_t pixels) {
  for (int64_t x = 1; x < pixels; x++)
    for (int c = 0; c < 3; c++) bytes[x * 3 + c] = bytes[x * 4 + c];
}

/// n values, of bytes that are the result's from element `at`.
void put_values(const uint8_t* bytes, int64_t n, const Tensor& out, int64_t at) {
  if (out.dtype == DType::U8) {
    memcpy(out.as<uint8_t>() + at, bytes, n);
    return;
  }
  const auto value = [](auto v) { return (v / 255.0f - 0.5f) / 0.5f; };
  float* to = out.as<float>() + at;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, value(__builtin_convertvector(load_bytes(bytes + i), F)));
  for (; i < n; i++) to[i] = value(static_cast<float>(bytes[i]));
}

template <int Channels>
void run(Context& ctx, const op::ImageToTensorArgs& a) {
  const int64_t height = a.pixels.shape[0], width = a.pixels.shape[1], size = a.out.shape[0];
  const int64_t shortest = std::min(height, width), picture_row = width * Channels;
  Resize r;
  r.across = make_axis(width, shortest, size);
  r.down = make_axis(height, shortest, size);
  r.size = size;
  const Span top = r.down.span(0), bottom = r.down.span(size - 1);
  r.first_row = top.begin;
  r.rows = bottom.begin + bottom.count - top.begin;
  r.row_bytes = (size * 4 + kBlock - 1) / kBlock * kBlock;
  r.vectors = r.across.taps() / pixels_per_vector(Channels) + 1;
  // Reading a vector in these rows could leave the picture.
  const int64_t last = std::min(height, kOverread / picture_row + 1);

  Workspace::Frame frame(ctx.workspace);
  const auto take = [&](int64_t bytes) { return ctx.workspace.bytes(bytes); };
  r.columns = static_cast<Span*>(take(size * sizeof(Span)));
  r.lines = static_cast<Span*>(take(size * sizeof(Span)));
  r.column_weights = static_cast<int32_t*>(take(size * r.vectors * kLanes * sizeof(int32_t)));
  r.line_weights = static_cast<int32_t*>(take(size * r.down.taps() * sizeof(int32_t)));
  r.between = static_cast<uint8_t*>(take(r.rows * r.row_bytes));
  r.last_rows = static_cast<uint8_t*>(take(last * picture_row + kOverread));
  auto* line_bytes = static_cast<uint8_t*>(take(ctx.pool.workers() * r.row_bytes));
  if (ctx.planning()) return;

  const uint8_t* pixels = a.pixels.as<uint8_t>();
  memcpy(r.last_rows, pixels + (height - last) * picture_row, last * picture_row);
  memset(r.last_rows + last * picture_row, 0, kOverread);
  parallel_for(ctx.pool, size, [&](int64_t i, int) { make_weights(r, Channels, i); });

  parallel_for(ctx.pool, (r.rows + kRows - 1) / kRows, [&](int64_t item, int) {
    const uint8_t* from[kRows];
    uint8_t* to[kRows];
    for (int k = 0; k < kRows; k++) {
      const int64_t row = std::min(item * kRows + k, r.rows - 1), y = r.first_row + row;
      from[k] = y < height - last ? pixels + y * picture_row : r.last_rows + (y - (height - last)) * picture_row;
      to[k] = r.between + row * r.row_bytes;
    }
    resize_across<Channels>(r, from, to);
  });

  parallel_for(ctx.pool, size, [&](int64_t i, int worker) {
    uint8_t* bytes = line_bytes + worker * r.row_bytes;
    resize_down(r, i, bytes);
    drop_fourth(bytes, size);
    put_values(bytes, size * 3, a.out, i * size * 3);
  });
}

/// A picture of the size wanted, without alpha: 512 px, 0.8 MB in, 3.1 MB out.
void convert(Context& ctx, const op::ImageToTensorArgs& a) {
  if (ctx.planning()) return;
  constexpr int64_t kItem = 16 << 10;
  const int64_t n = a.pixels.elements();
  const uint8_t* pixels = a.pixels.as<uint8_t>();
  parallel_for(ctx.pool, (n + kItem - 1) / kItem, [&](int64_t item, int) {
    const int64_t begin = item * kItem;
    put_values(pixels + begin, std::min(kItem, n - begin), a.out, begin);
  });
}

}  // namespace

void image_to_tensor(Context& ctx, const op::ImageToTensorArgs& a) {
  const int64_t size = a.out.shape[0], channels = a.pixels.last();
  if (channels == 3 && a.pixels.shape[0] == size && a.pixels.shape[1] == size) return convert(ctx, a);
  channels == 3 ? run<3>(ctx, a) : run<4>(ctx, a);
}

}  // namespace iconface::cpu::ICONFACE_ISA
