// image_to_tensor: short side to `size` by an antialiased bicubic filter, centre crop, (v / 255 - 0.5) / 0.5
// model-specification.md 2
//   pixels [height, width, 3 or 4] U8 -> out [size, size, 3] F32 or U8
//   One axis: result i lies at centre = (i + 1/2) scale, scale = in / out, and is a weighted mean of the pixels within
//   2 max(scale, 1) of it (cubic kernel, a = -0.5). Weights are normalised in double and rounded to 22 fractional bits;
//   sums are 32-bit integers, rounded and clamped to 8 bits after the horizontal pass and again after the vertical one.
//   This is the arithmetic of Pillow's Image.resize to the bit: no product here may be fused with a sum (see times).
//   An axis that keeps its length gets the weights 0, 1, 0: nothing changes.
//
// Work split: a thread per weight line; then a thread per pixel of the intermediate picture [rows needed, size], 4
// bytes each; then a thread per pixel of the result. Must move: the rows needed of the picture once, the result once
// (12 Mpx to 512 px: 36 MB; neighbouring results share their taps in the caches). Limit: integer multiplication and the
// caches.
#include <algorithm>
#include <cmath>

#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 128, kFractionBits = 22;

struct Span {
  int begin, count;
};

/// One axis of the resize: `in` pixels become `out`, of which [first, first + size) are wanted.
struct Axis {
  int in, out, first;

  __host__ __device__ double scale() const { return static_cast<double>(in) / out; }
  __host__ __device__ double support() const { return 2 * (scale() > 1 ? scale() : 1.0); }
  __host__ __device__ double centre(int i) const { return times(first + i + 0.5, scale()); }
  __host__ int taps() const { return static_cast<int>(std::ceil(support())) * 2 + 1; }

  __host__ __device__ Span span(int i) const {
    const int64_t low = static_cast<int64_t>(centre(i) - support() + 0.5);
    const int64_t high = static_cast<int64_t>(centre(i) + support() + 0.5);
    const int begin = static_cast<int>(low < 0 ? 0 : low), end = static_cast<int>(high < in ? high : in);
    return {begin, end - begin};
  }
};

Axis make_axis(int64_t length, int64_t shortest, int64_t size) {
  const int64_t out = length * size / shortest, excess = out - size, half = excess / 2;
  const int64_t first = excess % 2 == 0 ? half : half + half % 2;  // half to even
  return {static_cast<int>(length), static_cast<int>(out), static_cast<int>(first)};
}

__device__ double bicubic(double x) {
  x = fabs(x);
  if (x < 1) return times(times(times(1.5, x) - 2.5, x), x) + 1;
  if (x < 2) return times(times(times(x - 5, x) + 8, x) - 4, -0.5);
  return 0;
}

/// The weights of both axes, [size, taps] each, and the pixels they belong to.
struct Plan {
  Axis across, down;
  int across_taps, down_taps, size;
  int first_row, rows;  // of the picture, needed
  Span *columns, *lines;
  int32_t *column_weights, *line_weights;
};

__device__ void make_weights(const Axis& axis, int i, Span* span_out, int32_t* weights) {
  const Span span = axis.span(i);
  const double centre = axis.centre(i), inverse = 1.0 / (axis.scale() > 1 ? axis.scale() : 1.0);
  const auto raw = [&](int k) { return bicubic(times(span.begin + k - centre + 0.5, inverse)); };
  double total = 0;
  for (int k = 0; k < span.count; k++) total += raw(k);
  for (int k = 0; k < span.count; k++) {
    const double scaled = times(total != 0 ? raw(k) / total : raw(k), 1 << kFractionBits);
    weights[k] = static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
  }
  *span_out = span;
}

__global__ void __launch_bounds__(kThreads) resize_weights_kernel(Plan p) {
  const int line = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x), i = line % p.size;
  if (line >= 2 * p.size) return;
  if (line < p.size)
    make_weights(p.across, i, p.columns + i, p.column_weights + static_cast<int64_t>(i) * p.across_taps);
  else
    make_weights(p.down, i, p.lines + i, p.line_weights + static_cast<int64_t>(i) * p.down_taps);
}

/// Takes the fraction off a sum of weighted bytes.
__device__ __forceinline__ int rounded(int sum) {
  return min(max((sum + (1 << (kFractionBits - 1))) >> kFractionBits, 0), 255);
}

