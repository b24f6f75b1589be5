#include "op/pack_latents.h"

#include "binding/call.h"

namespace iconface::binding {

/// map [H, W, >= C], mean, var [4C]; eps (1e-4) -> tokens [H/2 * W/2, 4C]
/// inverse: tokens, mean, var; inverse 1, height and width of the map, eps -> map [height, width, C]
void pack_latents(Context& ctx, Call& call) {
  op::PackLatentsArgs a;
  a.mean = call.input("mean");
  a.var = call.input("var");
  a.eps = static_cast<float>(call.number("eps", 1e-4));
  a.inverse = call.flag("inverse");
  const int64_t channels = call.whole("channels", static_cast<double>(a.mean.elements() / 4));
  if (channels < 1) fail(Code::InvalidArgument, "pack_latents: channels must be at least 1");
  if (a.inverse) {
    a.tokens = call.input("tokens");
    const double height = call.number("height"), width = call.number("width");
    if (!(height >= 2 && height <= 1e6 && width >= 2 && width <= 1e6))
      fail(Code::InvalidArgument, "pack_latents: a map of %g x %g is impossible", height, width);
    a.map = call.output("map", DType::F32, {static_cast<int64_t>(height), static_cast<int64_t>(width), channels});
  } else {
    a.map = call.input("map");
    if (a.map.rank != 3)
      fail(Code::InvalidArgument, "pack_latents: map must be [H, W, C], not %s", a.map.describe().c_str());
    a.tokens = call.output("tokens", DType::F32, {a.map.shape[0] / 2 * (a.map.shape[1] / 2), 4 * channels});
  }
  op::pack_latents(ctx, a);
}

}  // namespace iconface::binding
