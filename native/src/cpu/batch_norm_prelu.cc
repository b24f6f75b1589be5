// batch_norm_prelu: y = x * scale[c] + shift[c]; out = y < 0 ? y * slope[c] : y (without a slope: out = y)
// model-specification.md 7
//   x [batch, height, width, channels] F32 or BF16 -> out F32 or BF16, channels last.
// An item of work is a run of pixels. One read and one write of the map (AdaFace's largest, 112 x 112 x 64 F32: 3.2 MB
// each way). Limit: memory or cache bandwidth.
#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr int64_t kItemElements = 32 << 10;

template <bool Prelu, class X, class Y>
void run(Context& ctx, const op::BatchNormPreluArgs& a) {
  const int64_t channels = a.x.last(), pixels = a.x.rows();
  const int64_t run = std::max<int64_t>(1, kItemElements / channels);
  const float *scale = a.scale.as<float>(), *shift = a.shift.as<float>(), *slope = a.slope.as<float>();
  parallel_for(ctx.pool, (pixels + run - 1) / run, [&](int64_t item, int) {
    const int64_t end = std::min(pixels, (item + 1) * run);
    for (int64_t p = item * run; p < end; p++) {
      const X* x = a.x.as<X>() + p * channels;
      Y* out = a.out.as<Y>() + p * channels;
      for (int64_t c = 0; c < channels; c += kLanes) {
        const int64_t n = channels - c;
        F y = load_some(x + c, n) * load_some(scale + c, n) + load_some(shift + c, n);
        if (Prelu) y = y < F{} ? y * load_some(slope + c, n) : y;
        store_some(out + c, y, n);
      }
    }
  });
}

template <class X, class Y>
void run(Context& ctx, const op::BatchNormPreluArgs& a) {
  a.slope.defined() ? run<true, X, Y>(ctx, a) : run<false, X, Y>(ctx, a);
}

}  // namespace

void batch_norm_prelu(Context& ctx, const op::BatchNormPreluArgs& a) {
  if (ctx.planning()) return;
  const bool wide_out = a.out.dtype == DType::F32;
  if (a.x.dtype == DType::F32)
    wide_out ? run<float, float>(ctx, a) : run<float, bf16>(ctx, a);
  else
    wide_out ? run<bf16, float>(ctx, a) : run<bf16, bf16>(ctx, a);
}

}  // namespace iconface::cpu::ICONFACE_ISA
