// What the kernels of conv2d share: the problem as the device sees it, the way through K, and the epilogue.
#pragma once
#include "cuda/common/launch.cuh"
#include "cuda/common/numbers.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// out[m, o] = act(sum_k x(m, k) W[o, k] + bias[o]) + residual[m, o] with m an output pixel and k = (tap, channel).
/// The channels of x and W fill whole 16-byte chunks (8 bf16 or 4 f32), aligned; launchers pad them where they do not.
struct ConvProblem {
  const void *x, *weight;  // [B, height, width, chunks], [O, taps, chunks]; both bf16 or both f32
  void* out;
  const float *bias, *slope, *residual;  // may be null
  DType out_type;
  bool wide_out;                        // out and residual may be touched two elements at a time
  int height, width, chunks;            // of x as it is stored
  int out_height, out_width, channels;  // of out
  int kernel_width, taps, stride, pad_top, pad_left, upsample;
  int pixels;  // of out, in all images: M

  /// Chunks of K that follow each other before the next tap: all channels of a tap, or one step of a kernel. The
  /// latter uses up the neighbouring pixels' sectors while they are in the caches.
  __host__ __device__ int slice(int step) const { return chunks % step == 0 ? step : chunks; }
};

/// Place in K: chunk `base + inside` of tap (row, column).
struct TapCursor {
  int base = 0, inside, row = 0, column = 0, tap = 0;

  __device__ __forceinline__ TapCursor(const ConvProblem& p, int first, int slice) : inside(0) {
    advance(p, first, slice);
  }
  __device__ __forceinline__ void advance(const ConvProblem& p, int by, int slice) {
    inside += by;
    while (inside >= slice && base < p.chunks) {
      inside -= slice;
      tap++;
      if (++column == p.kernel_width) {
        column = 0;
        row++;
      }
      if (tap == p.taps) {
        tap = row = column = 0;
        base += slice;
      }
    }
  }
  __device__ __forceinline__ int chunk() const { return base + inside; }
  __device__ __forceinline__ bool exists(const ConvProblem& p) const { return base < p.chunks; }
};

/// One output pixel as a row of the product: where its window begins, in the upsampled picture.
struct Window {
  int64_t image;  // chunks before its picture
  int y, x;       // may be outside

  __device__ __forceinline__ Window(const ConvProblem& p, int m) : image(0), y(INT32_MIN / 2), x(0) {
    if (m >= p.pixels) return;  // far outside: reads zeros
    const int row = m / p.out_width;
    image = static_cast<int64_t>(row / p.out_height) * p.height * p.width * p.chunks;
    y = row % p.out_height * p.stride - p.pad_top;
    x = m % p.out_width * p.stride - p.pad_left;
  }
  /// Chunks from x's start to what the cursor points at, or -1 where that is padding.
  __device__ __forceinline__ int64_t at(const ConvProblem& p, const TapCursor& k) const {
    int row = y + k.row, column = x + k.column;
    if (static_cast<unsigned>(row) >= static_cast<unsigned>(p.height * p.upsample) ||
        static_cast<unsigned>(column) >= static_cast<unsigned>(p.width * p.upsample) || !k.exists(p))
      return -1;
    if (p.upsample == 2) {
      row >>= 1;
      column >>= 1;
    } else if (p.upsample != 1) {
      row /= p.upsample;
      column /= p.upsample;
    }
    return image + (static_cast<int64_t>(row) * p.width + column) * p.chunks + k.chunk();
  }
};

/// Two neighbouring finished sums of pixel m, the first of channel o (even).
__device__ __forceinline__ void finish_pair(const ConvProblem& p, int m, int o, float first, float second) {
  if (m >= p.pixels || o >= p.channels) return;
  const int64_t at = static_cast<int64_t>(m) * p.channels + o;
  const bool both = o + 1 < p.channels;
  float v[2] = {first, second};
  float2 residual = {0, 0};
  if (p.residual != nullptr) {
    if (p.wide_out)
      residual = *reinterpret_cast<const float2*>(p.residual + at);
    else
      residual = {p.residual[at], both ? p.residual[at + 1] : 0.0f};
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    if (i == 1 && !both) break;
    if (p.bias != nullptr) v[i] += p.bias[o + i];
    if (p.slope != nullptr) v[i] = v[i] > 0 ? v[i] : v[i] * p.slope[o + i];
  }
  v[0] += residual.x;
  v[1] += residual.y;
  if (p.out_type == DType::F32) {
    float* out = static_cast<float*>(p.out) + at;
    if (p.wide_out) {
      *reinterpret_cast<float2*>(out) = {v[0], v[1]};
    } else {
      out[0] = v[0];
      if (both) out[1] = v[1];
    }
  } else {
    bf16* out = static_cast<bf16*>(p.out) + at;
    if (p.wide_out) {
      *reinterpret_cast<uint32_t*>(out) = pack_bf16(v[0], v[1]);
    } else {
      out[0] = to_bf16(v[0]);
      if (both) out[1] = to_bf16(v[1]);
    }
  }
}

void conv2d_mma(Context&, const ConvProblem&);  // bf16
void conv2d_fma(Context&, const ConvProblem&);  // f32

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
