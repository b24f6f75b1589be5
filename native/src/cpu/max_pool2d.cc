// max_pool2d: out[y, x, c] = max over i, j < size of x[s y + i - pad, s x + j - pad, c], inside the map
// model-specification.md 7
//   x [batch, height, width, channels] F32 -> out F32, channels last. A NaN is not kept.
// An item of work is a row of the result; a vector runs along the channels. ResNet's stem at 640 x 480, 3x3 / 2:
// 320 x 240 x 64 to 160 x 120: 24.6 MB. Limit: memory or cache bandwidth.
#include <algorithm>
#include <limits>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

void max_pool2d(Context& ctx, const op::MaxPool2dArgs& a) {
  if (ctx.planning()) return;
  const int64_t height = a.x.shape[1], width = a.x.shape[2], channels = a.x.last();
  const int64_t rows = a.out.shape[1], columns = a.out.shape[2];
  parallel_for(ctx.pool, a.out.shape[0] * rows, [&](int64_t row, int) {
    const int64_t top = row % rows * a.stride - a.pad;
    const int64_t first_i = std::max<int64_t>(0, top), end_i = std::min(height, top + a.size);
    const float* map = a.x.as<float>() + row / rows * height * width * channels;
    float* out = a.out.as<float>() + row * columns * channels;
    for (int64_t x = 0; x < columns; x++, out += channels) {
      const int64_t left = x * a.stride - a.pad;
      const int64_t first_j = std::max<int64_t>(0, left), end_j = std::min(width, left + a.size);
      for (int64_t c = 0; c < channels; c += kLanes) {
        F largest = splat(-std::numeric_limits<float>::infinity());
        for (int64_t i = first_i; i < end_i; i++)
          for (int64_t j = first_j; j < end_j; j++)
            largest = max(load_some(map + (i * width + j) * channels + c, channels - c), largest);
        store_some(out + c, largest, channels - c);
      }
    }
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
