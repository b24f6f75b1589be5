#include "photo/resize.h"

#include <algorithm>
#include <cmath>

#include "runtime/memory.h"

namespace iconface::photo {

namespace {

constexpr uint32_t kOne = 2048;  // a weight of 1

/// The two pixels that a result lies between, and the second one's weight.
struct Between {
  int64_t first, second;
  uint32_t weight;
};

/// Outside the outermost centres a row's edge pixel has all the weight; down a column only the index is clamped.
Between between(int64_t i, int64_t in, int64_t out, bool whole_edges) {
  const double scale = 1.0 / (static_cast<double>(out) / static_cast<double>(in));
  const auto u = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
  auto first = static_cast<int64_t>(std::floor(u));
  float part = u - static_cast<float>(first);
  if (whole_edges && (first < 0 || first >= in - 1)) {
    first = std::clamp<int64_t>(first, 0, in - 1);
    part = 0;
  }
  return {std::clamp<int64_t>(first, 0, in - 1), std::clamp<int64_t>(first + 1, 0, in - 1),
          static_cast<uint32_t>(std::nearbyint(part * kOne))};
}

/// Two rows' sums (value times 2048) to one value. OpenCV drops low bits of 8-bit rows on the way.
uint8_t combined(uint32_t upper, uint32_t lower, uint32_t weight, uint8_t) {
  const uint32_t a = ((kOne - weight) * (upper >> 4)) >> 16, b = (weight * (lower >> 4)) >> 16;
  return static_cast<uint8_t>((a + b + 2) >> 2);
}
uint16_t combined(uint32_t upper, uint32_t lower, uint32_t weight, uint16_t) {
  const uint64_t sum = uint64_t{kOne - weight} * upper + uint64_t{weight} * lower;
  return static_cast<uint16_t>((sum + kOne * kOne / 2) / (kOne * kOne));
}

}  // namespace

void resize(ThreadPool& pool, const Pixels& from, const Pixels& to) {
  const Pages columns(to.width * static_cast<int64_t>(sizeof(Between)));
  auto* const across = reinterpret_cast<Between*>(columns.data());
  for (int64_t x = 0; x < to.width; x++) across[x] = between(x, from.width, to.width, true);
  with_type(from, [&](auto type, auto colours) {
    using T = decltype(type);
    constexpr int kColours = colours.value;
    parallel_for(pool, to.height, [&](int64_t y, int) {
      const Between down = between(y, from.height, to.height, false);
      const T* const upper = static_cast<const T*>(from.data) + down.first * from.width * kColours;
      const T* const lower = static_cast<const T*>(from.data) + down.second * from.width * kColours;
      T* const out = static_cast<T*>(to.data) + y * to.width * kColours;
      for (int64_t x = 0; x < to.width; x++) {
        const uint32_t left = kOne - across[x].weight, right = across[x].weight;
        for (int c = 0; c < kColours; c++) {
          const int64_t p = across[x].first * kColours + c, q = across[x].second * kColours + c;
          out[x * kColours + c] =
              combined(upper[p] * left + upper[q] * right, lower[p] * left + lower[q] * right, down.weight, type);
        }
      }
    });
  });
}

}  // namespace iconface::photo
