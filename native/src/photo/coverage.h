// Coverage: how much of each pixel of a photograph a crop covers, and the same eroded. model-specification.md 10
#pragma once
#include <cstdint>

#include "photo/pixels.h"
#include "photo/positions.h"
#include "runtime/thread_pool.h"

namespace iconface::photo {

/// Pixels [begin, end) of a row or column.
struct Span {
  int64_t begin = 0, end = 0;

  bool empty() const { return begin >= end; }
};

/// Offsets low to high, both included, along both axes: what an erosion takes the least value of.
struct Window {
  int64_t low = 0, high = 0;

  /// A square; an even side is not centred.
  static Window of_side(int64_t side) { return {-(side / 2), side - 1 - side / 2}; }
  /// Both erosions, one after the other.
  Window and_then(Window w) const { return {low + w.low, high + w.high}; }
};

constexpr int kWhole = kPart * kPart;  // a pixel that is wholly covered

/// The coverage of pixel (x, y) is wx wy, both in 0..32: the bilinear warp of a crop of ones, outside it zeros. It is
/// never stored: along a row and along a column X and Y only grow, or only fall, so that where it is 0, where it is
/// whole, and the least value of a window follow from the ends.
class Coverage {
 public:
  /// @param matrix  pixel of the photograph -> pixel of the crop
  /// @param side    of the crop
  Coverage(const double matrix[6], int64_t side, int64_t width, int64_t height);

  /// No pixel of the photograph outside is covered at all; empty where none is.
  const Rectangle& bounds() const { return bounds_; }
  int64_t width() const { return width_; }
  int64_t height() const { return height_; }
  const Positions& positions() const { return positions_; }
  /// A position's weight along one axis.
  int64_t weight(int64_t position) const {
    const int64_t end = side_ * kPart;
    const int64_t nearer = position + kPart < end - position ? position + kPart : end - position;
    return nearer < 0 ? 0 : nearer > kPart ? kPart : nearer;
  }
  /// The photograph's row y after an erosion: out[x - bounds().left] for the columns of bounds(), which must be zeros
  /// before. Returns where they are not. Outside the photograph counts as infinite: its borders erode nothing.
  Span eroded(Window window, int64_t y, uint16_t* out) const;
  /// The sum over the photograph after an erosion, in pixels.
  double area(ThreadPool& pool, Window window) const;

 private:
  struct Corners;
  int64_t least(const Corners& corners, Window window, int64_t x, int64_t y) const;

  Positions positions_;
  int64_t side_, width_, height_;
  Rectangle bounds_;
};

}  // namespace iconface::photo
