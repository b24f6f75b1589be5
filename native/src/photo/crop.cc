#include "photo/crop.h"

#include <algorithm>

#include "photo/positions.h"

namespace iconface::photo {

namespace {

constexpr uint32_t kOutside[3] = {132, 133, 135};  // R, G, B, 8 bits
constexpr int64_t kMostSamples = 65536;            // along a side of the crop

/// How many values along a side make a pixel of the crop.
int64_t samples_of(const double m[6], int64_t side) {
  const double covered = std::sqrt(std::fabs(m[0] * m[4] - m[1] * m[3]));
  if (!(covered > 2)) return 1;
  return std::clamp<int64_t>(static_cast<int64_t>(covered), 1, std::max<int64_t>(1, kMostSamples / side));
}

/// Index of the pixel that stands for `i`; -1: none does.
int64_t inside(int64_t i, int64_t n, Border border) {
  if (i >= 0 && i < n) return i;
  if (border == Border::Constant) return -1;
  if (border == Border::Reflect101) return mirrored(i, n);
  const int64_t at = ((i % (2 * n)) + 2 * n) % (2 * n);
  return at < n ? at : 2 * n - 1 - at;
}

template <class T, int kColours>
struct Source {
  explicit Source(const Pixels& p, Border b)
      : data(static_cast<const T*>(p.data)), width(p.width), height(p.height), channels(p.channels), border(b) {
    for (int c = 0; c < kColours; c++)
      outside[c] = static_cast<T>(kOutside[kColours == 1 ? 1 : c] * (sizeof(T) == 1 ? 1 : 257));
  }

  /// The value at (x, y), in parts of a pixel.
  void sample(int64_t x, int64_t y, uint32_t* out) const {
    const int64_t column = x >> 5, row = y >> 5;
    const auto part_x = static_cast<uint32_t>(x & 31), part_y = static_cast<uint32_t>(y & 31);
    if (static_cast<uint64_t>(column) < static_cast<uint64_t>(width - 1) &&
        static_cast<uint64_t>(row) < static_cast<uint64_t>(height - 1)) {
      between<kColours>(data + (row * width + column) * channels, channels, width * channels, part_x, part_y, out);
    } else {
      between_any<kColours>(column, row, part_x, part_y, out, [&](int64_t i, int64_t j) {
        const int64_t u = inside(i, width, border), v = inside(j, height, border);
        return u < 0 || v < 0 ? outside : data + (v * width + u) * channels;
      });
    }
  }

  const T* data;
  int64_t width, height;
  int channels;
  Border border;
  T outside[3] = {};
};

/// @param sums  [width, colours], scratch
template <class T, int kColours>
void crop_row(const Source<T, kColours>& source, const Positions& positions, int64_t y, int64_t n, const Pixels& out,
              uint64_t* sums) {
  const int64_t values = out.width * kColours;
  std::fill(sums, sums + values, uint64_t{0});
  for (int64_t j = 0; j < n; j++) {
    const Positions::Row row = positions.row(y * n + j);
    uint32_t value[3];
    for (int64_t x = 0; x < out.width; x++)
      for (int64_t i = x * n; i < (x + 1) * n; i++) {
        source.sample(row.x(i), row.y(i), value);
        for (int c = 0; c < kColours; c++) sums[x * kColours + c] += value[c];
      }
  }
  T* const to = static_cast<T*>(out.data) + y * values;
  const auto count = static_cast<uint64_t>(n * n);
  for (int64_t i = 0; i < values; i++) to[i] = static_cast<T>((sums[i] + count / 2) / count);
}

}  // namespace

void crop(ThreadPool& pool, const Pixels& photo, const double m[6], Border border, const Pixels& out) {
  const int64_t n = samples_of(m, out.width);
  // The crop n times as large: its pixel u lies at (u + 1/2) / n - 1/2 of the crop.
  const double part = 1.0 / static_cast<double>(n), shift = 0.5 * part - 0.5;
  const double fine[6] = {m[0] * part, m[1] * part, m[2] + (m[0] + m[1]) * shift,
                          m[3] * part, m[4] * part, m[5] + (m[3] + m[4]) * shift};
  const Positions positions(n == 1 ? m : fine, out.width * n);
  with_type(photo, [&](auto type, auto colours) {
    const Source<decltype(type), colours.value> source(photo, border);
    const int64_t values = out.width * colours.value;
    const Pages sums(pool.workers() * values * static_cast<int64_t>(sizeof(uint64_t)));
    parallel_for(pool, out.height, [&](int64_t y, int worker) {
      crop_row(source, positions, y, n, out, reinterpret_cast<uint64_t*>(sums.data()) + worker * values);
    });
  });
}

}  // namespace iconface::photo
