// detector_input: resize to out's size, then B - 104, G - 117, R - 123                         model-specification.md 7
//   pixels [H, W, 3] U8 RGB -> out [h, w, 3] F32 or U8 (before the means are subtracted), B, G, R.
//   Result i of an axis lies at u = (i + 1/2) in / out - 1/2, computed in double, kept as a float: pixels floor(u) and
//   the next with the weights 1 - f and f, f = u - floor(u), in 1/2048. Horizontally the sums are exact integers R;
//   vertically ((w0 (R0 >> 4)) >> 16) + ((w1 (R1 >> 4)) >> 16), plus 2, >> 2. This is OpenCV's resize to the bit, so
//   this file must be compiled without fused multiply-adds (-ffp-contract=off).
// Where the columns lie is worked out once, before the rows. An item of work is a row of the result. An axis that keeps
// its length gets the weights 2048 and 0: nothing changes.
// Must move: 15 bytes a pixel. Limit: integer arithmetic.
#include <algorithm>
#include <cmath>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr int kOne = 2048;  // a weight of 1
constexpr float kMean[3] = {104, 117, 123};

/// The two pixels that a result lies between, and the second one's weight; the first one's is the rest.
struct Between {
  int64_t first, second;
  int weight;
};

/// Outside the outermost pixels' centres: along a row the edge pixel has all the weight (`whole_edges`), down a column
/// only the index is clamped.
Between between(int64_t i, int64_t in, int64_t out, bool whole_edges) {
  const double scale = 1.0 / (static_cast<double>(out) / static_cast<double>(in));
  const auto u = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
  auto first = static_cast<int64_t>(std::floor(u));
  float f = u - static_cast<float>(first);
  if (whole_edges && (first < 0 || first >= in - 1)) {
    first = std::clamp<int64_t>(first, 0, in - 1);
    f = 0;
  }
  return {std::clamp<int64_t>(first, 0, in - 1), std::clamp<int64_t>(first + 1, 0, in - 1),
          static_cast<int>(std::nearbyint(f * kOne))};
}

}  // namespace

void detector_input(Context& ctx, const op::DetectorInputArgs& a) {
  const int64_t height = a.pixels.shape[0], width = a.pixels.shape[1], rows = a.out.shape[0], columns = a.out.shape[1];
  Workspace::Frame frame(ctx.workspace);
  auto* const across = static_cast<Between*>(ctx.workspace.bytes(columns * static_cast<int64_t>(sizeof(Between))));
  if (ctx.planning()) return;
  for (int64_t x = 0; x < columns; x++) across[x] = between(x, width, columns, true);
  parallel_for(ctx.pool, rows, [&](int64_t y, int) {
    const Between down = between(y, height, rows, false);
    const uint8_t* upper = a.pixels.as<uint8_t>() + down.first * width * 3;
    const uint8_t* lower = a.pixels.as<uint8_t>() + down.second * width * 3;
    for (int64_t x = 0; x < columns; x++) {
      const int left = kOne - across[x].weight, right = across[x].weight;
      for (int c = 0; c < 3; c++) {  // B, G, R
        const int64_t p = across[x].first * 3 + 2 - c, q = across[x].second * 3 + 2 - c;
        const int r0 = upper[p] * left + upper[q] * right, r1 = lower[p] * left + lower[q] * right;
        const int value = ((((kOne - down.weight) * (r0 >> 4)) >> 16) + ((down.weight * (r1 >> 4)) >> 16) + 2) >> 2;
        const int64_t at = (y * columns + x) * 3 + c;
        if (a.out.dtype == DType::U8)
          a.out.as<uint8_t>()[at] = static_cast<uint8_t>(value);
        else
          a.out.as<float>()[at] = static_cast<float>(value) - kMean[c];
      }
    }
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
