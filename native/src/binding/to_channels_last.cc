#include "op/to_channels_last.h"

#include "binding/call.h"

namespace iconface::binding {

/// weight [O, C, kh, kw], scale?; outDtype ('f32' unless given).
void to_channels_last(Context& ctx, Call& call) {
  op::ToChannelsLastArgs a;
  a.weight = call.input("weight");
  a.scale = call.optional("scale");
  const int64_t* s = a.weight.shape;
  const bool fits = a.weight.rank == 4;
  a.out = call.output("out", call.dtype("outDtype", DType::F32),
                      {fits ? s[0] : 0, fits ? s[2] : 0, fits ? s[3] : 0, fits ? s[1] : 0});
  op::to_channels_last(ctx, a);
}

}  // namespace iconface::binding
