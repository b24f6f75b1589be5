#include "photo/coverage.h"

#include <algorithm>
#include <cmath>

namespace iconface::photo {

namespace {

/// Largest window in which the least value is looked for pixel by pixel where its corners do not tell it. That changes
/// single pixels beside a corner of the crop, in the larger masks by less than their interpolation.
constexpr int64_t kMostSearched = 640;

int64_t clamped(double value, int64_t most) {
  return static_cast<int64_t>(std::clamp(value, 0.0, static_cast<double>(most)));
}

/// The pixels that a crop of `side` can touch, by the inverse of photograph -> crop.
Rectangle touched(const double m[6], int64_t side, int64_t width, int64_t height) {
  const double determinant = m[0] * m[4] - m[1] * m[3];
  double least[2] = {INFINITY, INFINITY}, most[2] = {-INFINITY, -INFINITY};
  const auto end = static_cast<double>(side);
  for (const double u : {-1.0, end})
    for (const double v : {-1.0, end}) {
      const double dx = u - m[2], dy = v - m[5];
      const double at[2] = {(m[4] * dx - m[1] * dy) / determinant, (m[0] * dy - m[3] * dx) / determinant};
      for (int i = 0; i < 2; i++) least[i] = std::min(least[i], at[i]), most[i] = std::max(most[i], at[i]);
    }
  // A pixel more: positions are rounded.
  return {clamped(std::floor(least[0]) - 1, width), clamped(std::floor(least[1]) - 1, height),
          clamped(std::ceil(most[0]) + 2, width), clamped(std::ceil(most[1]) + 2, height)};
}

/// First place of `within` where `holds`, which once true stays so.
template <class Holds>
int64_t first(Span within, Holds&& holds) {
  while (!within.empty()) {
    const int64_t middle = (within.begin + within.end) / 2;
    if (holds(middle))
      within.end = middle;
    else
      within.begin = middle + 1;
  }
  return within.begin;
}

/// Where low <= value <= high; the value only grows, or only falls.
template <class Value>
Span where(Span within, int64_t low, int64_t high, Value&& value) {
  if (within.empty()) return within;
  const bool grows = value(within.begin) <= value(within.end - 1);
  const int64_t begin = first(within, [&](int64_t i) { return grows ? value(i) >= low : value(i) <= high; });
  const int64_t end = first({begin, within.end}, [&](int64_t i) { return grows ? value(i) > high : value(i) < low; });
  return {begin, end};
}

}  // namespace

Coverage::Coverage(const double matrix[6], int64_t side, int64_t width, int64_t height)
    : positions_(matrix, width),
      side_(side),
      width_(width),
      height_(height),
      bounds_(touched(matrix, side, width, height)) {}

/// The window around a pixel, cut at the photograph's borders, by its corners.
struct Coverage::Corners {
  Corners(const Positions& positions, Window window, int64_t y, int64_t width, int64_t height)
      : rows{positions.row(std::max<int64_t>(y + window.low, 0)),
             positions.row(std::min<int64_t>(y + window.high, height - 1))},
        low(window.low),
        high(window.high),
        last(width - 1) {}

  int64_t left(int64_t x) const { return std::max<int64_t>(x + low, 0); }
  int64_t right(int64_t x) const { return std::min<int64_t>(x + high, last); }

  Positions::Row rows[2];
  int64_t low, high, last;
};

int64_t Coverage::least(const Corners& corners, Window window, int64_t x, int64_t y) const {
  const int64_t left = corners.left(x), right = corners.right(x);
  int64_t across = kPart, down = kPart, both = kWhole;
  for (const Positions::Row& row : corners.rows)
    for (const int64_t column : {left, right}) {
      const int64_t wx = weight(row.x(column)), wy = weight(row.y(column));
      across = std::min(across, wx), down = std::min(down, wy), both = std::min(both, wx * wy);
    }
  // Each weight is least at a corner, and so is their product where one of them is whole all over the window.
  if (both == 0 || across == kPart || down == kPart || window.high - window.low >= kMostSearched) return both;
  const int64_t bottom = std::min(y + window.high, height_ - 1);
  for (int64_t j = std::max<int64_t>(y + window.low, 0); j <= bottom; j++) {
    const Positions::Row row = positions_.row(j);
    // A pixel whose weight along one axis is whole is never less than that corner where the other is least.
    const Span whole = where({left, right + 1}, 0, (side_ - 1) * kPart, [&](int64_t i) { return row.x(i); });
    for (int64_t i = left; i <= right; i++) {
      if (i == whole.begin && !whole.empty()) i = whole.end;
      if (i <= right) both = std::min(both, weight(row.x(i)) * weight(row.y(i)));
    }
  }
  return both;
}

Span Coverage::eroded(Window window, int64_t y, uint16_t* out) const {
  const Corners corners(positions_, window, y, width_, height_);
  /// Columns at which all corners of the window have at least so much weight along both axes.
  const auto with_weight = [&](Span within, int64_t weight) {
    const int64_t low = weight - kPart, high = side_ * kPart - weight;
    for (const Positions::Row& row : corners.rows) {
      within = where(within, low, high, [&](int64_t x) { return row.x(corners.left(x)); });
      within = where(within, low, high, [&](int64_t x) { return row.x(corners.right(x)); });
      within = where(within, low, high, [&](int64_t x) { return row.y(corners.left(x)); });
      within = where(within, low, high, [&](int64_t x) { return row.y(corners.right(x)); });
    }
    return within;
  };
  const Span some = with_weight({bounds_.left, bounds_.right}, 1);
  if (some.empty()) return {};
  const Span whole = with_weight(some, kPart);
  for (int64_t x = some.begin; x < some.end; x++) {
    if (x == whole.begin && !whole.empty()) {
      std::fill(out + whole.begin - bounds_.left, out + whole.end - bounds_.left, static_cast<uint16_t>(kWhole));
      x = whole.end;
      if (x == some.end) break;
    }
    out[x - bounds_.left] = static_cast<uint16_t>(least(corners, window, x, y));
  }
  return some;
}

double Coverage::area(ThreadPool& pool, Window window) const {
  if (bounds_.empty()) return 0;
  const int64_t rows = bounds_.height(), columns = bounds_.width();
  const Pages sums(rows * static_cast<int64_t>(sizeof(int64_t)));
  const Pages scratch(pool.workers() * columns * static_cast<int64_t>(sizeof(uint16_t)));
  auto* const sum = reinterpret_cast<int64_t*>(sums.data());
  parallel_for(pool, rows, [&](int64_t i, int worker) {
    uint16_t* const row = reinterpret_cast<uint16_t*>(scratch.data()) + worker * columns;
    std::fill(row, row + columns, uint16_t{0});
    const Span some = eroded(window, bounds_.top + i, row);
    for (int64_t x = some.begin; x < some.end; x++) sum[i] += row[x - bounds_.left];
  });
  int64_t total = 0;
  for (int64_t i = 0; i < rows; i++) total += sum[i];
  return static_cast<double>(total) / kWhole;
}

}  // namespace iconface::photo
