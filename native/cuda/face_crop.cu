// face_crop: out(x, y) = image(A^-1 (x, y)), antialiased, outside 0; (v / 255 - 0.5) / 0.5, channels B, G, R
// model-specification.md 7
//   pixels [height, width, 3] U8, A a 2x3 similarity image -> crop with scale s -> out [112, 112, 3] F32
//   image(u, v) = sum_ij t(i - u) t(j - v) p(i, j) / (sum_i t(i - u) sum_j t(j - v)), t(d) = max(0, 1 - |d| / radius),
//   radius = max(1, 1 / s): a triangle as wide as one output pixel, bilinear when A enlarges. The sums in the
//   denominator run over all integers, in closed form, so pixels outside count as zeros.
// Work split: a warp per output pixel, its lanes side by side along the rows of the footprint, added up in one fixed
// order. Must move: the face once (512 px: 0.8 MB) and the crop (150 KB); taps are shared in the caches. Usual crop,
// 512 px to 112: 7 x 7 taps. Limit: launching; for large photographs the caches.
#include <algorithm>
#include <cmath>

#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 128;

struct Arguments {
  const uint8_t* pixels;
  float* out;
  int height, width, rows, columns;  // of the picture, of the crop
  double matrix[6], determinant, radius;
};

/// Sum of 1 - d / radius over d = first, first + 1, ... as long as it is not negative.
__device__ double triangle_side(double first, double radius) {
  if (first > radius) return 0;
  const double n = floor(radius - first) + 1;
  return n * (1 - first / radius) - n * (n - 1) / (2 * radius);
}

/// The triangle around u on one axis of the picture: weight(i) for the pixels [begin, end).
struct Footprint {
  double u, slope, scale;
  int begin, end;

  __device__ Footprint(double u, double radius, int size) : u(u), slope(1 / radius) {
    const double below = u - floor(u);
    scale = 1 / (triangle_side(below, radius) + triangle_side(1 - below, radius));
    // Limits first as doubles: u may be far outside any integer.
    begin = static_cast<int>(fmin(fmax(ceil(u - radius), 0.0), static_cast<double>(size)));
    end = static_cast<int>(fmin(fmax(floor(u + radius) + 1, 0.0), static_cast<double>(size)));
  }
  __device__ __forceinline__ float weight(int i) const { return static_cast<float>((1 - fabs(i - u) * slope) * scale); }
};

__global__ void __launch_bounds__(kThreads) face_crop_kernel(Arguments a) {
  const int pixel = (static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x)) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (pixel >= a.rows * a.columns) return;  // whole warps
  const double* m = a.matrix;
  const double dx = pixel % a.columns - m[2], dy = pixel / a.columns - m[5];
  const Footprint across((m[4] * dx - m[1] * dy) / a.determinant, a.radius, a.width);
  const Footprint down((m[0] * dy - m[3] * dx) / a.determinant, a.radius, a.height);
  // Lanes stand on as many rows as fit beside each other: a power of two of columns each.
  int side = 1;
  while (side < 32 && side < across.end - across.begin) side *= 2;
  float sum[3] = {};
  for (int i = across.begin + lane % side; i < across.end; i += side) {
    float column[3] = {};
    for (int j = down.begin + lane / side; j < down.end; j += 32 / side) {
      const uint8_t* from = a.pixels + (static_cast<int64_t>(j) * a.width + i) * 3;
      const float weight = down.weight(j);
#pragma unroll
      for (int c = 0; c < 3; c++) column[c] += weight * static_cast<float>(from[c]);
    }
    const float weight = across.weight(i);
#pragma unroll
    for (int c = 0; c < 3; c++) sum[c] += weight * column[c];
  }
#pragma unroll
  for (int c = 0; c < 3; c++) {
    const float total = warp_sum(sum[c]);
    if (lane == 0) a.out[static_cast<int64_t>(pixel) * 3 + 2 - c] = (total / 255.0f - 0.5f) / 0.5f;
  }
}

}  // namespace

void face_crop(Context& ctx, const op::FaceCropArgs& a) {
  if (ctx.planning() || a.out.elements() == 0) return;
  Arguments arguments = {a.pixels.as<const uint8_t>(),
                         a.out.as<float>(),
                         static_cast<int>(a.pixels.shape[0]),
                         static_cast<int>(a.pixels.shape[1]),
                         static_cast<int>(a.out.shape[0]),
                         static_cast<int>(a.out.shape[1]),
                         {},
                         a.matrix[0] * a.matrix[4] - a.matrix[1] * a.matrix[3],
                         0};
  std::copy_n(a.matrix, 6, arguments.matrix);
  arguments.radius = std::max(1.0, 1 / std::sqrt(std::fabs(arguments.determinant)));
  launch(ctx, face_crop_kernel, dim3(blocks_for(a.out.rows(), kThreads / 32)), dim3(kThreads), 0, arguments);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
