// add_upsampled: out[i, j, c] = x[i, j, c] + y[floor(i h / H), floor(j w / W), c]              model-specification.md 7
//   x, out [batch, H, W, channels], y [batch, h, w, channels] F32, channels last.
// An item of work is a row of the result. RetinaFace's largest at 640 x 480: 80 x 60 x 128: 5.5 MB. Limit: memory or
// cache bandwidth.
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

void add_upsampled(Context& ctx, const op::AddUpsampledArgs& a) {
  if (ctx.planning()) return;
  const int64_t height = a.x.shape[1], width = a.x.shape[2], channels = a.x.last();
  const int64_t small_height = a.y.shape[1], small_width = a.y.shape[2];
  parallel_for(ctx.pool, a.x.shape[0] * height, [&](int64_t row, int) {
    const int64_t small_row = row / height * small_height + row % height * small_height / height;
    const float* x = a.x.as<float>() + row * width * channels;
    float* out = a.out.as<float>() + row * width * channels;
    for (int64_t j = 0; j < width; j++, x += channels, out += channels) {
      const float* y = a.y.as<float>() + (small_row * small_width + j * small_width / width) * channels;
      for (int64_t c = 0; c < channels; c += kLanes)
        store_some(out + c, load_some(x + c, channels - c) + load_some(y + c, channels - c), channels - c);
    }
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
