// add_upsampled: the sum of a feature map and an enlarged smaller one.                         model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// out[i, j] = x[i, j] + y[floor(i h / H), floor(j w / W)]: a smaller map enlarged to its nearest neighbours (FPN).
struct AddUpsampledArgs {
  Tensor x, out;  // [B, H, W, C] F32; may be the same
  Tensor y;       // [B, h, w, C] F32, h <= H, w <= W
};
void add_upsampled(Context&, const AddUpsampledArgs&);

}  // namespace iconface::op
