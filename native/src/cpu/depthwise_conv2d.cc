// depthwise_conv2d: out[c] = act(sum_ij weight[i, j, c] x[s y + i - pad, s x + j - pad, c] + bias[c])
// model-specification.md 7
//   x [batch, height, width, channels], weight [kh, kw, channels] F32 -> out F32, channels last; zeros around the map.
// An item is a row of the result. A vector runs along the channels of a pixel and adds up its taps. RetinaFace's
// largest at 640 x 480: 320 x 240 x 8, 3x3: 5.5 M multiply-adds for 4.9 MB. Limit: memory or cache bandwidth.
#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

void depthwise_conv2d(Context& ctx, const op::DepthwiseConv2dArgs& a) {
  if (ctx.planning()) return;
  const int64_t height = a.x.shape[1], width = a.x.shape[2], channels = a.x.last();
  const int64_t rows = a.out.shape[1], columns = a.out.shape[2], kh = a.weight.shape[0], kw = a.weight.shape[1];
  const float *bias = a.bias.as<float>(), *slope = a.slope.as<float>();
  parallel_for(ctx.pool, a.out.shape[0] * rows, [&](int64_t row, int) {
    const int64_t top = row % rows * a.stride - a.pad;
    const int64_t first_i = std::max<int64_t>(0, -top), end_i = std::min(kh, height - top);
    const float* map = a.x.as<float>() + row / rows * height * width * channels;
    float* out = a.out.as<float>() + row * columns * channels;
    for (int64_t x = 0; x < columns; x++, out += channels) {
      const int64_t left = x * a.stride - a.pad;
      const int64_t first_j = std::max<int64_t>(0, -left), end_j = std::min(kw, width - left);
      for (int64_t c = 0; c < channels; c += kLanes) {
        const int64_t n = channels - c;
        F sum = bias != nullptr ? load_some(bias + c, n) : F{};
        for (int64_t i = first_i; i < end_i; i++)
          for (int64_t j = first_j; j < end_j; j++)
            sum += load_some(map + ((top + i) * width + left + j) * channels + c, n) *
                   load_some(a.weight.as<float>() + (i * kw + j) * channels + c, n);
        if (slope != nullptr) sum = sum < F{} ? sum * load_some(slope + c, n) : sum;
        store_some(out + c, sum, n);
      }
    }
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
