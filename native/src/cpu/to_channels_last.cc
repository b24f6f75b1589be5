// to_channels_last: out[o][y][x][c] = weight[o][c][y][x] * scale[o]. Done once per weight when a model is loaded; one
// output channel, small enough for the cache, is an item of work. Bound by reading and writing the weight once.
#include "cpu/kernels.h"
#include "cpu/tile.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

template <class T, class Out>
void reorder(const T* from, Out* to, int64_t channels, int64_t taps, float scale) {
  for (int64_t tap = 0; tap < taps; tap++)
    for (int64_t c = 0; c < channels; c++) store1(to + tap * channels + c, load1(from + c * taps + tap) * scale);
}

}  // namespace

void to_channels_last(Context& ctx, const op::ToChannelsLastArgs& a) {
  if (ctx.planning()) return;
  const int64_t channels = a.weight.shape[1], taps = a.weight.shape[2] * a.weight.shape[3];
  parallel_for(ctx.pool, a.weight.shape[0], [&](int64_t o, int) {
    const float scale = a.scale.defined() ? a.scale.as<float>()[o] : 1.0f;
    with_type(
        a.weight.dtype, [&](auto* typed) __attribute__((always_inline)) {
          using T = std::remove_const_t<std::remove_pointer_t<decltype(typed)>>;
          const int64_t at = o * channels * taps;
          if (a.out.dtype == DType::F32)
            reorder(a.weight.as<T>() + at, a.out.as<float>() + at, channels, taps, scale);
          else
            reorder(a.weight.as<T>() + at, a.out.as<bf16>() + at, channels, taps, scale);
        });
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
