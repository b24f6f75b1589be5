// Positions: where the pixels of a result lie in its source, in 1/32 of a pixel, as OpenCV's affine warp rounds them.
//                                                                                             model-specification.md 10
#pragma once
#include <cmath>
#include <cstdint>

#include "runtime/memory.h"

namespace iconface::photo {

constexpr int kPart = 32;  // parts of a pixel

/// matrix (2x3, row-major) takes a pixel (x, y) of the result to the source:
///   X = (round((b y + c) 1024) + 16 + round(a x 1024)) >> 5, halves to even. X only grows, or only falls, along x and y.
class Positions {
 public:
  Positions(const double matrix[6], int64_t columns)
      : matrix_{matrix[0], matrix[1], matrix[2], matrix[3], matrix[4], matrix[5]},
        memory_(2 * columns * static_cast<int64_t>(sizeof(int64_t))),
        across_(reinterpret_cast<int64_t*>(memory_.data())),
        down_(across_ + columns) {
    for (int64_t x = 0; x < columns; x++) {
      across_[x] = rounded(matrix_[0] * static_cast<double>(x));
      down_[x] = rounded(matrix_[3] * static_cast<double>(x));
    }
  }

  /// One row of the result.
  struct Row {
    const int64_t *across, *down;
    int64_t first_x, first_y;

    int64_t x(int64_t column) const { return (across[column] + first_x) >> 5; }
    int64_t y(int64_t column) const { return (down[column] + first_y) >> 5; }
  };
  Row row(int64_t y) const {
    const auto v = static_cast<double>(y);
    return {across_, down_, rounded(matrix_[1] * v + matrix_[2]) + 16, rounded(matrix_[4] * v + matrix_[5]) + 16};
  }

 private:
  static int64_t rounded(double value) { return std::llrint(value * 1024); }

  double matrix_[6];
  Pages memory_;
  int64_t *across_, *down_;
};

/// Bilinear between four pixels, at x and y in parts of a pixel; `across` and `down` lead to the neighbours.
template <int kColours, class T>
inline void between(const T* p, int64_t across, int64_t down, uint32_t x, uint32_t y, uint32_t* out) {
  const T* const lower = p + down;
  const auto part_x = static_cast<int32_t>(x), part_y = static_cast<int32_t>(y);
  for (int c = 0; c < kColours; c++) {
    const int32_t above = p[c] * kPart + (p[across + c] - p[c]) * part_x;
    const int32_t below = lower[c] * kPart + (lower[across + c] - lower[c]) * part_x;
    out[c] = static_cast<uint32_t>(above * kPart + (below - above) * part_y + kPart * kPart / 2) / (kPart * kPart);
  }
}

/// The same where neighbours may be missing: `at(column, row)` gives the pixel, there or not.
template <int kColours, class At>
inline void between_any(int64_t column, int64_t row, uint32_t x, uint32_t y, uint32_t* out, At&& at) {
  const auto *a = at(column, row), *b = at(column + 1, row), *c = at(column, row + 1), *d = at(column + 1, row + 1);
  for (int i = 0; i < kColours; i++) {
    const uint32_t upper = a[i] * (kPart - x) + b[i] * x, lower = c[i] * (kPart - x) + d[i] * x;
    out[i] = (upper * (kPart - y) + lower * y + kPart * kPart / 2) / (kPart * kPart);
  }
}

/// Index of the pixel that stands for `i` in a mirror that repeats no edge; n pixels.
inline int64_t mirrored(int64_t i, int64_t n) {
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1), at = ((i % period) + period) % period;
  return at < n ? at : period - at;
}

}  // namespace iconface::photo
