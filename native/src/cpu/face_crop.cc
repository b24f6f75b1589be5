// face_crop: out(x, y) = image(A^-1 (x, y)), antialiased, outside 0; (v / 255 - 0.5) / 0.5, channels B, G, R
// model-specification.md 7
//   pixels [height, width, 3] U8, A a 2x3 similarity image -> crop with scale s -> out [112, 112, 3] F32
//   image(u, v) = sum_ij t(i - u) t(j - v) p(i, j) / (sum_i t(i - u) sum_j t(j - v)), t(d) = max(0, 1 - |d| / radius),
//   radius = max(1, 1 / s): a triangle as wide as one output pixel, bilinear when A enlarges. The sums in the
//   denominator run over all integers, in closed form, so pixels outside count as zeros.
// An item of work is one output row. An output pixel adds up the rows of its footprint, weighted, then their columns.
// Usual crop, 512 px face to 112: 7 x 7 taps, 1.8 M products; about a millisecond.
#include <algorithm>
#include <cmath>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

/// The triangle around u on one axis of the picture: weight(i) for the pixels [begin, end).
struct Footprint {
  double u, radius, total;
  int64_t begin, end;

  float weight(int64_t i) const { return static_cast<float>((1 - std::fabs(i - u) / radius) / total); }
};

/// Sum of 1 - d / radius over d = first, first + 1, ... as long as it is not negative.
double triangle_side(double first, double radius) {
  if (first > radius) return 0;
  const double n = std::floor(radius - first) + 1;
  return n * (1 - first / radius) - n * (n - 1) / (2 * radius);
}

Footprint footprint(double u, double radius, int64_t size) {
  const double below = u - std::floor(u);
  Footprint f = {u, radius, triangle_side(below, radius) + triangle_side(1 - below, radius), 0, 0};
  // Limits first as doubles: u may be far outside any integer.
  f.begin = static_cast<int64_t>(std::clamp(std::ceil(u - radius), 0.0, static_cast<double>(size)));
  f.end = static_cast<int64_t>(std::clamp(std::floor(u + radius) + 1, 0.0, static_cast<double>(size)));
  return f;
}

/// sums[0..n) += weight * bytes[0..n)
void add_weighted(float* sums, const uint8_t* bytes, float weight, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    store(sums + i, load(sums + i) + weight * __builtin_convertvector(load_bytes(bytes + i), F));
  for (; i < n; i++) sums[i] += weight * static_cast<float>(bytes[i]);
}

}  // namespace

void face_crop(Context& ctx, const op::FaceCropArgs& a) {
  const int64_t height = a.pixels.shape[0], width = a.pixels.shape[1], columns = a.out.shape[1];
  Workspace::Frame frame(ctx.workspace);
  auto* scratch = static_cast<float*>(ctx.workspace.bytes(ctx.pool.workers() * width * 3 * sizeof(float)));
  if (ctx.planning()) return;

  const double* m = a.matrix;
  const double determinant = m[0] * m[4] - m[1] * m[3];
  const double radius = std::max(1.0, 1 / std::sqrt(std::fabs(determinant)));
  parallel_for(ctx.pool, a.out.shape[0], [&](int64_t y, int worker) {
    float* sums = scratch + worker * width * 3;
    for (int64_t x = 0; x < columns; x++) {
      const double dx = x - m[2], dy = y - m[5];
      const Footprint across = footprint((m[4] * dx - m[1] * dy) / determinant, radius, width);
      const Footprint down = footprint((m[0] * dy - m[3] * dx) / determinant, radius, height);
      const int64_t n = std::max<int64_t>(0, across.end - across.begin);
      for (int64_t i = 0; i < 3 * n; i++) sums[i] = 0;
      for (int64_t j = down.begin; j < down.end; j++)
        add_weighted(sums, a.pixels.as<uint8_t>() + (j * width + across.begin) * 3, down.weight(j), 3 * n);
      float rgb[3] = {};
      for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) rgb[c] += across.weight(across.begin + i) * sums[3 * i + c];
      float* out = a.out.as<float>() + (y * columns + x) * 3;
      for (int c = 0; c < 3; c++) out[c] = (rgb[2 - c] / 255.0f - 0.5f) / 0.5f;
    }
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