template <int Channels>
__global__ void __launch_bounds__(kThreads) resize_across_kernel(Plan p, const uint8_t* pixels, uint32_t* between) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= static_cast<int64_t>(p.rows) * p.size) return;
  const int row = static_cast<int>(at / p.size), i = static_cast<int>(at % p.size);
  const Span span = p.columns[i];
  const int32_t* weight = p.column_weights + static_cast<int64_t>(i) * p.across_taps;
  const uint8_t* from = pixels + (static_cast<int64_t>(p.first_row + row) * p.across.in + span.begin) * Channels;
  int sum[3] = {};
  for (int k = 0; k < span.count; k++)
#pragma unroll
    for (int c = 0; c < 3; c++) sum[c] += from[k * Channels + c] * weight[k];
  between[at] = static_cast<uint32_t>(rounded(sum[0]) | rounded(sum[1]) << 8 | rounded(sum[2]) << 16);
}

__device__ __forceinline__ void put(uint8_t* out, int value) { *out = static_cast<uint8_t>(value); }
__device__ __forceinline__ void put(float* out, int value) {
  *out = (static_cast<float>(value) / 255.0f - 0.5f) / 0.5f;
}

template <class Out>
__global__ void __launch_bounds__(kThreads) resize_down_kernel(Plan p, const uint32_t* between, Out* out) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= static_cast<int64_t>(p.size) * p.size) return;
  const int i = static_cast<int>(at / p.size), column = static_cast<int>(at % p.size);
  const Span span = p.lines[i];
  const int32_t* weight = p.line_weights + static_cast<int64_t>(i) * p.down_taps;
  const uint32_t* from = between + static_cast<int64_t>(span.begin - p.first_row) * p.size + column;
  int sum[3] = {};
  for (int k = 0; k < span.count; k++) {
    const uint32_t pixel = from[static_cast<int64_t>(k) * p.size];
#pragma unroll
    for (int c = 0; c < 3; c++) sum[c] += static_cast<int>(pixel >> 8 * c & 255) * weight[k];
  }
#pragma unroll
  for (int c = 0; c < 3; c++) put(out + at * 3 + c, rounded(sum[c]));
}

}  // namespace

void image_to_tensor(Context& ctx, const op::ImageToTensorArgs& a) {
  const int64_t height = a.pixels.shape[0], width = a.pixels.shape[1], size = a.out.shape[0];
  const int64_t shortest = std::min(height, width);
  Plan p = {};
  p.across = make_axis(width, shortest, size);
  p.down = make_axis(height, shortest, size);
  p.across_taps = p.across.taps();
  p.down_taps = p.down.taps();
  p.size = static_cast<int>(size);
  const Span top = p.down.span(0), bottom = p.down.span(p.size - 1);
  p.first_row = top.begin;
  p.rows = bottom.begin + bottom.count - top.begin;

  Workspace::Frame frame(ctx.workspace);
  const auto take = [&](int64_t bytes) { return ctx.workspace.bytes(bytes); };
  p.columns = static_cast<Span*>(take(size * sizeof(Span)));
  p.lines = static_cast<Span*>(take(size * sizeof(Span)));
  p.column_weights = static_cast<int32_t*>(take(size * p.across_taps * sizeof(int32_t)));
  p.line_weights = static_cast<int32_t*>(take(size * p.down_taps * sizeof(int32_t)));
  auto* between = static_cast<uint32_t*>(take(p.rows * size * sizeof(uint32_t)));
  if (ctx.planning()) return;

  launch(ctx, resize_weights_kernel, dim3(blocks_for(2 * size, kThreads)), dim3(kThreads), 0, p);
  launch(ctx, a.pixels.last() == 3 ? resize_across_kernel<3> : resize_across_kernel<4>,
         dim3(blocks_for(p.rows * size, kThreads)), dim3(kThreads), 0, p, a.pixels.as<const uint8_t>(), between);
  const dim3 grid(blocks_for(size * size, kThreads)), block(kThreads);
  const uint32_t* resized = between;
  if (a.out.dtype == DType::U8)
    launch(ctx, resize_down_kernel<uint8_t>, grid, block, 0, p, resized, a.out.as<uint8_t>());
  else
    launch(ctx, resize_down_kernel<float>, grid, block, 0, p, resized, a.out.as<float>());
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
